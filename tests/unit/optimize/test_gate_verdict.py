from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from tests.unit.measure.noisy_machine import NoisyMachine

from strop.errors import UsageError
from strop.measure.comparison import compare
from strop.measure.estimate import Estimate
from strop.optimize.gate_probes import slowdown_by_probes
from strop.optimize.gate_verdict import (
    EXIT_CODES,
    LEVEL,
    MOST_RUNS,
    Outcome,
    decide,
    false_red_rate,
    next_run,
    outcome,
    parse_margin,
)
from strop.testing.clock import FakeClock

OK, RED, UNSURE = Outcome.OK, Outcome.REGRESSED, Outcome.CANNOT_TELL


def around(point: float, half: float) -> Estimate:
    return Estimate(point, point - half, point + half, level=0.99, n=30)


@pytest.mark.parametrize(
    ("slowdown", "said"),
    [
        (around(1.10, 0.03), RED),
        (around(1.00, 0.03), OK),
        (around(0.70, 0.03), OK),
        (around(1.03, 0.01), OK),  # slower for sure, and within the margin
        (around(1.05, 0.02), UNSURE),
        (around(1.00, 0.20), UNSURE),
    ],
)
def test_a_run_says_on_which_side_of_the_margin_it_lies(slowdown: Estimate, said: Outcome) -> None:
    assert outcome(slowdown, 0.05) is said


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([OK], OK),
        ([RED, RED], RED),
        ([RED, OK], OK),
        ([RED, UNSURE], UNSURE),
        ([UNSURE, OK], OK),
        ([UNSURE, UNSURE], UNSURE),
        ([UNSURE, RED, RED], RED),
        ([UNSURE, RED, OK], OK),
        ([UNSURE, RED, UNSURE], UNSURE),
        ([UNSURE, UNSURE, UNSURE, RED], UNSURE),
        ([RED, UNSURE, UNSURE, RED], RED),
        ([UNSURE, UNSURE, UNSURE, OK], OK),
        ([], UNSURE),
    ],
)
def test_what_runs_come_to(runs: list[Outcome], said: Outcome) -> None:
    assert decide(runs) is said
    is_decided = said is not UNSURE or len(runs) == MOST_RUNS
    assert (next_run(runs) is None) == is_decided


def test_a_run_after_one_that_could_not_tell_is_longer() -> None:
    lengths = [next_run([UNSURE] * count) for count in range(MOST_RUNS)]
    assert lengths == [1.0, 2.0, 4.0, 4.0]
    assert next_run([RED]) == 1.0 and next_run([UNSURE, RED]) == 2.0


def test_there_may_be_fewer_runs() -> None:
    assert next_run([UNSURE], most=2) == 2.0
    assert next_run([UNSURE, RED], most=2) is None


def test_no_way_through_the_rules_makes_red_of_one_red_run_or_goes_on_for_ever() -> None:
    for path in itertools.product(Outcome, repeat=MOST_RUNS):
        runs: list[Outcome] = []
        for said in path:
            if next_run(runs) is None:
                break
            runs.append(said)
        assert next_run(runs) is None
        assert (decide(runs) is RED) == (runs.count(RED) == 2)
        assert runs[0] is not OK or len(runs) == 1


def test_exit_codes_are_those_of_the_house() -> None:
    assert {str(said): code for said, code in EXIT_CODES.items()} == {"ok": 0, "regressed": 1, "cannot tell": 4}


def test_the_stated_false_red_rate_is_what_the_rules_give() -> None:
    """A model exactly at the margin, runs that are red as often as promised: simulated, against what is stated."""
    random = np.random.default_rng(0)
    stated = false_red_rate(level=0.8)  # so coarse that it can be counted: 10 % red, 10 % ok
    red, trials = 0, 20_000
    for _ in range(trials):
        runs: list[Outcome] = []
        while next_run(runs) is not None:
            runs.append(random.choice([RED, UNSURE, OK], p=[0.1, 0.8, 0.1]))  # type: ignore[arg-type]
        red += decide(runs) is RED
    assert stated["one_run"] == pytest.approx(0.1)
    assert red / trials <= float(str(stated["confirmed"])) * 1.05


