"""The share of samples whose best class is the label: `top1`."""

from __future__ import annotations

from strop.quality.contract import Prediction
from strop.quality.metrics.base import RowMetric
from strop.quality.metrics.ranking import class_number, ranking


class Top1(RowMetric):
    """Counts a sample as 1 where the first of its ranking is the label."""

    name = "top1"

    def row(self, prediction: Prediction, target: object) -> tuple[float, float]:
        """Returns (hit, 1)."""
        return float(ranking(prediction, self.name, count=1)[0] == class_number(target, self.name)), 1.0
