"""Which point of a latency-throughput curve to run at: the most throughput that keeps the limit.

A point is streams x batch x requests in flight. The sweet spot is the point with the most throughput among those whose
percentile is earned and within the limit; that no neighbour (one step along one axis) does better is then true of the
measured ones, and `unmeasured_neighbours` says which are still to be measured before it is true of all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from strop.measure.estimate import Estimate
from strop.measure.statistics import Percentile, mean_estimate
from strop.optimize.latency_limit import LatencyLimit


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """How the model is served: streams, samples to a request, requests in flight for each stream.

    automatic: streams are what the engine chose by itself.
    """

    streams: int
    batch: int
    depth: int
    automatic: bool = False

    @property
    def requests(self) -> int:
        """Requests in flight, all streams together."""
        return self.streams * self.depth

    def __str__(self) -> str:
        shown = (("stream", self.streams), ("request", self.requests))
        streams, requests = (f"{count} {word}{'s' * (count != 1)}" for word, count in shown)
        return f"{streams}, batch {self.batch}, {requests} in flight" + (" (automatic)" if self.automatic else "")


@dataclass(frozen=True, slots=True)
class Point:
    """What a cell gave: inputs per second, and percentiles of a request's latency in seconds, where earned.

    rates: inputs per second in each round that it took part in, by the round's number.
    """

    cell: Cell
    throughput: Estimate
    percentiles: tuple[Percentile, ...]
    rates: Mapping[int, float]

    def percentile(self, q: float) -> Percentile:
        """Returns its q-th percentile; it must be among those that were taken."""
        return next(one for one in self.percentiles if one.q == q)


@dataclass(frozen=True, slots=True)
class Axes:
    """What may be chosen: streams, the largest batch, requests in flight for each stream; each in rising order."""

    streams: tuple[int, ...]
    batches: tuple[int, ...]
    depths: tuple[int, ...]

    def neighbours(self, cell: Cell) -> list[Cell]:
        """Returns the cells one step away along one axis; of streams that are not on theirs, those on either side."""
        found = [Cell(value, cell.batch, cell.depth) for value in _beside(self.streams, cell.streams)]
        found += [Cell(cell.streams, value, cell.depth) for value in _beside(self.batches, cell.batch)]
        found += [Cell(cell.streams, cell.batch, value) for value in _beside(self.depths, cell.depth)]
        return [neighbour for neighbour in found if neighbour.streams in self.streams]


def meets(point: Point, limit: LatencyLimit | None) -> bool:
    """Whether the point is known to keep the limit: its percentile is earned, and within."""
    if limit is None:
        return True
    value = point.percentile(limit.q).value
    return value is not None and value <= limit.seconds


def sweet_spot(points: Sequence[Point], limit: LatencyLimit | None) -> int | None:
    """Returns the index of the point with the most throughput that keeps the limit, None where none does.

    Of points with equal throughput it is the one with the lower median latency.
    """
    able = [index for index, point in enumerate(points) if meets(point, limit)]
    if not able:
        return None
    return max(able, key=lambda index: (points[index].throughput.point, -_median(points[index])))


def unmeasured_neighbours(spot: Cell, axes: Axes, known: Collection[Cell]) -> list[Cell]:
    """Returns the neighbours of the sweet spot about which nothing is known yet.

    known: what was measured, or is over the limit for sure.
    """
    return [cell for cell in axes.neighbours(spot) if cell not in known]


def quicker_equals(points: Sequence[Point], spot: int, *, factor: float = 0.8, margin: float = 0.05) -> list[int]:
    """Returns the points that answer markedly sooner than the sweet spot and give as much, best throughput first.

    As much: in the rounds both were in, at most `margin` less, and not less for sure; sooner: the median latency is at
    most `factor` of the spot's.
    """
    best = points[spot]
    found = []
    for index, point in enumerate(points):
        times = ratio(point, best) if index != spot and _median(point) <= factor * _median(best) else None
        if times is not None and times.high >= 1 and times.point >= 1 - margin:
            found.append(index)
    return sorted(found, key=lambda index: -points[index].throughput.point)


def geometric_mean(rates: Sequence[float]) -> Estimate:
    """Returns the mean of positive figures on a log scale, where an interval of few of them stays above 0."""
    logs = mean_estimate(np.log(rates))
    point, low, high = (float(np.exp(value)) for value in (logs.point, logs.low, logs.high))
    return Estimate(point, low, high, logs.level, logs.n, "geometric mean")


def ratio(one: Point, other: Point) -> Estimate | None:
    """Returns how many times the throughput of `other` the first gives, from the rounds both took part in."""
    shared = sorted(one.rates.keys() & other.rates.keys())
    if len(shared) < 2:
        return None
    return geometric_mean([one.rates[number] / other.rates[number] for number in shared])


def _median(point: Point) -> float:
    value = point.percentile(50.0).value
    return float("inf") if value is None else value


def _beside(values: Sequence[int], value: int) -> list[int]:
    if value not in values:  # the automatic point may lie between
        below, above = [v for v in values if v < value][-1:], [v for v in values if v > value][:1]
        return below + above
    at = values.index(value)
    return [values[index] for index in (at - 1, at + 1) if 0 <= index < len(values)]
