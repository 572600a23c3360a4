"""What the correlations share: one number a sample, on each side."""

from __future__ import annotations

import math

import numpy as np

from strop.errors import DataError
from strop.quality.contract import Prediction
from strop.quality.metrics.base import unsuitable
from strop.quality.metrics.drawn import DrawnMetric
from strop.quality.metrics.numbers import as_numbers


class Correlation(DrawnMetric):
    """Keeps pairs of numbers.

    A sample without prediction counts as the worst one that was given: the smallest where the target lies above the
    targets' mean, the largest where it lies below. Answers that are all alike say nothing: 0 (where scipy gives NaN).
    """

    def __init__(self) -> None:
        super().__init__()
        self._answers: list[float] = []
        self._truths: list[float] = []

    def add(self, prediction: Prediction, target: object) -> None:
        """Keeps one pair."""
        answer, truth = as_numbers(target if prediction is None else prediction, target, self.name)
        if truth.size != 1:
            raise unsuitable(
                self.name,
                "it takes one number a sample",
                got=f"{truth.size} numbers",
                expected="1",
                hint="decode into a single number, or use mse, mae or cosine",
            )
        self._answers.append(math.nan if prediction is None else float(answer[0]))
        self._truths.append(float(truth[0]))

    def value(self) -> float:
        """Returns the correlation over all samples; raises DataError where the targets are all alike."""
        if len(set(self._truths)) < 2:
            raise DataError(
                "quality.metric",
                f"{self.name} is not defined: the targets are all alike",
                got=f"{len(self._truths)} samples",
                hint="give samples with different targets",
            )
        return super().value()

    def value_of(self, indices: np.ndarray) -> float:
        """Returns the correlation over the samples `indices`."""
        answers, truths = np.asarray(self._answers)[indices], np.asarray(self._truths)[indices]
        missing = ~np.isfinite(answers)
        if missing.all():
            return -1.0
        if missing.any():
            least, most = answers[~missing].min(), answers[~missing].max()
            answers = np.where(missing, np.where(truths >= truths.mean(), least, most), answers)
        return self.of(answers, truths)

    def of(self, answers: np.ndarray, truths: np.ndarray) -> float:
        """Returns the correlation of two arrays of finite numbers."""
        return product_moment(answers, truths)


def product_moment(first: np.ndarray, second: np.ndarray) -> float:
    """Returns sum((x - mean)(y - mean)) / sqrt(sum((x - mean)^2) sum((y - mean)^2)); 0 where one does not vary."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    x, y = first - first.mean(), second - second.mean()
    x, y = x / np.abs(x).max(), y / np.abs(y).max()  # so that no square underflows
    return float(np.clip(x @ y / math.sqrt(float(x @ x) * float(y @ y)), -1.0, 1.0))
