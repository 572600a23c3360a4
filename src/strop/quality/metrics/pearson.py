"""Pearson's correlation of predictions and targets, one number each a sample: `pearson`. As scipy.stats.pearsonr."""

from __future__ import annotations

from strop.quality.metrics.correlation import Correlation


class Pearson(Correlation):
    """The product-moment correlation."""

    name = "pearson"
