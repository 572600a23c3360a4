"""Did the outputs survive? A look at a few samples before anything is timed: cheap, and it needs no labels.

It catches models that 8 bits destroy, not small losses: those are the metric's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from strop.engines.contract import Settings
from strop.engines.registry import get_engine
from strop.errors import DataError
from strop.measure.statistics import proportion
from strop.model.model import Model
from strop.quality.contract import DataSet, Outputs
from strop.quality.split import evenly_spread
from strop.quantize.calibrate import check_inputs

SAMPLES = 32
LARGEST_DISTANCE = 0.5
"""Relative L2 distance: at 0.5 a quarter of the output's energy is error."""

LARGEST_DISTANCE_OF_CLASSES = 0.8
"""For outputs that are read by their largest entry, and still agree on it, the distance may be this much."""

LEAST_AGREEMENT = 0.9
"""Share of samples (of steps, in sequences) whose largest entry is the same one; missed when even the upper end of its
95 % interval lies below."""

SMALL_DISTANCE = 0.2
"""Below this another largest entry means nothing: an embedding's entries are often close."""

LEAST_COSINE = 0.8

CORNERS = 4
"""The four numbers of a box are no classes."""


@dataclass(frozen=True, slots=True)
class OutputFigures:
    """How one output changed, over all samples together.

    relative_l2: |b - a| / |a|; cosine: of the angle between them; agreement: share of vectors along the class axis
    whose largest entry is the same, None where the output has no such axis; vectors: their number.
    """

    name: str
    finite: bool
    relative_l2: float
    cosine: float
    agreement: float | None
    vectors: int

    def to_json(self) -> dict[str, object]:
        """Returns the figures as a JSON object."""
        return {field: getattr(self, field) for field in self.__slots__}


@dataclass(frozen=True, slots=True)
class SanityVerdict:
    """ok, or the reason in words why not; the figures of each output; how many samples were looked at."""

    ok: bool
    reason: str
    figures: tuple[OutputFigures, ...]
    samples: int

    def to_json(self) -> dict[str, object]:
        """Returns the verdict as a JSON object."""
        return {
            "ok": self.ok,
            "reason": self.reason,
            "samples": self.samples,
            "outputs": [figures.to_json() for figures in self.figures],
        }


def check_sanity(original: Model, quantized: Model, data: DataSet, *, samples: int = SAMPLES) -> SanityVerdict:
    """Returns whether `quantized` still computes what `original` does, on `samples` samples spread over `data`."""
    engine = get_engine("onnxruntime")
    tallies = {spec.name: _Tally(spec.name) for spec in original.outputs}
    count = 0
    with (
        closing(engine.compile(original, Settings())) as before,
        closing(engine.compile(quantized, Settings())) as after,
    ):
        for sample in evenly_spread(data, samples):
            check_inputs(sample, data.name)
            _add(tallies, before(sample.inputs), after(sample.inputs))
            count += 1
    if count == 0:
        raise DataError(
            "data.empty", "there are no samples to check with", where=data.name, hint="give a few typical inputs"
        )
    figures = tuple(tally.figures() for tally in tallies.values())
    reasons = [reason for each in figures if (reason := complaint(each))]
    return SanityVerdict(not reasons, "; ".join(reasons) or "the outputs are close to the original's", figures, count)


def complaint(figures: OutputFigures) -> str | None:
    """Returns in words what is wrong with an output; None where it is sound."""
    if not figures.finite:
        return f"output {figures.name!r} holds NaN or infinity"
    if figures.agreement is not None and figures.relative_l2 > SMALL_DISTANCE and _disagrees(figures):
        return (
            f"output {figures.name!r} chooses differently in {1 - figures.agreement:.0%} of {figures.vectors} cases "
            f"(changed by {figures.relative_l2:.0%})"
        )
    limit = LARGEST_DISTANCE if figures.agreement is None else LARGEST_DISTANCE_OF_CLASSES
    if figures.relative_l2 > limit:
        return f"output {figures.name!r} changed by {figures.relative_l2:.0%}"
    if figures.cosine < LEAST_COSINE:
        return f"output {figures.name!r} points elsewhere (cosine {figures.cosine:.2f})"
    return None


class _Tally:
    """Sums over samples, for one output."""

    def __init__(self, name: str):
        self.name, self.finite = name, True
        self.difference = self.before = self.after = self.product = 0.0
        self.same = self.vectors = 0

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        if before.dtype.kind not in "fiub" or before.shape != after.shape:
            self.finite = self.finite and before.shape == after.shape
            return
        a, b = before.astype(np.float64), after.astype(np.float64)
        # What the original gives as infinite (a mask) says nothing about 8 bits.
        known = np.isfinite(a)
        self.finite = self.finite and bool(np.isfinite(b[known]).all())
        a, b = np.where(known, a, 0.0), np.where(known & np.isfinite(b), b, 0.0)
        self.difference += float(((a - b) ** 2).sum())
        self.before += float((a**2).sum())
        self.after += float((b**2).sum())
        self.product += float((a * b).sum())
        axis = class_axis(before.shape)
        if axis is not None and before.dtype.kind == "f":
            same, counted = choices(a.argmax(axis), b.argmax(axis))
            self.same, self.vectors = self.same + same, self.vectors + counted

    def figures(self) -> OutputFigures:
        silent = self.before == 0.0
        distance = (
            0.0 if self.difference == 0 else float("inf") if silent else float(np.sqrt(self.difference / self.before))
        )
        length = np.sqrt(self.before * self.after)
        cosine = 1.0 if self.difference == 0 else float(self.product / length) if length > 0 else 0.0
        agreement = self.same / self.vectors if self.vectors else None
        return OutputFigures(self.name, self.finite, distance, cosine, agreement, self.vectors)


def class_axis(shape: tuple[int, ...]) -> int | None:
    """Returns the axis whose largest entry counts: the last of [batch, classes] and of [batch, steps, classes]."""
    return len(shape) - 1 if len(shape) in (2, 3) and shape[-1] > CORNERS else None


def _disagrees(figures: OutputFigures) -> bool:
    same = round((figures.agreement or 0.0) * figures.vectors)
    return proportion(same, figures.vectors, level=0.95).high < LEAST_AGREEMENT


def choices(before: np.ndarray, after: np.ndarray) -> tuple[int, int]:
    """Returns (how many choices are the same, how many count) for indices [batch] or [batch, steps].

    Where there are steps, one class is background (the blank of a text line) and easy to agree on: steps where both
    choose the original's most frequent class do not count.
    """
    same = before == after
    counts = np.ones_like(same)
    if before.ndim > 1:
        background = np.bincount(before.reshape(-1)).argmax()
        counts = (before != background) | (after != background)
    return int((same & counts).sum()), int(counts.sum())


def _add(tallies: Mapping[str, _Tally], before: Outputs, after: Outputs) -> None:
    for name, tally in tallies.items():
        tally.add(before[name], after[name])
