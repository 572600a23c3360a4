"""Curves over made-up models whose throughput and latency follow from a formula."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from strop.errors import UsageError
from strop.measure.estimate import Estimate
from strop.measure.load import Throughput
from strop.model.specs import TensorSpec
from strop.optimize import curve as curve_module
from strop.optimize.benchmark_curve import axes_for, check_curve_options, has_free_batch, parse_counts
from strop.optimize.curve import Curve, Measuring
from strop.optimize.curve_grid import ROUNDS, Probe, batches_to, estimated_seconds, fit, grow, round_seconds, streams_of
from strop.optimize.curve_words import batching_ratio, curve_to_json, sentences
from strop.optimize.latency_limit import LatencyLimit
from strop.optimize.sweet_spot import Axes, Cell, meets, ratio

INPUTS = {"x": np.zeros((1, 4), np.float32)}


class Served:
    """A model that serves a request of batch b on s streams in fixed + each * b * s / (s * gain) seconds.

    It speeds up and slows down from round to round by the same factor for all, as machines do.
    """

    def __init__(self, streams: int, *, fixed: float = 0.0, each: float = 0.002, gain: float = 1.5, least: int = 400):
        self.streams, self.batch = streams, 1
        self.fixed, self.each, self.gain = fixed, each, 1.0 if streams == 1 else gain
        self.settings: Mapping[str, Any] = {"streams": streams}
        self.closed, self.calls, self.least = False, 0, least

    def set_inputs(self, inputs: Mapping[str, np.ndarray], *, batch: int = 1) -> None:
        self.batch = batch

    def request(self, depth: float = 1.0) -> float:
        return (self.fixed + self.each * self.batch) * self.streams / self.gain * depth

    def block(self, n: int) -> list[float]:
        return [(self.fixed + self.each * self.batch)] * n

    def throughput(self, *, seconds: float, requests: int | None = None) -> Throughput:
        self.calls += 1
        depth = (requests or 1) / self.streams
        drift = 1.0 + 0.05 * (self.calls % 3)
        latency = self.request(depth) * drift
        completed = max(int(seconds / latency) * (requests or 1), self.least)
        rate = self.batch * (requests or 1) / latency
        return Throughput(Estimate(rate, rate, rate, 0.95, 5, "total"), completed, seconds, np.full(completed, latency))

    def cpu_seconds(self) -> float:
        return 0.0

    def close(self) -> None:
        self.closed = True


def measure(
    monkeypatch: pytest.MonkeyPatch, limit: LatencyLimit | None, axes: Axes, **model: Any
) -> tuple[Curve, list[Served]]:
    monkeypatch.setattr(curve_module, "wait_until_idle", lambda turns: 0.0)
    opened: list[Served] = []

    def open_with(streams: int | None) -> Served:
        opened.append(Served(streams or 2, **model))
        return opened[-1]

    return Measuring(open_with, INPUTS, axes, limit, 0.5).curve(), opened


def test_streams_win_where_batching_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found, opened = measure(monkeypatch, None, Axes((1, 2), batches_to(256), (1, 2)))
    assert found.spot is not None
    assert found.points[found.spot].cell.streams == 2
    assert all(model.closed for model in opened)
    assert max(one.cell.batch for one in found.points) <= 8, "the probe stops where the batch does not pay"
    words = " ".join(sentences(found))
    assert "batching is poor here" in words
    assert "2 streams give 1.5" in words
    assert any(one.cell.automatic for one in found.points)


def test_a_large_fixed_cost_makes_batches_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = measure(monkeypatch, None, Axes((1,), batches_to(16), (1, 2)), fixed=0.01, each=0.0001, gain=1.0)
    assert found.spot is not None
    assert found.points[found.spot].cell.batch == 16
    batched, single, times = batching_ratio(found.points) or pytest.fail("no ratio")
    assert (batched.cell.batch, single.cell.batch) == (16, 1)
    assert times.point == pytest.approx((0.0101 / 1) / (0.0116 / 16), rel=0.1)
    assert "batching pays here" in " ".join(sentences(found))


def test_the_spot_keeps_the_limit_and_no_neighbour_does_better(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = LatencyLimit(90.0, 0.012)
    axes = Axes((1, 2), batches_to(16), (1, 2))
    found, _ = measure(monkeypatch, limit, axes, fixed=0.002, each=0.001)
    assert found.spot is not None
    spot = found.points[found.spot]
    assert meets(spot, limit)
    by_cell = {one.cell: one for one in found.points}
    for cell in axes.neighbours(spot.cell):
        beside = by_cell.get(cell)
        if beside is None:  # left out for one reason only: a request alone breaks the limit
            assert 0.002 + 0.001 * cell.batch > limit.seconds
        else:
            assert not meets(beside, limit) or beside.throughput.point <= spot.throughput.point


def test_a_limit_nothing_keeps_says_what_is_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = measure(monkeypatch, LatencyLimit(90.0, 1e-4), Axes((1, 2), (1, 2), (1, 2)))
    assert found.spot is None
    document = curve_to_json(found, engine="made-up", precision="f32")
    assert document["sweet_spot"] is None
    assert document["limit"] == "p90 <= 0.1 ms"
    assert "no point is known to keep p90 <= 0.1 ms" in document["words"]


def test_points_say_what_they_measured_and_what_is_not_earned(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = measure(monkeypatch, None, Axes((1,), (1,), (1, 2)), least=1)
    document = curve_to_json(found, engine="made-up", precision="f32")
    first = document["points"][0]
    assert first["throughput_per_second"]["low"] <= first["throughput_per_second"]["point"]
    assert first["latency_ms"]["p50"] > 0
    assert first["latency_ms"]["p99"] is None
    assert "p99 needs 299, have" in first["latency_ms"]["why"]["p99"]


def test_a_ratio_takes_the_rounds_both_were_in(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = measure(monkeypatch, None, Axes((1, 2), (1,), (1,)))
    one, two = (next(p for p in found.points if p.cell == Cell(s, 1, 1)) for s in (1, 2))
    times = ratio(two, one)
    assert times is not None
    assert times.point == pytest.approx(1.5, rel=0.01)
    assert times.n == ROUNDS


def test_the_estimate_is_what_the_rounds_add_up_to() -> None:
    probe = Probe({(1, 1): 0.01, (2, 1): 0.02})
    cells = [Cell(1, 1, 1), Cell(2, 1, 2)]
    expected = estimated_seconds(cells, probe, 2.0, None)
    assert expected == pytest.approx(5 * (0.4 + 0.02 + 0.02 + 0.4 + 2 * 0.02 * 2 + 0.02))


def test_points_are_shortened_and_then_large_batches_left_out_to_fit() -> None:
    probe = Probe({(1, 1): 0.01, (1, 2): 0.02, (1, 4): 0.04})
    cells = [Cell(1, batch, 1) for batch in (1, 2, 4)]
    assert fit(cells, probe, 2.0, None, 1e9) == (cells, 2.0)
    shorter, seconds = fit(cells, probe, 2.0, None, 3.0)
    assert shorter == cells
    assert 0.25 <= seconds < 2.0
    assert estimated_seconds(shorter, probe, seconds, None) <= 3.0
    fewer, seconds = fit(cells, probe, 2.0, None, 1.2)
    assert fewer == cells[:2]
    assert fit(cells, probe, 2.0, None, 0.0) == (cells[:1], 0.25)


def test_a_slow_model_and_a_high_percentile_make_a_round_longer() -> None:
    assert round_seconds(Cell(1, 1, 1), 0.001, 2.0, None) == pytest.approx(0.4)
    assert round_seconds(Cell(1, 1, 2), 0.5, 2.0, None) == pytest.approx(2.0)
    needed = 299  # p99
    longer = round_seconds(Cell(2, 1, 1), 0.1, 2.0, LatencyLimit(99.0, 1.0))
    assert longer == pytest.approx(1.2 * needed / 5 * 0.1 / 2)


def test_the_probe_stops_at_the_limit_and_where_batching_stops_paying() -> None:
    probe = Probe()
    grow(probe, 1, batches_to(64), lambda batch: 0.004 * batch, LatencyLimit(90.0, 0.010))
    assert sorted(probe.seconds) == [(1, 1), (1, 2), (1, 4)]
    assert (1, 4) in probe.over_limit
    assert (1, 64) in probe.over_limit
    assert "16 ms" in probe.stopped[1]
    probe = Probe()
    grow(probe, 1, batches_to(64), lambda batch: 0.004 * batch, None)
    assert sorted(probe.seconds) == [(1, 1), (1, 2), (1, 4)]
    assert "1.00 x" in probe.stopped[1]


def test_axes_follow_the_machine_and_the_model() -> None:
    free, fixed = TensorSpec("x", "float32", ("batch", 4)), TensorSpec("x", "float32", (1, 4))
    assert streams_of(6) == (1, 3, 6)
    assert axes_for([free], threads=2).streams == (1, 2)
    assert axes_for([free], threads=2).batches[-1] == 256
    assert axes_for([fixed], threads=2).batches == (1,)
    assert not has_free_batch([free, fixed])
    for wrong in ({"streams": (4,)}, {"batches": (2,)}):
        with pytest.raises(UsageError):
            axes_for([fixed], threads=2, **wrong)


def test_options_that_do_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="does nothing here"):
        check_curve_options(False, only_with={"--streams": "1"}, never_with={})
    with pytest.raises(UsageError, match="does nothing here"):
        check_curve_options(True, only_with={}, never_with={"--rate": 5.0})
    check_curve_options(True, only_with={"--streams": "1"}, never_with={"--rate": None, "--poisson": False})
    assert parse_counts("--streams", "2,1") == (2, 1)
    for wrong in ("", "0", "-1", "a", "1,,2", "1.5"):
        with pytest.raises(UsageError):
            parse_counts("--streams", wrong)
