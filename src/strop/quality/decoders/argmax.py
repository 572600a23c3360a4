"""The class with the highest score: `argmax`, or `argmax:axis=1` where there is one class per position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from strop.errors import DataError
from strop.quality.contract import Outputs
from strop.quality.decoders.scores import class_scores, first_output


@dataclass(frozen=True, slots=True)
class Argmax:
    """Gives the class as int; with `axis`, an integer array of classes without that axis and without axes of 1.

    Ties go to the class with the lower number.
    """

    axis: int | None = None

    def __call__(self, outputs: Outputs, inputs: Mapping[str, np.ndarray]) -> int | np.ndarray | None:
        """Returns the prediction for one sample."""
        array = first_output(outputs)
        if array is None:
            return None
        if self.axis is not None:
            return self._per_position(array, self.axis)
        scores = class_scores(array)
        if scores is None:
            raise DataError(
                "quality.decode",
                "the first output is no list of class scores",
                got=list(array.shape),
                expected="[1, classes]",
                hint="name the axis that holds the classes (--decode argmax:axis=1), or use another decoder",
            )
        return int(np.argmax(scores))

    def _per_position(self, array: np.ndarray, axis: int) -> np.ndarray:
        if not -array.ndim <= axis < array.ndim:
            raise DataError(
                "quality.decode",
                f"the first output has no axis {axis}",
                got=list(array.shape),
                hint="count axes from 0, the batch axis included",
            )
        classes: np.ndarray = np.argmax(array, axis=axis)
        return classes.squeeze().astype(np.int32)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Gives the `count` classes with the highest scores, best first, as an integer array."""

    count: int = 5

    def __call__(self, outputs: Outputs, inputs: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Returns the prediction for one sample."""
        array = first_output(outputs)
        if array is None:
            return None
        scores = class_scores(array)
        if scores is None:
            raise DataError(
                "quality.decode",
                "the first output is no list of class scores",
                got=list(array.shape),
                expected="[1, classes]",
                hint="use another decoder, such as file.py:function",
            )
        return np.argsort(-scores.astype(np.float64), kind="stable")[: self.count].astype(np.int32)
