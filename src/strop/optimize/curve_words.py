"""What a latency-throughput curve comes to, as JSON and in words that carry the measured figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from strop.measure.estimate import Estimate
from strop.optimize.curve import PERCENTILES, Curve
from strop.optimize.sweet_spot import Cell, Point, quicker_equals, ratio


def curve_to_json(curve: Curve, *, engine: str, precision: str) -> dict[str, Any]:
    """Returns the fact `curve`: points, index of the sweet spot, limit, words, and what was left out and why."""
    return {
        "points": [_point_to_json(point, engine, precision) for point in curve.points],
        "sweet_spot": curve.spot,
        "limit": None if curve.limit is None else str(curve.limit),
        "words": " ".join(f"{sentence}." for sentence in sentences(curve)),
        "sentences": sentences(curve),
        "estimated_seconds": round(curve.estimated_seconds, 1),
        "seconds": round(curve.seconds, 1),
    }


def sentences(curve: Curve) -> list[str]:
    """Returns the sweet spot, what answers sooner and gives as much, what streams and batching give."""
    found = [_spot(curve)]
    if curve.spot is not None:
        found += [_quicker(curve.points, curve.spot, index) for index in quicker_equals(curve.points, curve.spot)[:1]]
    found += [*_streams(curve.points), *_batching(curve.points)]
    stopped = (f"{_streams_words(count)}: no larger batch was tried, {why}" for count, why in curve.stopped.items())
    left = "; ".join(str(cell) for cell in curve.unmeasured)
    return [*found, *stopped, *([f"neighbours that were not measured, for lack of time: {left}"] if left else [])]


def batching_ratio(points: Sequence[Point]) -> tuple[Point, Point, Estimate] | None:
    """Returns the best point with a batch above 1, the best with batch 1, and how many times as much the first gives.

    None where there is no batch but 1.
    """
    return _best_ratio(points, lambda cell: cell.batch > 1, lambda cell: cell.batch == 1)


def _point_to_json(point: Point, engine: str, precision: str) -> dict[str, Any]:
    taken = {f"p{q:g}": point.percentile(q) for q in PERCENTILES}
    latency: dict[str, Any] = {name: None if one.value is None else one.value * 1e3 for name, one in taken.items()}
    for one in point.percentiles:
        latency.setdefault(f"p{one.q:g}", None if one.value is None else one.value * 1e3)
    latency["why"] = {f"p{one.q:g}": str(one) for one in point.percentiles if one.value is None}
    return {
        "engine": engine,
        "precision": precision,
        "streams": point.cell.streams,
        "batch": point.cell.batch,
        "requests": point.cell.requests,
        "automatic": point.cell.automatic,
        "throughput_per_second": point.throughput.to_json(),
        "latency_ms": latency,
    }


def _spot(curve: Curve) -> str:
    if curve.spot is None:
        q = curve.limit.q if curve.limit else 50.0
        lowest = min(curve.points, key=lambda point: _value(point, q))
        return f"no point is known to keep {curve.limit}; nearest: {lowest.cell} with {_percentile(lowest, q)}"
    spot = curve.points[curve.spot]
    within = "" if curve.limit is None else f" within {curve.limit}"
    q = curve.limit.q if curve.limit else 50.0
    return f"most throughput{within}: {spot.cell}, {_interval(spot.throughput)} a second, {_percentile(spot, q)}"


def _quicker(points: Sequence[Point], spot: int, index: int) -> str:
    other = points[index]
    return (
        f"{other.cell} gives {_interval(other.throughput)}, about as much, and answers sooner "
        f"({_percentile(other, 50.0)} against {_percentile(points[spot], 50.0)})"
    )


def _streams(points: Sequence[Point]) -> list[str]:
    found = _best_ratio(
        points,
        lambda cell: cell.streams > 1 and cell.batch == 1 and not cell.automatic,
        lambda cell: cell.streams == 1 and cell.batch == 1 and not cell.automatic,
    )
    if found is None:
        return []
    many, _, times = found
    return [f"{many.cell.streams} streams give {_interval(times)} x the throughput of one"]


def _batching(points: Sequence[Point]) -> list[str]:
    found = batching_ratio(points)
    if found is None:
        return []
    batched, single, times = found
    worth = (
        "batching pays here"
        if times.low > 1.03
        else "batching is poor here: prefer streams"
        if times.high < 1.1
        else "whether batching pays cannot be told"
    )
    return [f"batch {batched.cell.batch} gives {_interval(times)} x the best of batch 1 ({single.cell}): {worth}"]


def _best_ratio(
    points: Sequence[Point], one: Callable[[Cell], bool], other: Callable[[Cell], bool]
) -> tuple[Point, Point, Estimate] | None:
    ones, others = [p for p in points if one(p.cell)], [p for p in points if other(p.cell)]
    if not ones or not others:
        return None
    first, second = (max(side, key=lambda point: point.throughput.point) for side in (ones, others))
    times = ratio(first, second)
    return None if times is None else (first, second, times)


def _value(point: Point, q: float) -> float:
    value = point.percentile(q).value
    return float("inf") if value is None else value


def _percentile(point: Point, q: float) -> str:
    one = point.percentile(q)
    return str(one) if one.value is None else f"p{q:g} {one.value * 1e3:.3g} ms"


def _interval(estimate: Estimate) -> str:
    return "{} ({} to {})".format(*(_number(value) for value in (estimate.point, estimate.low, estimate.high)))


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _streams_words(count: int) -> str:
    return "1 stream" if count == 1 else f"{count} streams"
