"""Right or wrong, sample by sample: by the metric's own share where it has one, else by whether the class is met."""

from __future__ import annotations

import numpy as np

from strop.quality.evaluate import Evaluation


def losses(a: Evaluation, b: Evaluation) -> np.ndarray:
    """Returns how much worse b is than a on each sample, [n]; 0 where that cannot be said of single samples."""
    if a.rows is not None and b.rows is not None:
        sign = -1.0 if a.metric.higher_is_better else 1.0
        with np.errstate(invalid="ignore"):
            lost: np.ndarray = np.nan_to_num(sign * (b.rows[:, 0] - a.rows[:, 0]))
        return lost
    before, after = hits(a), hits(b)
    return np.zeros(a.n) if before is None or after is None else before - after


def hits(found: Evaluation) -> np.ndarray | None:
    """Returns 1 where the prediction is the target and 0 elsewhere, None where those are no classes."""
    if found.rows is not None:
        return found.rows[:, 0] if are_hits(found.rows) else None
    known = [prediction for prediction in found.predictions if prediction is not None]
    if not are_classes(found.targets) or not are_classes(known):
        return None
    return np.array([float(p == t) for p, t in zip(found.predictions, found.targets, strict=True)])


def are_hits(rows: np.ndarray) -> bool:
    """Whether rows [n, 2] say yes or no of single samples."""
    return bool(np.all(rows[:, 1] == 1) and np.all((rows[:, 0] == 0) | (rows[:, 0] == 1)))


def are_classes(values: object) -> bool:
    """Whether values are whole numbers or words: what can be right or wrong."""
    return isinstance(values, (tuple, list)) and all(isinstance(value, (int, str)) for value in values)
