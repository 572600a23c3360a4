"""Maps values to a share of the width, and says where an axis has its marks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

EDGE = 0.03
"""Of the width, left free on both sides for marks and labels at the ends."""
_RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.67, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 4, 5, 7, 10, 20, 50, 100, 1000)
_CLOSEST = 0.13
"""Of the width, between two marks: a label of five characters on a phone."""


@dataclass(frozen=True, slots=True)
class Scale:
    """From `low` to `high`, in equal steps or, where `ratios`, in equal factors.

    Example:
        >>> scale = Scale(0.0, 10.0)
        >>> scale.at(5.0), scale.at(99.0)
        (0.5, 0.97)
    """

    low: float
    high: float
    ratios: bool = False

    def at(self, value: float) -> float:
        """Returns where `value` lies, as a share of the width; what is beyond an end lies at that end."""
        low, high = self._to(self.low), self._to(self.high)
        share = (self._to(value) - low) / (high - low) if high > low else 0.5
        return EDGE + (1 - 2 * EDGE) * min(1.0, max(0.0, share))

    def holds(self, value: float) -> bool:
        """Whether `value` lies between the ends."""
        return self.low <= value <= self.high

    def marks(self) -> list[float]:
        """Returns round values that are not too close to each other."""
        if self.ratios:
            return self._ratio_marks()
        step = round_step((self.high - self.low) * _CLOSEST * 1.3)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]

    def _ratio_marks(self) -> list[float]:
        inside = [value for value in _RATIOS if self.holds(value)]
        # 1 first, as everything is compared with it, then the roundest.
        ranked = sorted(
            inside, key=lambda value: (value != 1, value not in (0.5, 2, 5, 0.1, 10, 100), abs(math.log(value)))
        )
        kept: list[float] = []
        for value in ranked:
            if all(abs(self.at(value) - self.at(other)) >= _CLOSEST for other in kept):
                kept.append(value)
        return sorted(kept)

    def _to(self, value: float) -> float:
        return math.log(max(value, 1e-12)) if self.ratios else value


def scale_of_ratios(values: Iterable[float]) -> Scale:
    """Returns a scale of ratios that shows 1 and `values`, at most a hundredfold either way."""
    inside = [min(100.0, max(0.01, value)) for value in values] + [1.0]
    low, high = min(inside), max(inside)
    room = (high / low) ** 0.05
    return Scale(min(low / room, 0.9), max(high * room, 1.15), ratios=True)


def scale_of(values: Sequence[float], *, from_zero: bool) -> Scale:
    """Returns a scale of equal steps that shows `values`, with some room; it begins at 0 where that is asked for."""
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    return Scale(0.0 if from_zero else low - room, high + room)


def round_step(least: float) -> float:
    """Returns 1, 2 or 5 times a power of ten, at least `least`.

    Example:
        >>> round_step(0.3), round_step(13)
        (0.5, 20.0)
    """
    power = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= least * (1 - 1e-9))
