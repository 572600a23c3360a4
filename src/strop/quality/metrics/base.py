"""What metrics share: a row (numerator, denominator) per sample, and the value as a ratio of sums."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from strop.errors import DataError
from strop.quality.contract import Prediction


class RowMetric(ABC):
    """A metric that is a ratio of sums over samples; a subclass says what one sample gives."""

    name: ClassVar[str]
    higher_is_better: ClassVar[bool] = True
    is_fraction: ClassVar[bool] = True

    def __init__(self) -> None:
        self._rows: list[tuple[float, float]] = []

    @abstractmethod
    def row(self, prediction: Prediction, target: object) -> tuple[float, float]:
        """Returns numerator and denominator of one sample; `prediction` is not None."""

    def worst(self, target: object) -> tuple[float, float]:
        """Returns the row of a sample without prediction."""
        return 0.0, 1.0

    def update(self, prediction: Prediction, target: object) -> None:
        """Adds one sample."""
        self._rows.append(self.worst(target) if prediction is None else self.row(prediction, target))

    def value(self) -> float:
        """Returns the ratio of the sums over all samples so far."""
        return ratio(self.per_sample(), self.name)

    def per_sample(self) -> np.ndarray:
        """Returns the rows, float64 [n, 2]."""
        return np.array(self._rows, dtype=np.float64).reshape(-1, 2)

    def value_of(self, indices: np.ndarray) -> float:
        """Returns the ratio of the sums over the samples `indices`."""
        return ratio(self.per_sample()[indices], self.name)


def ratio(rows: np.ndarray, name: str) -> float:
    """Returns sum(numerator) / sum(denominator)."""
    numerator, denominator = rows.sum(axis=0)
    if not denominator > 0:
        raise DataError(
            "quality.metric",
            f"{name} is not defined: there is nothing to count",
            got=f"{len(rows)} samples",
            hint="give samples whose targets are not empty",
        )
    return float(numerator / denominator)


def unsuitable(name: str, what: str, *, got: object, expected: object, hint: str) -> DataError:
    """Returns the error for a prediction or target that a metric cannot use."""
    return DataError("quality.metric", f"{name}: {what}", got=got, expected=expected, hint=hint)
