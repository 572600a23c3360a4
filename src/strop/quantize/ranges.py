"""From what an observer saw to the range worth representing: one function a method, all over the same statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from strop.quantize.affine import ACTIVATION_LEVELS, Range
from strop.quantize.observers import Histogram, Observer

RangeMethod = Literal["min-max", "mean-min-max", "percentile", "mse"]

_STEPS = 48
_NARROWEST = 0.02


def min_max(observer: Observer, outliers: float) -> Range:
    """Returns everything ever seen."""
    return observer.extremes


def mean_min_max(observer: Observer, outliers: float) -> Range:
    """Returns the mean over samples of each one's extremes: one odd sample weighs little."""
    return observer.mean_extremes


def percentile(observer: Observer, outliers: float) -> Range:
    """Returns the range that leaves out the share `outliers` of all values at each end (where there is such an end)."""
    histogram = observer.histogram
    total = int(histogram.counts.sum()) + histogram.zeros
    if total == 0:
        return observer.extremes
    allowed = outliers * total
    lower_edges = (np.arange(histogram.counts.size) + histogram.offset) * histogram.width
    from_below = np.cumsum(histogram.counts + _zeros_in_place(histogram))
    from_above = np.cumsum((histogram.counts + _zeros_in_place(histogram))[::-1])[::-1]
    low = float(lower_edges[int(np.searchsorted(from_below, allowed, side="right"))]) if allowed < total else 0.0
    kept = np.flatnonzero(from_above > allowed)
    high = float(lower_edges[int(kept[-1])] + histogram.width) if kept.size else 0.0
    return Range(low, high).intersect(observer.low, observer.high)


def mean_squared_error(observer: Observer, outliers: float) -> Range:
    """Returns the range whose 256 steps give the smallest expected squared error, rounding and clipping together.

    Each end is shrunk in turn on a geometric grid while the other rests, until neither moves; exact zeros cost nothing
    in any range, so they do not count.
    """
    counts = observer.histogram.counts.astype(np.float64)
    if counts.sum() == 0:
        return observer.extremes
    occupied = np.flatnonzero(counts)
    counts, centers = counts[occupied], observer.histogram.centers[occupied]
    full = observer.extremes.with_zero()
    factors = np.geomspace(1.0, _NARROWEST, _STEPS)
    best = full
    for _ in range(4):
        previous = best
        for end in ("high", "low"):
            reach = full.high if end == "high" else full.low
            if reach == 0.0:
                continue
            candidates = [
                Range(best.low, reach * factor) if end == "high" else Range(reach * factor, best.high)
                for factor in factors
            ]
            best = min(candidates, key=lambda values: _expected_error(centers, counts, values))
        if best == previous:
            break
    return best


METHODS: Mapping[RangeMethod, Callable[[Observer, float], Range]] = {
    "min-max": min_max,
    "mean-min-max": mean_min_max,
    "percentile": percentile,
    "mse": mean_squared_error,
}


def choose_range(observer: Observer, method: RangeMethod, *, outliers: float = 1e-4) -> Range:
    """Returns the range that `method` finds worth representing (`outliers`: the share that "percentile" cuts)."""
    if observer.samples == 0:
        return Range(0.0, 0.0)
    return METHODS[method](observer, outliers).with_zero()


def _expected_error(centers: np.ndarray, counts: np.ndarray, values: Range) -> float:
    step = values.width / ACTIVATION_LEVELS
    outside = np.maximum(centers - values.high, 0.0) + np.maximum(values.low - centers, 0.0)
    inside = outside == 0.0
    return float((counts * outside**2).sum() + counts[inside].sum() * step * step / 12.0)


def _zeros_in_place(histogram: Histogram) -> np.ndarray:
    extra = np.zeros_like(histogram.counts)
    index = -histogram.offset
    if 0 <= index < extra.size:
        extra[index] = histogram.zeros
    return extra