def gated(slower: float, seed: int) -> Outcome:
    """Returns what a gate says on a machine whose speed changes in modes, drifts and has outliers."""
    runs: list[Outcome] = []
    while (longer := next_run(runs)) is not None:
        clock = FakeClock()
        machine = NoisyMachine(clock, 10 * seed + len(runs))
        sides = {"old": machine.callable(0.002), "new": machine.callable(0.002 * slower)}
        compared = compare(sides, seconds=5.0 * longer, level=LEVEL, clock=clock, seed=len(runs))
        ratio = compared["new"].speedup.ratio
        slowdown = Estimate(1 / ratio.point, 1 / ratio.high, 1 / ratio.low, ratio.level, ratio.n)
        runs.append(outcome(slowdown, 0.05))
    return decide(runs)


def test_on_a_noisy_machine_ten_per_cent_are_seen_and_nothing_is_not() -> None:
    assert sum(gated(1.1, seed) is RED for seed in range(30)) >= 28
    assert sum(gated(1.0, seed) is RED for seed in range(30)) <= 1


@pytest.mark.parametrize(("text", "value"), [("5%", 0.05), ("0.1", 0.1), ("12.5 %", 0.125), (0.03, 0.03)])
def test_a_margin_is_read(text: str | float, value: float) -> None:
    assert parse_margin(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["0", "-5%", "100%", "1.5", "some", "", "nan"])
def test_a_margin_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_margin(text)
    assert caught.value.code == "usage.bad-option"
    assert "5%" in caught.value.hint


def ratios(*points: float, half: float = 0.001) -> dict[str, Estimate]:
    return {f"probe {i}": Estimate(p, p * (1 - half), p * (1 + half), level=0.99, n=20) for i, p in enumerate(points)}


def test_probes_that_agree_tell_a_slowdown() -> None:
    found = slowdown_by_probes(ratios(1.0, 2.0, 3.0, 4.0, 5.0), ratios(1.21, 2.40, 3.61, 4.79, 6.02))
    assert found is not None
    assert found.point == pytest.approx(1.2, abs=0.01)
    assert outcome(found, 0.05) is RED


def test_probes_that_scatter_cannot_tell() -> None:
    """Another machine: each kernel says something else, so the interval is wide."""
    found = slowdown_by_probes(ratios(1.0, 2.0, 3.0, 4.0, 5.0), ratios(0.7, 2.6, 2.4, 5.5, 5.0))
    assert found is not None
    assert outcome(found, 0.05) is UNSURE
    assert found.high / found.low > 2


def test_what_the_measurements_leave_open_widens_the_interval() -> None:
    same = ratios(1.0, 2.0, 3.0, 4.0)
    sharp, blurred = (slowdown_by_probes(same, ratios(1.0, 2.0, 3.0, 4.0, half=half)) for half in (0.001, 0.1))
    assert sharp is not None and blurred is not None
    assert math.log(blurred.high / blurred.low) > 10 * math.log(sharp.high / sharp.low)


def test_too_few_probes_in_common_tell_nothing() -> None:
    assert slowdown_by_probes(ratios(1.0, 2.0), ratios(1.0, 2.0, 3.0)) is None


def test_the_interval_of_the_probes_covers_one_further_kernel() -> None:
    """Kernels' speeds change from machine to machine by normal factors; the model is one more such kernel."""
    random = np.random.default_rng(1)
    covered, trials = 0, 2000
    for _ in range(trials):
        changes = np.exp(random.normal(0.3, 0.2, 6))  # five probes and the model, on another machine
        now = ratios(*(changes[5] / changes[:5]), half=1e-9)
        found = slowdown_by_probes(ratios(1.0, 1.0, 1.0, 1.0, 1.0, half=1e-9), now)
        assert found is not None
        covered += found.low <= 1.0 <= found.high
    assert covered / trials == pytest.approx(0.99, abs=0.01)
