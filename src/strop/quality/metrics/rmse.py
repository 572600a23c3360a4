"""The root of the mean squared error over samples: `rmse`. Lower is better; in the unit of the labels."""

from __future__ import annotations

import math

import numpy as np

from strop.quality.contract import Prediction
from strop.quality.metrics.drawn import DrawnMetric
from strop.quality.metrics.numbers import as_numbers


class Rmse(DrawnMetric):
    """sqrt(mean over samples of the mean of (prediction - target)^2); infinite where a prediction is missing."""

    name = "rmse"
    higher_is_better = False
    is_fraction = False

    def __init__(self) -> None:
        super().__init__()
        self._squares: list[float] = []

    def add(self, prediction: Prediction, target: object) -> None:
        """Keeps the sample's mean squared error."""
        if prediction is None:
            self._squares.append(math.inf)
            return
        answer, truth = as_numbers(prediction, target, self.name)
        self._squares.append(float(np.mean((answer - truth) ** 2)))

    def value_of(self, indices: np.ndarray) -> float:
        """Returns the root over the samples `indices`."""
        return math.sqrt(float(np.asarray(self._squares)[indices].mean()))
