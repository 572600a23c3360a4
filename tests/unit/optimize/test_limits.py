"""Limits on latency, memory and throughput: how they are read, checked, and what they make of a search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.optimize.world import World, run, statuses

from strop.errors import UsageError
from strop.optimize.limit_checks import all_met, check_latency, check_memory, samples_needed, total_excess
from strop.optimize.limits import Limit, parse_limits
from strop.optimize.several import exit_code_of


@pytest.mark.parametrize(
    ("text", "statistic", "seconds"),
    [
        ("p99=10ms", "p99", 0.01),
        ("P50 = 0.5s", "p50", 0.5),
        ("mean=250us", "mean", 0.00025),
        ("7ms", "p50", 0.007),
        ("p99.9=1s", "p99.9", 1.0),
    ],
)
def test_a_latency_limit_is_read_with_statistic_and_unit(text: str, statistic: str, seconds: float) -> None:
    (limit,) = parse_limits(text)
    assert (limit.statistic, limit.bound) == (statistic, pytest.approx(seconds))


def test_several_latency_limits_may_be_set_at_once() -> None:
    assert [one.statistic for one in parse_limits(["p50=5ms,p99=10ms", "mean=6ms"])] == ["p50", "p99", "mean"]


@pytest.mark.parametrize(("text", "size"), [("200MB", 2e8), ("1.5GB", 1.5e9), ("64mib", 64 * 2**20), (" 900 kB ", 9e5)])
def test_a_memory_limit_is_read_with_its_unit(text: str, size: float) -> None:
    assert parse_limits(None, text)[0].bound == pytest.approx(size)


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"max_latency": "fast"}, "--max-latency"),
        ({"max_latency": "p99=10"}, "--max-latency"),
        ({"max_latency": "p0=10ms"}, "--max-latency"),
        ({"max_latency": "p100=10ms"}, "--max-latency"),
        ({"max_latency": "p99=10ms,p99=20ms"}, "--max-latency"),
        ({"max_memory": "200"}, "--max-memory"),
        ({"max_memory": "0MB"}, "--max-memory"),
        ({"min_throughput": "-5"}, "--min-throughput"),
        ({"min_throughput": "many"}, "--min-throughput"),
    ],
)
def test_what_is_no_limit_is_refused_with_an_example(options: dict[str, Any], option: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_limits(**options)
    assert caught.value.code == "usage.bad-option"
    assert caught.value.hint.startswith(f"{option} ")


def test_a_percentile_that_is_not_earned_is_neither_met_nor_exceeded() -> None:
    check = check_latency(Limit("latency", "p99", 0.01), [0.001] * 100)
    assert (check.met, check.value, check.excess) == (None, None, 0.0)
    assert "p99 needs 299, have 100" in check.words
    assert samples_needed([Limit("latency", "p99", 0.01), Limit("latency", "mean", 0.01)]) == 299


def test_an_earned_percentile_is_held_against_its_limit() -> None:
    samples = np.concatenate([np.full(390, 0.001), np.full(10, 0.02)])
    assert check_latency(Limit("latency", "p99", 0.01), samples).met is False
    assert check_latency(Limit("latency", "p90", 0.01), samples).met is True
    assert check_latency(Limit("latency", "mean", 0.0014), samples).met is False
    assert check_latency(Limit("latency", "p50", 0.0014), samples).met is True


def test_the_excess_counts_how_far_beyond_the_limits_all_together_are() -> None:
    checks = [check_memory(Limit("memory", "peak", 1e8), size) for size in (90_000_000, 100_000_000, 200_000_000)]
    assert [check.met for check in checks] == [True, True, False]
    assert total_excess(checks) == pytest.approx(np.log(2))
    assert all_met(checks) is False
    assert all_met(checks[:2]) is True


FAST, SMALL = "openvino f32, threads 1", "onnxruntime f32, threads 1"


def test_a_faster_form_beyond_a_limit_is_dropped_before_it_is_raced(world: World, tmp_path: Path) -> None:
    world.speeds = {FAST: 0.001}
    world.memory = {FAST: 300_000_000}
    result = run(world, tmp_path, max_memory="200MB")
    dropped = next(trial for trial in result.document["trials"] if trial["label"] == FAST)
    assert dropped["status"] == "dropped"
    assert dropped["speedup"] is None
    assert "300 MB" in dropped["reason"]
    assert result.document["limits_met"] is True
    assert exit_code_of(result.document) == 0


def test_a_form_that_keeps_the_limit_beats_a_faster_one_that_does_not(world: World, tmp_path: Path) -> None:
    world.memory = {"onnxruntime f32": 300_000_000, SMALL: 120_000_000, FAST: 250_000_000}
    world.speeds = {SMALL: 0.003, FAST: 0.001}
    world.memory |= {label.replace("f32", "int8"): 400_000_000 for label in (SMALL, FAST)}
    result = run(world, tmp_path, max_memory="200MB")
    assert result.document["label"] == SMALL
    assert result.document["speedup"]["verdict"] == "slower"
    assert result.document["limits_met"] is True
    assert "keeps the limits" in next(t["reason"] for t in result.document["trials"] if t["label"] == SMALL)
    assert result.document["limits"][0]["before"]["met"] is False


def test_a_limit_that_nothing_keeps_leaves_the_nearest_and_exits_with_1(world: World, tmp_path: Path) -> None:
    world.memory = {"onnxruntime f32": 300_000_000, SMALL: 220_000_000, FAST: 250_000_000}
    world.memory |= {label.replace("f32", "int8"): 400_000_000 for label in (SMALL, FAST)}
    result = run(world, tmp_path, max_memory="200MB")
    assert result.document["label"] == SMALL
    assert result.document["limits_met"] is False
    assert exit_code_of(result.document) == 1
    assert (tmp_path / "out.strop").exists()


def test_a_slow_tail_is_seen_by_a_limit_on_the_99th_percentile(world: World, tmp_path: Path) -> None:
    world.speeds = {FAST: 0.001}
    world.slow_calls = {FAST: 0.03}
    result = run(world, tmp_path, max_latency="p99=5ms")
    assert statuses(result)[FAST] == "dropped"
    assert "p99 latency" in next(trial["reason"] for trial in result.document["trials"] if trial["label"] == FAST)
    assert result.document["label"] == "onnxruntime f32"
    assert result.document["limits_met"] is True


def test_a_percentile_that_the_budget_does_not_earn_is_said_and_exits_with_4(world: World, tmp_path: Path) -> None:
    labels = ["onnxruntime f32", SMALL, FAST]
    world.speeds = dict.fromkeys([*labels, *(label.replace("f32", "int8") for label in labels)], 0.2)
    result = run(world, tmp_path, max_latency="p99.9=5s", budget="60s")
    assert world.clock.now() <= 66.0
    assert result.document["limits_met"] is None
    assert "p99.9 needs 2995" in result.document["limits"][0]["words"]
    assert exit_code_of(result.document) == 4


def test_a_throughput_limit_is_measured_with_many_requests_in_flight(world: World, tmp_path: Path) -> None:
    assert run(world, tmp_path, min_throughput="400").document["limits_met"] is True
    assert run(world, tmp_path, min_throughput="600").document["limits_met"] is False
    found = run(world, tmp_path, min_throughput=400, objective="throughput").document
    assert found["limits"][0]["value"] == pytest.approx(500, rel=0.05)
