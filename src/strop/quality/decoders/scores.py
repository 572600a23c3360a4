"""What every built-in decoder reads: the model's first output."""

from __future__ import annotations

import numpy as np

from strop.errors import DataError
from strop.quality.contract import Outputs


def first_output(outputs: Outputs) -> np.ndarray | None:
    """Returns the first output, or None where it holds NaN."""
    if not outputs:
        raise DataError("quality.decode", "the model gave no outputs", hint="check the model with strop inspect")
    array = np.asarray(next(iter(outputs.values())))
    return None if array.dtype.kind in "fc" and bool(np.isnan(array).any()) else array


def class_scores(array: np.ndarray) -> np.ndarray | None:
    """Returns an output as one score per class, [1, n] or [1, n, 1, 1] -> [n]; None where it has no such form."""
    flat = array.reshape(-1)
    return flat if flat.size > 1 and flat.size == max(array.shape) else None


def top_share(outputs: Outputs) -> float | None:
    """Returns the best class's probability: of scores that are probabilities as it is, else after a softmax."""
    array = first_output(outputs)
    scores = None if array is None else class_scores(array)
    if scores is None or scores.dtype.kind not in "fiu":
        return None
    values = scores.astype(np.float64)
    if not np.isfinite(values).all():
        return None
    if values.min() >= 0 and abs(values.sum() - 1) < 0.01:
        return float(values.max())
    return float(1 / np.exp(values - values.max()).sum())
