"""F1, the harmonic mean of precision and recall: `f1` of class 1, `f1_macro` over classes. As scikit-learn's."""

from __future__ import annotations

import numpy as np

from strop.quality.metrics.confusion import ClassCounts, ratio_or_zero


class F1(ClassCounts):
    """2 TP / (2 TP + FP + FN) of class 1."""

    name = "f1"

    def figure(self, right: np.ndarray, said: np.ndarray, true: np.ndarray) -> np.ndarray:
        """Returns F1 of each class: said + true is 2 TP + FP + FN."""
        return ratio_or_zero(2 * right, said + true)


class F1Macro(F1):
    """The mean of each class's F1."""

    name = "f1_macro"
    macro = True
