"""How a metric's values are written: as percent where the metric is a fraction, in its own unit elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from strop.quality.metrics.registry import METRICS
from strop.report.phrases import NARROW, percent, signed, significant
from strop.report.reading import Figure, mapping, words


@dataclass(frozen=True, slots=True)
class MetricWords:
    """A metric's name and how its values are written.

    Example:
        >>> MetricWords("cer", is_fraction=True, higher_is_better=False).difference(0.0055)
        '+0.55 points'
    """

    name: str
    is_fraction: bool
    higher_is_better: bool

    def value(self, value: float) -> str:
        """Returns a value of the metric."""
        return percent(value, 2) if self.is_fraction else significant(value, 4)

    def size(self, value: float) -> str:
        """Returns a difference without its sign."""
        if not self.is_fraction:
            return significant(abs(value))
        points = f"{100 * abs(value):.2f}".rstrip("0").rstrip(".")
        return f"{points} point{'' if points == '1' else 's'}"

    def at_most(self, value: float) -> str:
        """Returns an upper bound of a loss without its sign, rounded up: a bound must not look better than it is."""
        return self.size(math.ceil(max(0.0, value) * 1e4 - 1e-6) / 1e4 if self.is_fraction else max(0.0, value))

    def difference(self, value: float) -> str:
        """Returns a difference with its sign."""
        return f"{signed(100 * value)} points" if self.is_fraction else signed(value, 4)

    def interval(self, figure: Figure) -> str:
        """Returns the ends of an interval."""
        low, high = self.value(figure.low), self.value(figure.high)
        return f"{low.removesuffix(f'{NARROW}%')} to {high}" if self.is_fraction else f"{low} to {high}"


def metric_words(accuracy: Mapping[str, Any]) -> MetricWords:
    """Returns how the metric of `confirmation.accuracy` is written; one we do not know is taken as a plain number."""
    name = words(accuracy.get("metric")) or "the metric"
    known = METRICS.get(name)
    before = mapping(accuracy.get("before"))
    higher, fraction = before.get("higher_is_better"), before.get("is_fraction")
    return MetricWords(
        name,
        is_fraction=fraction if isinstance(fraction, bool) else known.is_fraction if known else False,
        higher_is_better=higher if isinstance(higher, bool) else known.higher_is_better if known else True,
    )
