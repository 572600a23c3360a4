"""Observers: they see a tensor sample by sample and remember what choosing its range takes, in constant memory.

A histogram serves every range method: it grows by doubling the width of its bins, so that no value is ever lost,
the result does not depend on how samples are cut into batches, and one pass over the data is enough.
"""

from __future__ import annotations

import math

import numpy as np

from strop.quantize.affine import Range

BINS = 2048
VALUES_PER_UPDATE = 1 << 15
"""A histogram takes at most about this many values of a tensor each time (evenly spaced); the extremes take all."""


class Observer:
    """What has been seen of one tensor: exact extremes, their mean over samples, and a histogram of non-zero values."""

    __slots__ = ("_high_sum", "_low_sum", "high", "histogram", "low", "samples", "values")

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self._low_sum = self._high_sum = 0.0
        self.samples = self.values = 0
        self.histogram = Histogram()

    def update(self, tensor: np.ndarray, extremes: Range) -> None:
        """Adds one sample's tensor (any shape), whose finite `extremes` the caller has computed."""
        if tensor.size == 0:
            return
        self.low, self.high = min(self.low, extremes.low), max(self.high, extremes.high)
        self._low_sum += extremes.low
        self._high_sum += extremes.high
        self.samples += 1
        self.values += tensor.size
        self.histogram.update(thin(tensor, VALUES_PER_UPDATE, start=self.samples), extremes)

    @property
    def extremes(self) -> Range:
        """The smallest and the largest value seen."""
        return Range(self.low, self.high)

    @property
    def mean_extremes(self) -> Range:
        """The mean over samples of the smallest and of the largest value."""
        return Range(self._low_sum / self.samples, self._high_sum / self.samples)


class Histogram:
    """Counts in bins of equal width, aligned so that zero is an edge; exact zeros are counted apart.

    Bin i covers width * (offset + i) up to width * (offset + i + 1).
    """

    __slots__ = ("counts", "offset", "width", "zeros")

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self.width = 0.0
        self.offset = 0
        self.zeros = 0

    def update(self, values: np.ndarray, extremes: Range) -> None:
        """Adds values that lie within `extremes`."""
        self._make_room(extremes)
        flat = values.reshape(-1)
        nonzero = flat[flat != 0]
        self.zeros += flat.size - nonzero.size
        if nonzero.size:
            index = np.floor(nonzero.astype(np.float64) * (1.0 / self.width)).astype(np.int64) - self.offset
            self.counts += np.bincount(np.clip(index, 0, BINS - 1), minlength=BINS)

    @property
    def centers(self) -> np.ndarray:
        """The middle of every bin (float64)."""
        return (np.arange(BINS) + (self.offset + 0.5)) * self.width

    def _make_room(self, extremes: Range) -> None:
        low, high = min(extremes.low, 0.0), max(extremes.high, 0.0)
        if low == high:
            return
        if self.width == 0.0:
            # A power of two, so that doubling and dividing stay exact.
            self.width = 2.0 ** math.ceil(math.log2((high - low) / (BINS - 2)))
            self.offset = math.floor(low / self.width)
        occupied = np.flatnonzero(self.counts)
        while True:
            first, last = math.floor(low / self.width), math.floor(high / self.width)
            if occupied.size:
                first = min(first, self.offset + int(occupied[0]))
                last = max(last, self.offset + int(occupied[-1]))
            if last - first < BINS:
                break
            self._halve_resolution()
            occupied = np.flatnonzero(self.counts)
        if first < self.offset or last >= self.offset + BINS:
            self._move(first)

    def _halve_resolution(self) -> None:
        start = self.offset // 2
        index = (np.arange(BINS) + self.offset) // 2 - start
        self.counts = np.bincount(index, weights=self.counts, minlength=BINS)[:BINS].astype(np.int64)
        self.offset, self.width = start, self.width * 2

    def _move(self, offset: int) -> None:
        moved = np.zeros_like(self.counts)
        occupied = np.flatnonzero(self.counts)
        moved[occupied + (self.offset - offset)] = self.counts[occupied]
        self.counts, self.offset = moved, offset


def thin(tensor: np.ndarray, limit: int, *, start: int = 0) -> np.ndarray:
    """Returns about `limit` values spread evenly over the tensor; all of them where it has no more.

    The step is coprime to the tensor's sizes, so that it does not walk along one channel or one column.
    """
    if tensor.size <= limit:
        return tensor.reshape(-1)
    step = -(-tensor.size // limit)
    while any(math.gcd(step, size) > 1 for size in tensor.shape if size > 1):
        step += 1
        if step >= 2 * tensor.size // limit + 64:
            break
    return tensor.reshape(-1)[start % step :: step]


def finite_extremes(tensor: np.ndarray) -> Range | None:
    """Returns the smallest and largest value of a tensor; None where it holds NaN or infinity. Empty: 0..0."""
    if tensor.size == 0:
        return Range(0.0, 0.0)
    low, high = float(tensor.min()), float(tensor.max())
    return Range(low, high) if math.isfinite(low) and math.isfinite(high) else None
