"""What metrics share that are no ratio of sums: per-sample statistics, and the value over any samples drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from strop.errors import DataError
from strop.quality.contract import Prediction


class DrawnMetric(ABC):
    """A metric of all samples together; its interval and its paired differences come from a bootstrap over samples."""

    name: ClassVar[str]
    higher_is_better: ClassVar[bool] = True
    is_fraction: ClassVar[bool] = True
    is_cheap: ClassVar[bool] = True
    """Whether a bootstrap takes so little that it may be repeated while samples come in."""

    def __init__(self) -> None:
        self._count = 0

    @abstractmethod
    def add(self, prediction: Prediction, target: object) -> None:
        """Keeps what the value needs of one sample; a prediction of None counts as the worst there is."""

    @abstractmethod
    def value_of(self, indices: np.ndarray) -> float:
        """Returns the metric over the samples `indices`, which may repeat."""

    def update(self, prediction: Prediction, target: object) -> None:
        """Adds one sample."""
        self.add(prediction, target)
        self._count += 1

    def value(self) -> float:
        """Returns the metric over all samples so far."""
        if not self._count:
            raise DataError("data.empty", f"{self.name} of no samples", hint="give at least one sample")
        return self.value_of(np.arange(self._count))

    def per_sample(self) -> np.ndarray | None:
        """Returns None: a sample has no share of its own in the value."""
        return None


def summed(table: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Returns table[indices].sum(axis=0) without the copy: each sample counts as often as it was drawn.

    Example:
        >>> summed(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1, 1, 0])).tolist()
        [7.0, 10.0]
    """
    times = np.bincount(indices, minlength=len(table)).astype(np.float64)
    total: np.ndarray = np.tensordot(times, table, axes=1)
    return total
