"""Tuning, with candidates that only say how long they take: who wins, in which order, and when it ends."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

from strop.compiler.alone import Alone
from strop.compiler.choose import choose
from strop.compiler.isa import get_isa
from strop.compiler.levels import Convolve
from strop.compiler.plan import ProgramPlan
from strop.compiler.program import CompileSettings, compile_program, pack_step, plan_program
from strop.compiler.records import Records
from strop.compiler.tune import CANDIDATES, Progress, candidates, fastest_third, take_turns, tune_plan
from strop.loader.cpu import isa_levels
from strop.model.load import load_model
from strop.model.model import Model
from strop.testing.clock import FakeClock
from strop.testing.models import Weights, model

ISA = get_isa(isa_levels()[0])


SETTINGS = CompileSettings(ISA.level)


@pytest.fixture(scope="module")
def network() -> Model:
    """Returns a stem, two equal 3x3 convolutions, a pointwise one and a pooling of 28 x 28 pixels."""
    weights = Weights()
    filters = [("w1", 32, 3, 3, 3), ("w2", 32, 32, 3, 3), ("w3", 32, 32, 3, 3), ("w4", 96, 32, 1, 1)]
    nodes, value = [], "x"
    for number, (name, *shape) in enumerate(filters, 1):
        pads = [shape[2] // 2] * 4
        inputs = [value, weights.add(name, *shape)]
        nodes.append(helper.make_node("Conv", inputs, [f"c{number}"], f"conv{number}", pads=pads))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"], f"relu{number}"))
        value = f"r{number}"
    nodes.append(helper.make_node("MaxPool", [value], ["y"], "pool", kernel_shape=[2, 2], strides=[2, 2]))
    return load_model(model(nodes, {"x": (1, 3, 28, 28)}, {"y": (1, 96, 14, 14)}, weights))


@pytest.fixture(scope="module")
def plan(network: Model) -> ProgramPlan:
    return plan_program(network, SETTINGS)


class Fakes:
    """Makes candidates that take what `seconds` says of a family and schedule, and notes who runs when."""

    def __init__(self, clock: FakeClock, seconds: Callable[[str, str], float], making: float = 0.01) -> None:
        self.clock, self.seconds, self.making = clock, seconds, making
        self.runs: list[str] = []
        self.made = 0

    def __call__(self, work: Any, apart: int) -> Sequence[Callable[[], None]]:
        self.clock.advance(self.making)
        self.made += 1
        return [self._trial(*offer.key) for offer in work.offers]

    def _trial(self, family: str, schedule: str) -> Callable[[], None]:
        def run() -> None:
            self.runs.append(f"{family} {schedule}")
            self.clock.advance(self.seconds(family, schedule))

        return run


def even(family: str, schedule: str) -> float:
    return 1e-3 + 1e-6 * sum(map(ord, family + schedule))


def test_the_quickest_that_was_measured_is_chosen_from_then_on(plan: ProgramPlan, tmp_path: Path) -> None:
    clock = FakeClock()
    records = Records(ISA, tmp_path)
    tuned = tune_plan(plan, records, clock=clock, make=Fakes(clock, even), budget=1e6)
    assert tuned.problems == tuned.measured > 0 and tuned.left_out == 0
    for task in plan.tasks:
        record = records.find(task.problem)
        if record is not None:
            core = task.step.operation.core if task.step.operation else None
            weights = core.weights if isinstance(core, Convolve) else None
            chosen = choose(task.problem, ISA, kernels=(task.kernel,), records=records, weights=weights)
            own = {key: time for key, time in record.seconds.items() if key[0] == task.kernel.family}
            assert own[task.kernel.family, str(chosen.schedule)] <= 1.01 * min(own.values())


def test_the_same_times_give_the_same_records_and_nothing_is_measured_twice(plan: ProgramPlan, tmp_path: Path) -> None:
    digests = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        clock = FakeClock()
        tune_plan(plan, Records(ISA, folder), clock=clock, make=Fakes(clock, even))
        digests.append(Records(ISA, folder).path.read_bytes())
    assert digests[0] == digests[1]
    fakes = Fakes(FakeClock(), even)
    again = tune_plan(plan, Records(ISA, tmp_path / "a"), clock=fakes.clock, make=fakes)
    assert (again.measured, again.known, fakes.made) == (0, again.problems, 0)


def test_candidates_take_turns_forth_and_back() -> None:
    clock = FakeClock()
    order: list[str] = []

    def trial(name: str) -> Callable[[], None]:
        def run() -> None:
            order.append(name)
            clock.advance(1.0)

        return run

    times, rounds = take_turns([trial("a"), trial("b"), trial("c")], clock, until=0.0, at_most=1e9)
    assert rounds == 6 and [len(own) for own in times] == [6, 6, 6]
    assert "".join(order) == "abc" + "cba" + "abc" + "cba" + "abc" + "cba" + "abc"


def test_a_disturbance_of_some_rounds_does_not_change_who_wins(plan: ProgramPlan, tmp_path: Path) -> None:
    clock = FakeClock()
    fakes = Fakes(clock, even)
    fakes.seconds = lambda family, schedule: even(family, schedule) * (5 if len(fakes.runs) % 7 < 3 else 1)
    records = Records(ISA, tmp_path)
    tune_plan(plan, records, clock=clock, make=fakes, budget=1e6)
    assert records.kept
    for record in records.kept.values():
        assert record.best == min(record.seconds, key=lambda key: even(*key))


@pytest.mark.parametrize("budget", [0.05, 0.5, 5.0])
def test_the_time_is_kept_to_and_what_was_measured_is_kept(plan: ProgramPlan, tmp_path: Path, budget: float) -> None:
    clock = FakeClock()
    slow = Fakes(clock, lambda family, schedule: 0.02, making=0.02)
    told: list[Progress] = []
    tuned = tune_plan(plan, Records(ISA, tmp_path), clock=clock, make=slow, budget=budget, listener=told.append)
    longest = 0.02 * (CANDIDATES + 1)
    assert tuned.seconds <= budget + 2 * longest  # the round that ran when the time was over, and the one before
    assert tuned.measured + tuned.left_out == tuned.problems
    assert len(Records(ISA, tmp_path).kept) == tuned.measured == len(told)
    assert all(now.done > before.done for before, now in itertools.pairwise(told))


def test_tuning_goes_on_where_the_time_ran_out(plan: ProgramPlan, tmp_path: Path) -> None:
    measured = 0
    for _ in range(100):
        clock = FakeClock()
        tuned = tune_plan(plan, Records(ISA, tmp_path), clock=clock, make=Fakes(clock, lambda *_: 0.02), budget=2.0)
        measured += tuned.measured
        if not tuned.left_out:
            break
    assert measured == tuned.problems


def test_ctrl_c_keeps_what_was_measured(plan: ProgramPlan, tmp_path: Path) -> None:
    clock = FakeClock()
    fakes = Fakes(clock, even)

    def interrupted(work: Any, apart: int) -> Sequence[Callable[[], None]]:
        if fakes.made == 2:
            raise KeyboardInterrupt
        return fakes(work, apart)

    with pytest.raises(KeyboardInterrupt):
        tune_plan(plan, Records(ISA, tmp_path), clock=clock, make=interrupted)
    assert len(Records(ISA, tmp_path).kept) == 2


def test_at_most_ten_candidates_of_the_likeliest_are_tried_the_untuned_choice_among_them(plan: ProgramPlan) -> None:
    for task in plan.tasks:
        tried = candidates(task, ISA)
        assert 1 <= len(tried) <= CANDIDATES
        assert len({offer.key for offer in tried}) == len(tried)
        assert (task.kernel.family, str(task.schedule)) in {offer.key for offer in tried}


def test_every_candidate_runs_alone(plan: ProgramPlan) -> None:
    for task in plan.tasks:
        for offer in candidates(task, ISA):
            packed = pack_step(task.step, offer.kernel, offer.problem, offer.schedule, ISA)
            run = Alone(offer.kernel, offer.problem, offer.schedule, ISA, packed, copies=2)
            run()
            run()


def test_a_program_made_by_records_takes_what_they_say_and_is_the_same_each_time(
    network: Model, plan: ProgramPlan, tmp_path: Path
) -> None:
    clock = FakeClock()
    tune_plan(plan, Records(ISA, tmp_path), clock=clock, make=Fakes(clock, even))
    first, second = (compile_program(network, SETTINGS, records=Records(ISA, tmp_path)) for _ in range(2))
    assert bytes(first.image.plan.to_bytes()) == bytes(second.image.plan.to_bytes())
    assert bytes(first.image.weights) == bytes(second.image.weights)
    untuned = compile_program(network, SETTINGS)
    assert compile_program(network, SETTINGS).image.plan == untuned.image.plan
    assert [str(task.schedule) for task in first.plan.tasks] != [str(task.schedule) for task in untuned.plan.tasks]


def test_the_fastest_third_is_at_least_one() -> None:
    assert fastest_third([3.0]) == 3.0
    assert fastest_third([3.0, 1.0, 2.0, 9.0]) == 1.5
