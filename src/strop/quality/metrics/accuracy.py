"""The share of predictions that equal their target: `accuracy`.

For one answer per sample (a class, a text, yes or no) it is the share of samples; for arrays (a class per pixel,
several yes or no) the share of elements over all samples.
"""

from __future__ import annotations

import numpy as np

from strop.quality.contract import Prediction
from strop.quality.metrics.base import RowMetric, unsuitable


class Accuracy(RowMetric):
    """Counts equal elements."""

    name = "accuracy"

    def row(self, prediction: Prediction, target: object) -> tuple[float, float]:
        """Returns (equal elements, elements)."""
        if isinstance(prediction, str) or isinstance(target, str):
            return float(str(prediction) == str(target)), 1.0
        answer, truth = np.asarray(prediction).squeeze(), np.asarray(target).squeeze()
        if answer.shape != truth.shape or "f" in (answer.dtype.kind, truth.dtype.kind):
            raise unsuitable(
                self.name,
                "prediction and target cannot be compared one to one",
                got=f"{answer.dtype} {list(answer.shape)}",
                expected=f"{truth.dtype} {list(truth.shape)}, and no floats",
                hint="decode with argmax or threshold; mse is for numbers",
            )
        return float(np.count_nonzero(answer == truth)), float(truth.size)

    def worst(self, target: object) -> tuple[float, float]:
        """Returns no element right."""
        return 0.0, 1.0 if isinstance(target, str) else float(np.asarray(target).size)
