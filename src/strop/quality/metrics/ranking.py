"""Predictions of classes, in whatever form they come, as a ranking; and labels as class numbers."""

from __future__ import annotations

import numpy as np

from strop.errors import DataError
from strop.quality.contract import Prediction
from strop.quality.metrics.base import unsuitable


def ranking(prediction: Prediction, name: str, *, count: int) -> list[int]:
    """Returns the best `count` classes: from a class, a ranking (integers, best first) or scores (floats)."""
    array = np.asarray(prediction)
    if array.dtype.kind in "iub" and array.ndim == 0:
        return [int(array)]
    array = array.squeeze() if array.ndim > 1 else array
    if array.dtype.kind in "iu" and array.ndim == 1:
        return [int(index) for index in array[:count]]
    if array.dtype.kind == "f" and array.ndim == 1 and array.size > 1:
        return [int(index) for index in np.argsort(-array.astype(np.float64), kind="stable")[:count]]
    raise unsuitable(
        name,
        "the prediction is no class",
        got=f"{array.dtype} {list(array.shape)}" if array.dtype.kind != "U" else repr(prediction)[:40],
        expected="a class number, a ranking, or one score per class",
        hint="decode with argmax or top5, or choose another metric",
    )


def class_number(target: object, name: str) -> int:
    """Returns a label as the number of its class."""
    array = np.asarray(target)
    if array.dtype.kind in "iub" and array.size == 1:
        return int(array.reshape(()))
    raise DataError(
        "data.labels",
        f"{name} needs the numbers of classes as labels",
        got=repr(target)[:60],
        expected="a whole number, 0 for the model's first output",
        hint="write the class's position in the model's output as label",
    )
