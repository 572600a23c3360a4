"""The order of quantization (the guide's): post-training first, then what repairs it, then training, or float.

Each attempt costs more than the one before it and is made only where that one failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from strop.quantize.quantize import DEFAULT_SAMPLES


class Leaf(StrEnum):
    """What is to be done next about 8 bits."""

    ALREADY = "it is quantized already"
    NOTHING = "nothing in it can be quantized"
    NOT_WORTH_IT = "8 bits are not faster here"
    COLLECT_DATA = "collect data"
    POST_TRAINING = "post-training quantization"
    KEEP = "post-training quantization is enough"
    MORE_SAMPLES = "more samples to calibrate with"
    OTHER_RANGES = "another choice of ranges"
    LAYERS_IN_FLOAT = "sensitive layers in float"
    ACCURACY_CONTROL = "accuracy control"
    TRAINING = "quantization-aware training"
    STAY_FLOAT = "stay in float"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far quantization has come.

    operators: how many with weights 8 bits would reach; pays: whether 8 bits were measured, or else are predicted, to
    be faster, None where neither is known; post_training: what came of it; samples, available: how many it was
    calibrated on, and how many there are; ranges, layers, control: whether that repair was tried.
    """

    quantized: bool = False
    operators: int = 1
    pays: bool | None = None
    data: bool = True
    labelled: bool = False
    training: bool = False
    post_training: Literal["untried", "kept", "lost"] = "untried"
    samples: int = 0
    available: int = 0
    ranges: bool = False
    layers: bool = False
    control: bool = False


def next_in_order(progress: Progress) -> Leaf:
    """Returns the next step of the order.

    Example:
        >>> next_in_order(Progress(post_training="lost", samples=300, available=300, ranges=True, layers=True))
        <Leaf.STAY_FLOAT: 'stay in float'>
    """
    if progress.quantized:
        return Leaf.ALREADY
    if progress.operators == 0:
        return Leaf.NOTHING
    if progress.pays is False:
        return Leaf.NOT_WORTH_IT
    if not progress.data:
        return Leaf.COLLECT_DATA
    if progress.post_training == "untried":
        return Leaf.POST_TRAINING
    if progress.post_training == "kept":
        return Leaf.KEEP
    if progress.samples < min(DEFAULT_SAMPLES, progress.available):
        return Leaf.MORE_SAMPLES
    if not progress.ranges:
        return Leaf.OTHER_RANGES
    if not progress.layers:
        return Leaf.LAYERS_IN_FLOAT
    if progress.labelled and not progress.control:
        return Leaf.ACCURACY_CONTROL
    return Leaf.TRAINING if progress.training else Leaf.STAY_FLOAT
