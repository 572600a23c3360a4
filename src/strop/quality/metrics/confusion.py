"""Counts of hits, misses and false alarms by class, per sample: what F1, precision and recall are made of."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from strop.quality.contract import Prediction
from strop.quality.metrics.base import unsuitable
from strop.quality.metrics.drawn import DrawnMetric, summed

POSITIVE = 1
"""The class that binary figures are about, as in scikit-learn (`pos_label=1`)."""


class ClassCounts(DrawnMetric):
    """Sums, over samples and the elements of each, what was right, said and true of every class.

    Binary figures are those of class 1; `macro` ones the plain mean over the classes that occur among targets or
    predictions. A ratio without denominator is 0, as scikit-learn's `zero_division=0`.
    """

    macro: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self._classes: dict[object, int] = {}
        self._samples: list[list[tuple[int, int, int, int]]] = []
        self._table: np.ndarray | None = None

    @abstractmethod
    def figure(self, right: np.ndarray, said: np.ndarray, true: np.ndarray) -> np.ndarray:
        """Returns the figure of each class, from how often it was said rightly, was said, and was true."""

    def add(self, prediction: Prediction, target: object) -> None:
        """Counts one sample: a class, or an array with one for each of its elements."""
        truth = _labels(target, self.name)
        answer: list[object] = [None] * len(truth) if prediction is None else _labels(prediction, self.name)
        if len(answer) != len(truth):
            raise unsuitable(
                self.name,
                "prediction and target have different numbers of elements",
                got=len(answer),
                expected=len(truth),
                hint="decode into one class a sample, or one for each element of the target",
            )
        if not self.macro:
            self._check_binary(truth, answer)
            # What is missing counts as the wrong one of the two.
            answer = [int(wanted == 0) if given is None else given for given, wanted in zip(answer, truth, strict=True)]
        found = []
        for given, wanted in zip(answer, truth, strict=True):
            if given == wanted:
                found.append((self._number(wanted), 1, 1, 1))
            else:
                found.append((self._number(wanted), 0, 0, 1))
                if given is not None:
                    found.append((self._number(given), 0, 1, 0))
        self._samples.append(found)
        self._table = None

    def value_of(self, indices: np.ndarray) -> float:
        """Returns the figure of class 1, or the mean over the classes that occur among `indices`."""
        right, said, true = summed(self._counts(), indices)
        figures = self.figure(right, said, true)
        if self.macro:
            return float(figures[(said + true) > 0].mean())
        number = self._classes.get(POSITIVE)
        return 0.0 if number is None else float(figures[number])

    def _counts(self) -> np.ndarray:
        """Returns [samples, 3, classes]: said rightly, said, true."""
        if self._table is None:
            self._table = np.zeros((len(self._samples), 3, len(self._classes)))
            for index, found in enumerate(self._samples):
                for number, *counts in found:
                    self._table[index, :, number] += counts
        return self._table

    def _number(self, label: object) -> int:
        return self._classes.setdefault(label, len(self._classes))

    def _check_binary(self, truth: list[object], answer: list[object]) -> None:
        for label in (*truth, *answer):
            if label is not None and label not in (0, 1):
                raise unsuitable(
                    self.name,
                    "there are more classes than yes and no",
                    got=repr(label)[:40],
                    expected="0 or 1 (1 is what is looked for)",
                    hint=f"use {self.name}_macro for several classes, or --decode threshold for one score",
                )


def ratio_or_zero(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Returns the ratio, 0 where the denominator is."""
    result: np.ndarray = np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator > 0)
    return result


def _labels(value: object, name: str) -> list[object]:
    array = np.asarray(value)
    if array.dtype.kind not in "iubUS":
        raise unsuitable(
            name,
            "prediction or target is no class",
            got=f"{array.dtype} {list(array.shape)}",
            expected="a class, or an array of classes",
            hint="decode with argmax or threshold",
        )
    found: list[object] = array.reshape(-1).tolist()
    return [int(label) if isinstance(label, bool) else label for label in found]
