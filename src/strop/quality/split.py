"""Parts of a data set: what calibrates, what chooses and what confirms are different samples; fewer, evenly spread."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from strop.errors import DataError, UsageError
from strop.quality.contract import DataSet


class Split(NamedTuple):
    """Three subsets of a data set, each in the set's own order."""

    calibration: DataSet
    choosing: DataSet
    confirmation: DataSet

    @property
    def sizes(self) -> dict[str, int]:
        """The number of samples of each, by name, for records."""
        return {name: len(data) for name, data in zip(self._fields, self, strict=True)}


def split(
    data: DataSet, *, calibration: int, choosing: int, confirmation: int, overlap: bool = False, seed: int = 0
) -> Split:
    """Returns three disjoint subsets of these sizes, drawn at random from `seed`; the same every time.

    overlap: lets samples serve several purposes, for sets too small to divide; each subset is then drawn from all.
    Samples are drawn in one shuffle, so the choosing subset does not change when more are asked to confirm.
    """
    wanted, total = (calibration, choosing, confirmation), len(data)
    if min(wanted) < 0 or (max(wanted) if overlap else sum(wanted)) > total:
        raise UsageError(
            "usage.bad-option",
            "the data cannot be divided into parts of these sizes",
            where=data.name,
            got=" + ".join(map(str, wanted)),
            expected=f"at most {total} samples" + (" each" if overlap else " together"),
            hint="give more data, or ask for smaller parts",
        )
    order = np.random.default_rng(seed).permutation(total)
    starts = (0, 0, 0) if overlap else (0, calibration, calibration + choosing)
    return Split(
        *(data.subset(sorted(order[start : start + size].tolist())) for start, size in zip(starts, wanted, strict=True))
    )


def evenly_spread(data: DataSet, samples: int) -> DataSet:
    """Returns `samples` samples spread evenly over `data` (the first ones of a folder are all of one class)."""
    if samples < 1:
        raise DataError("data.empty", "samples is below 1", where=data.name, got=samples, hint="300 is a good number")
    return data if len(data) <= samples else data.subset([index * len(data) // samples for index in range(samples)])
