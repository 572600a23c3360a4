"""The mean absolute error, averaged within a sample, then over samples: `mae`. Lower is better."""

from __future__ import annotations

import math

import numpy as np

from strop.quality.contract import Prediction
from strop.quality.metrics.base import RowMetric
from strop.quality.metrics.numbers import as_numbers


class Mae(RowMetric):
    """Averages |prediction - target|; a sample without prediction makes it infinite."""

    name = "mae"
    higher_is_better = False
    is_fraction = False

    def row(self, prediction: Prediction, target: object) -> tuple[float, float]:
        """Returns (mean absolute error, 1)."""
        answer, truth = as_numbers(prediction, target, self.name)
        return float(np.mean(np.abs(answer - truth))), 1.0

    def worst(self, target: object) -> tuple[float, float]:
        """Returns an infinite error."""
        return math.inf, 1.0
