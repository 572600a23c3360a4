"""Known curves have known sweet spots; no neighbour that keeps the limit does better."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.errors import UsageError
from strop.measure.estimate import Estimate
from strop.measure.statistics import Percentile
from strop.optimize.latency_limit import LatencyLimit, parse_latency_limit
from strop.optimize.sweet_spot import (
    Axes,
    Cell,
    Point,
    meets,
    quicker_equals,
    sweet_spot,
    unmeasured_neighbours,
)

LIMIT = LatencyLimit(90.0, 0.010)


def point(cell: Cell, per_second: float, p90_ms: float | None, *, p50_ms: float | None = None) -> Point:
    p50 = (p90_ms or 1.0) * 0.8 if p50_ms is None else p50_ms
    values = ((50.0, p50), (90.0, p90_ms), (99.0, None))
    return Point(
        cell,
        Estimate(per_second, per_second * 0.98, per_second * 1.02, 0.95, 5, "mean of rounds"),
        tuple(Percentile(q, None if ms is None else ms / 1e3, 100, 29) for q, ms in values),
        {0: per_second, 1: per_second * 1.001},
    )


def test_the_known_curve_has_its_known_spot() -> None:
    # Streams help, batch 4 breaks the limit, two requests a stream give a little more and keep it.
    points = [
        point(Cell(1, 1, 1), 200, 5.2),
        point(Cell(2, 1, 1), 310, 6.9),
        point(Cell(2, 1, 2), 330, 9.8),
        point(Cell(2, 4, 1), 360, 24.0),
        point(Cell(2, 4, 2), 362, 47.0),
    ]
    assert sweet_spot(points, LIMIT) == 2
    assert sweet_spot(points, LatencyLimit(90.0, 0.008)) == 1
    assert sweet_spot(points, LatencyLimit(90.0, 0.030)) == 3
    assert sweet_spot(points, LatencyLimit(90.0, 0.005)) is None
    assert sweet_spot(points, None) == 4


def test_a_percentile_that_is_not_earned_keeps_no_limit() -> None:
    few = point(Cell(1, 1, 1), 900, None, p50_ms=1.0)
    assert not meets(few, LIMIT)
    assert meets(few, None)
    assert sweet_spot([few, point(Cell(1, 1, 2), 100, 9.0)], LIMIT) == 1


def test_of_equal_throughputs_the_quicker_one_is_the_spot() -> None:
    assert sweet_spot([point(Cell(1, 1, 2), 100, 9.0), point(Cell(1, 1, 1), 100, 5.0)], LIMIT) == 1


def test_a_point_that_gives_as_much_and_answers_sooner_is_named() -> None:
    as_much = replace(point(Cell(1, 1, 1), 198, 5.0), rates={0: 204.0, 1: 194.0})
    points = [as_much, point(Cell(1, 1, 2), 200, 10.0), point(Cell(2, 1, 1), 150, 4.0)]
    assert quicker_equals(points, 1) == [0]
    # Every round says that it gives less: that is no noise.
    assert quicker_equals([point(Cell(1, 1, 1), 198, 5.0), *points[1:]], 1) == []


@given(
    st.lists(st.tuples(st.floats(1, 1e4), st.one_of(st.none(), st.floats(0.1, 50))), min_size=12, max_size=12),
    st.floats(0.1, 50),
)
def test_no_measured_neighbour_within_the_limit_has_more(
    figures: list[tuple[float, float | None]], limit_ms: float
) -> None:
    axes = Axes((1, 2), (1, 2, 4), (1, 2))
    cells = [Cell(s, b, d) for s in axes.streams for b in axes.batches for d in axes.depths]
    points = [point(cell, rate, p90) for cell, (rate, p90) in zip(cells, figures, strict=True)]
    limit = LatencyLimit(90.0, limit_ms / 1e3)
    found = sweet_spot(points, limit)
    able = {one.cell: one for one in points if meets(one, limit)}
    if found is None:
        assert not able
        return
    spot = points[found]
    assert meets(spot, limit)
    beside = [able[cell] for cell in axes.neighbours(spot.cell) if cell in able]
    assert all(other.throughput.point <= spot.throughput.point for other in beside)


def test_neighbours_are_one_step_along_one_axis() -> None:
    axes = Axes((1, 2, 4), (1, 2, 4), (1, 2))
    assert set(axes.neighbours(Cell(2, 4, 1))) == {Cell(1, 4, 1), Cell(4, 4, 1), Cell(2, 2, 1), Cell(2, 4, 2)}
    assert unmeasured_neighbours(Cell(2, 4, 1), axes, {Cell(1, 4, 1), Cell(2, 2, 1), Cell(2, 4, 2)}) == [Cell(4, 4, 1)]
    # An engine's own choice may lie between the numbers that are tried.
    assert Cell(2, 1, 1) in axes.neighbours(Cell(3, 1, 1, automatic=True))
    assert Cell(4, 1, 1) in axes.neighbours(Cell(3, 1, 1, automatic=True))


def test_a_limit_is_a_percentile_and_a_time() -> None:
    assert parse_latency_limit("p90=10ms") == LatencyLimit(90.0, 0.010)
    assert parse_latency_limit(" P99.9 = 1.5 s") == LatencyLimit(99.9, 1.5)
    assert parse_latency_limit("p50=200us").seconds == pytest.approx(2e-4)
    assert parse_latency_limit("10ms").q == 50.0
    for wrong in ("p90", "p90=10", "p0=1ms", "p100=1ms", "p90=0ms", "p90=-1ms", "mean=5ms", "p50=1ms,p90=2ms", ""):
        with pytest.raises(UsageError) as caught:
            parse_latency_limit(wrong)
        assert caught.value.code == "usage.bad-option"
