"""How much of what was said is true: `precision` of class 1, `precision_macro` over classes. As scikit-learn's."""

from __future__ import annotations

import numpy as np

from strop.quality.metrics.confusion import ClassCounts, ratio_or_zero


class Precision(ClassCounts):
    """TP / (TP + FP) of class 1; 0 where it was never said."""

    name = "precision"

    def figure(self, right: np.ndarray, said: np.ndarray, true: np.ndarray) -> np.ndarray:
        """Returns the precision of each class."""
        return ratio_or_zero(right, said)


class PrecisionMacro(Precision):
    """The mean of each class's precision."""

    name = "precision_macro"
    macro = True
