"""The cosine of the angle between prediction and target, averaged over samples: `cosine`. 1 is the best."""

from __future__ import annotations

import numpy as np

from strop.quality.contract import Prediction
from strop.quality.metrics.base import RowMetric
from strop.quality.metrics.numbers import as_numbers


class Cosine(RowMetric):
    """Averages p.t / (|p| |t|) over samples; 1 where both are zero, 0 where one is, -1 without prediction."""

    name = "cosine"

    def row(self, prediction: Prediction, target: object) -> tuple[float, float]:
        """Returns (cosine, 1)."""
        answer, truth = as_numbers(prediction, target, self.name)
        lengths = float(np.linalg.norm(answer) * np.linalg.norm(truth))
        if lengths == 0:
            return float(not answer.any() and not truth.any()), 1.0
        return float(answer @ truth) / lengths, 1.0

    def worst(self, target: object) -> tuple[float, float]:
        """Returns the opposite direction."""
        return -1.0, 1.0
