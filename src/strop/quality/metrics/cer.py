"""The character error rate: edits over characters of the target, `cer`. Lower is better; it can exceed 1.

Texts are compared as they are: case, spaces and Unicode form count.
"""

from __future__ import annotations

from collections.abc import Sequence

from strop.quality.contract import Prediction
from strop.quality.metrics.base import RowMetric, unsuitable
from strop.quality.metrics.edit_distance import edit_distance


class Cer(RowMetric):
    """Sums edits and the targets' characters."""

    name = "cer"
    higher_is_better = False

    def units(self, text: str) -> Sequence[str]:
        """Returns what edits are counted in: characters."""
        return text

    def row(self, prediction: Prediction, target: object) -> tuple[float, float]:
        """Returns (edits, characters of the target)."""
        if not isinstance(prediction, str):
            raise unsuitable(
                self.name,
                "the prediction is no text",
                got=type(prediction).__name__,
                expected="text",
                hint="decode with ctc:dictionary.txt, ctc:metadata or file.py:function",
            )
        truth = self.units(str(target))
        return float(edit_distance(self.units(prediction), truth)), float(len(truth))

    def worst(self, target: object) -> tuple[float, float]:
        """Returns as many edits as the target has characters, at least one."""
        length = len(self.units(str(target)))
        return float(max(length, 1)), float(length)
