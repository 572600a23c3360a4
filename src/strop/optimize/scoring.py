"""How outputs are scored, and how much may be lost: what the user named, and for the rest what fits the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from strop.errors import UsageError
from strop.optimize.limits import parse_drop
from strop.quality.contract import DataSet, Decode, MetricFactory
from strop.quality.decoders.identity import identity
from strop.quality.defaults import choose_quality
from strop.quality.groups import GroupSource
from strop.quality.task import TaskData

__all__ = ["DecodeSource", "GroupSource", "LabelSource", "MetricSource", "Scoring", "choose_scoring"]

LabelSource = str | Path | Sequence[object] | np.ndarray
"""Labels as users give them: a file, or one value a sample."""
DecodeSource = str | Decode
"""A decoder's name, `file.py:function`, or a function of (outputs, inputs)."""
MetricSource = str | Callable[..., object]
"""A metric's name, `file.py:function`, or a function of (predictions, targets)."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """A decoder, a metric, and the largest drop accepted (None: no limit), absolute or as a share of the baseline."""

    decode: Decode
    metric: MetricFactory
    max_drop: float | None
    relative: bool


def choose_scoring(
    data: DataSet,
    metadata: Mapping[str, str],
    *,
    decode: DecodeSource | None = None,
    metric: MetricSource | None = None,
    max_drop: str | float | None = None,
    relative: bool = False,
    default_drop: str | None = None,
) -> Scoring | None:
    """Returns how to score `data`, None where it has no labels; metadata is the model's (a recognizer's characters).

    default_drop: the limit where none is given, in percent; of a metric that is no fraction, of the baseline's value.
    Raises UsageError (`usage.missing-labels`) for a metric, or a limit on its drop, without labels.
    """
    if not data.has_targets:
        if metric is not None or max_drop is not None:
            raise UsageError(
                "usage.missing-labels",
                "a metric, or a limit on its drop, needs labels, and the data have none",
                where=data.name,
                hint="give --labels; without any, `strop optimize` takes --min-agreement 0.99 instead",
            )
        return None
    decoder: Decode
    factory: MetricFactory
    if isinstance(data, TaskData):
        if decode is not None or metric is not None:
            raise UsageError(
                "usage.bad-option",
                "a task makes and scores its predictions itself",
                got=f"--decode {decode}" if metric is None else f"--metric {metric}",
                hint="leave it out; a task may name its metric as the attribute `metric`",
            )
        decoder, factory = identity, data.metric
    else:
        decoder, factory = choose_quality(data, decode=decode, metric=metric, metadata=metadata)
    if max_drop is None and default_drop is not None:
        max_drop, relative = default_drop, relative or not factory().is_fraction
    limit = None
    if max_drop is not None:
        limit = parse_drop(max_drop, is_fraction=factory().is_fraction, relative=relative)
    return Scoring(decoder, factory, limit, relative)
