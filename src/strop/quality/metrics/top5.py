"""The share of samples whose label is among the five best classes: `top5`."""

from __future__ import annotations

from strop.quality.contract import Prediction
from strop.quality.metrics.base import RowMetric, unsuitable
from strop.quality.metrics.ranking import class_number, ranking


class Top5(RowMetric):
    """Counts a sample as 1 where its label is among the first five of its ranking."""

    name = "top5"

    def row(self, prediction: Prediction, target: object) -> tuple[float, float]:
        """Returns (hit, 1)."""
        best = ranking(prediction, self.name, count=5)
        if len(best) < 2:
            raise unsuitable(
                self.name,
                "the prediction is a single class, not a ranking",
                got=best[0],
                expected="five classes, best first, or one score per class",
                hint="decode with top5",
            )
        return float(class_number(target, self.name) in best), 1.0
