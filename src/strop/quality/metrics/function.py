"""A user's metric, `file.py:function`: any function of (predictions, targets) that returns a number.

It sees lists over all samples, so it has no rows; intervals come from calling it on samples drawn with repetition. The
function may carry the attributes `higher_is_better` (default True) and `is_fraction` (default False).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from strop.errors import DataError
from strop.quality.contract import Prediction
from strop.quality.plugin import running


class FunctionMetric:
    """Keeps predictions and targets, and calls the function on them."""

    def __init__(
        self,
        function: Callable[[list[object], list[object]], float],
        name: str,
        *,
        higher_is_better: bool | None = None,
        is_fraction: bool | None = None,
    ):
        self.name = name
        self.higher_is_better = (
            bool(getattr(function, "higher_is_better", True)) if higher_is_better is None else higher_is_better
        )
        self.is_fraction = bool(getattr(function, "is_fraction", False)) if is_fraction is None else is_fraction
        self._function = function
        self._predictions: list[Prediction] = []
        self._targets: list[object] = []

    def update(self, prediction: Prediction, target: object) -> None:
        """Adds one sample; the function sees None where there is no prediction."""
        self._predictions.append(prediction)
        self._targets.append(target)

    def value(self) -> float:
        """Returns the function's value over all samples so far."""
        return self._call(self._predictions, self._targets)

    def per_sample(self) -> None:
        """Returns None: the function need not be a ratio of sums."""

    def value_of(self, indices: np.ndarray) -> float:
        """Returns the function's value over the samples `indices`."""
        return self._call([self._predictions[i] for i in indices], [self._targets[i] for i in indices])

    def _call(self, predictions: list[object], targets: list[object]) -> float:
        with running(self.name):
            value = self._function(predictions, targets)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise DataError(
                "quality.metric",
                "the metric's function returned no number",
                where=self.name,
                got=type(value).__name__,
                hint="return a float",
            ) from None
