"""Reads figures and words out of a study's JSON, whose shape nobody vouches for: what is not there or odd is None.

A study is a file that may come from anywhere, from an older Strop, or from a run that was cut short.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LONGEST = 4000
"""Of a text, in characters: what is longer is no name and no reason."""
_EMPTY: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value with its interval; `n` and `level` are None where the study does not say them."""

    point: float
    low: float
    high: float
    level: float | None = None
    n: int | None = None
    statistic: str = ""
    verdict: str = ""

    def scaled(self, factor: float) -> Figure:
        """Returns the figure in another unit: each value times `factor` (> 0)."""
        low, point, high = (value * factor for value in (self.low, self.point, self.high))
        return Figure(point, low, high, self.level, self.n, self.statistic, self.verdict)

    def inverse(self) -> Figure:
        """Returns 1 over the figure, as seconds per inference become inferences per second."""
        return Figure(1 / self.point, 1 / self.high, 1 / self.low, self.level, self.n, self.statistic, self.verdict)


def number(value: object) -> float | None:
    """Returns a finite number, None for anything else.

    Example:
        >>> number(2), number(True), number(float("nan")), number("2")
        (2.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) and abs(found) < 1e100 else None


def positive(value: object) -> float | None:
    """Returns a finite number above 0, None for anything else."""
    found = number(value)
    return found if found is not None and found > 0 else None


def count(value: object) -> int | None:
    """Returns a whole number from 0 on, None for anything else."""
    found = number(value)
    return int(found) if found is not None and found >= 0 and found == int(found) else None


def figure(value: object) -> Figure | None:
    """Returns the estimate or speed-up that `to_json` wrote; None where it is none, or its ends are in disorder.

    Example:
        >>> figure({"point": 1.2, "low": 1.1, "high": 1.3, "n": 40}).n
        40
        >>> figure({"point": 1.2}) is None
        True
    """
    held = mapping(value)
    point, low, high = (number(held.get(name)) for name in ("point", "low", "high"))
    if point is None or low is None or high is None or not low <= point <= high:
        return None
    return Figure(
        point,
        low,
        high,
        number(held.get("level")),
        count(held.get("n")),
        words(held.get("statistic")),
        words(held.get("verdict")),
    )


def positive_figure(value: object) -> Figure | None:
    """Returns a figure that lies above 0 altogether: a time, a rate, a ratio."""
    found = figure(value)
    return found if found is not None and found.low > 0 else None


def mapping(value: object) -> Mapping[str, Any]:
    """Returns a JSON object, an empty one for anything else."""
    return value if isinstance(value, Mapping) else _EMPTY


def rows(value: object) -> list[Mapping[str, Any]]:
    """Returns the objects of a JSON list, an empty list for anything else."""
    return [row for row in items(value) if isinstance(row, Mapping)]


def items(value: object) -> Sequence[Any]:
    """Returns a JSON list, an empty one for anything else."""
    return value if isinstance(value, (list, tuple)) else ()


def words(value: object) -> str:
    """Returns text on one line, numbers as text, nothing for anything else.

    Example:
        >>> words("two\\nlines"), words(3), words(None), words({})
        ('two lines', '3', '', '')
    """
    if isinstance(value, str):
        text = " ".join(verbatim(value).split())
        return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:g}"
    return ""


def verbatim(value: object) -> str:
    """Returns text as it is, a command to copy say; nothing for anything else.

    Example:
        >>> verbatim("strop explain 'two  spaces.onnx'"), verbatim(3)
        ("strop explain 'two  spaces.onnx'", '')
    """
    # What is no character (a lone surrogate) cannot be written as UTF-8.
    return value.encode("utf8", "replace").decode("utf8") if isinstance(value, str) else ""
