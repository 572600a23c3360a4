"""How much of what is true was said: `recall` of class 1, `recall_macro` over classes. As scikit-learn's."""

from __future__ import annotations

import numpy as np

from strop.quality.metrics.confusion import ClassCounts, ratio_or_zero


class Recall(ClassCounts):
    """TP / (TP + FN) of class 1; 0 where it never occurs."""

    name = "recall"

    def figure(self, right: np.ndarray, said: np.ndarray, true: np.ndarray) -> np.ndarray:
        """Returns the recall of each class."""
        return ratio_or_zero(right, true)


class RecallMacro(Recall):
    """The mean of each class's recall: balanced accuracy."""

    name = "recall_macro"
    macro = True
