"""Predictions and targets that are numbers, as flat float64 arrays of the same length."""

from __future__ import annotations

import numpy as np

from strop.quality.contract import Prediction
from strop.quality.metrics.base import unsuitable


def as_numbers(prediction: Prediction, target: object, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns both flat; their shapes must agree, axes of 1 aside. Text that states a number is one."""
    try:
        answer, truth = np.asarray(prediction).squeeze().astype(float), np.asarray(target).squeeze().astype(float)
    except (ValueError, TypeError):
        answer, truth = np.empty(0), np.empty((1, 0))
    if answer.shape != truth.shape:
        raise unsuitable(
            name,
            "prediction and target are not numbers of the same shape",
            got=_described(prediction),
            expected=_described(target),
            hint="decode with identity, or with file.py:function into the target's form",
        )
    return answer.reshape(-1), truth.reshape(-1)


def _described(value: object) -> str:
    array = np.asarray(value)
    return repr(value)[:40] if array.dtype.kind in "UO" else f"{array.dtype} {list(array.shape)}"
