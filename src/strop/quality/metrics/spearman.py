"""Spearman's correlation: Pearson's of the ranks, ties sharing their mean: `spearman`. As scipy.stats.spearmanr."""

from __future__ import annotations

import numpy as np

from strop.quality.metrics.correlation import Correlation, product_moment


class Spearman(Correlation):
    """The rank correlation."""

    name = "spearman"

    def of(self, answers: np.ndarray, truths: np.ndarray) -> float:
        """Returns the correlation of the ranks."""
        return product_moment(mean_ranks(answers), mean_ranks(truths))


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """Returns ranks from 1 on; equal values share the mean of theirs.

    Example:
        >>> mean_ranks(np.array([10.0, 20.0, 10.0, 30.0])).tolist()
        [1.5, 3.0, 1.5, 4.0]
    """
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: np.ndarray = (last - (counts - 1) / 2)[places.reshape(-1)]
    return ranks
