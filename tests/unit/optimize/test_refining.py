"""Knobs: only those that the engine has and reports, one change of the best at a time, tuning last."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.optimize.world import World, run, statuses

from strop.engines.contract import Knob
from strop.engines.registry import engines
from strop.machine import machine
from strop.model.load import load_model
from strop.optimize.space import LARGEST_BATCH, SAVE_MEMORY, TUNE, WORTH_TRYING, changed, refinements
from strop.optimize.trial import TrialSpec
from strop.testing.models import convolution_classifier

SPEC = TrialSpec("m", "d", "openvino", "f32", "latency", {"threads": 2})
PINNING = Knob("cpu_pinning", "bool", None, "each thread stays on one core")
BEST = "openvino f32, threads 1"


def changes(knobs: list[Knob], in_force: dict[str, object], spec: TrialSpec = SPEC, **options: bool) -> list[object]:
    options = {"batches": False, "save_memory": False} | options
    return list(refinements(spec, in_force, knobs, **options))


def test_a_value_that_is_in_force_already_is_not_tried() -> None:
    assert changes([PINNING], {"cpu_pinning": True}) == [("cpu_pinning", False)]
    assert changes([PINNING], {}) == [("cpu_pinning", True), ("cpu_pinning", False)]


def test_a_knob_that_the_engine_has_not_or_does_not_report_is_not_tried() -> None:
    silent = Knob("cpu_pinning", "bool", None, "each thread stays on one core", read_back=False)
    assert changes([], {}) == []
    assert changes([silent], {}) == []


def test_a_value_beyond_a_knobs_range_is_not_tried() -> None:
    assert changes([Knob("inter_op_threads", "int", 1, "branches at once", low=1, high=1)], {}) == []
    assert changes([Knob("partitioner", "choice", None, "how work is cut", choices=("auto",))], {}) == [
        ("partitioner", "auto")
    ]


def test_memory_is_saved_only_where_it_is_limited() -> None:
    arena = Knob("arena", "bool", True, "memory is kept")
    assert changes([arena], {"arena": True}) == []
    assert changes([arena], {"arena": True}, save_memory=True) == [("arena", False)]


def test_a_batch_that_won_is_followed_by_a_larger_one_up_to_a_limit() -> None:
    won = TrialSpec("m", "d", "openvino", "f32", "throughput", {"threads": 2, "streams": 2}, batch=4)
    assert changes([], {}, won, batches=True) == [("batch", 16)]
    assert changed(won, {}, ("batch", 16)).batch == 16
    largest = TrialSpec("m", "d", "openvino", "f32", "throughput", {}, batch=LARGEST_BATCH)
    assert changes([], {}, largest, batches=True) == []
    assert changes([], {}, SPEC, batches=True) == [], "where 4 did not win, 16 will not"


def test_a_change_of_defaults_changes_nothing_else() -> None:
    plain = TrialSpec("m", "d", "onnxruntime", "f32", "throughput")
    found = changed(plain, {"threads": 2, "streams": 1, "arena": True}, ("allow_spinning", False))
    assert found.settings == {"threads": 2, "streams": 1, "allow_spinning": False}
    assert plain.settings == {}


def test_every_knob_worth_trying_is_one_that_an_engine_has() -> None:
    known = {knob.name for engine in engines().values() for knob in engine.knobs(machine())}
    elsewhere = {"hyper_threading", "core_type"}  # only where the CPU has more than one thread a core, or two kinds
    assert {*WORTH_TRYING, *SAVE_MEMORY, TUNE} <= known | elsewhere


def test_a_knob_that_makes_the_best_faster_is_kept_and_built_upon(world: World, tmp_path: Path) -> None:
    pinned = f"{BEST}, cpu_pinning True"
    both = f"{pinned}, partitioner auto"
    world.speeds = {BEST: 0.0015, pinned: 0.001, both: 0.0008}
    world.knobs = {BEST: {"cpu_pinning": False, "partitioner": "static"}}
    world.knobs |= {
        pinned: {"cpu_pinning": True, "partitioner": "static"},
        both: {"cpu_pinning": True, "partitioner": "auto"},
    }
    result = run(world, tmp_path)
    assert result.document["label"] == both
    assert statuses(result)[pinned] == "kept"


def test_a_knob_that_the_engine_does_not_take_is_dropped_without_a_race(world: World, tmp_path: Path) -> None:
    world.speeds = {BEST: 0.0015, f"{BEST}, cpu_pinning True": 0.0001}
    world.knobs = {BEST: {"cpu_pinning": False}, f"{BEST}, cpu_pinning True": {"cpu_pinning": False}}
    result = run(world, tmp_path)
    trial = next(trial for trial in result.document["trials"] if trial["label"].endswith("cpu_pinning True"))
    assert trial["status"] == "dropped"
    assert "not in force" in trial["reason"]
    assert trial["speedup"] is None


@pytest.mark.parametrize(("budget", "seconds"), [(None, 30), ("60s", 10), ("12s", None)])
def test_tuning_comes_last_and_only_where_there_is_time(
    world: World, tmp_path: Path, budget: str | None, seconds: int | None
) -> None:
    world.model = load_model(convolution_classifier(1))
    world.speeds = {"native f32, threads 1": 0.001}
    label = f"native f32, threads 1, tune True, tune_seconds {seconds}"
    world.speeds[label] = 0.0008
    world.opening[label] = float(seconds or 0)
    world.knobs[label] = {"tune": True, "tune_seconds": seconds}
    result = run(world, tmp_path, engines=["native"], budget=budget)
    if seconds is None:
        assert any("not tuned: the budget has no room" in words for words in result.document["decisions"])
    else:
        assert result.document["label"] == label
        assert result.document["trials"][-1]["label"] == label


def test_a_model_of_free_sizes_is_not_tuned_and_is_told_how_it_could_be(world: World, tmp_path: Path) -> None:
    world.speeds = {"native f32, threads 1": 0.001}
    result = run(world, tmp_path, engines=["native"])
    assert any(
        "not tuned: sizes of its inputs are free, and --shape" in words for words in result.document["decisions"]
    )
