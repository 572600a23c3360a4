"""Reads how much a candidate may lose: `1%` or `0.01`."""

from __future__ import annotations

from strop.errors import UsageError


def parse_drop(text: str | float, *, is_fraction: bool, relative: bool = False) -> float:
    """Returns the limit that `text` states, in the metric's unit, or as a share of the baseline where `relative`.

    `1%` of a metric that is a fraction means 0.01 of it, absolute; of any other metric a percentage means nothing
    unless it is relative.

    Example:
        >>> parse_drop("1%", is_fraction=True)
        0.01
    """
    written = str(text).strip()
    percent = written.endswith("%")
    try:
        value = float(written.rstrip("%"))
    except ValueError:
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise UsageError(
            "usage.bad-option", "not a limit for a drop", got=text, expected="1% or 0.01", hint="--max-drop 1%"
        )
    if percent and not relative and not is_fraction:
        raise UsageError(
            "usage.bad-option",
            "a percentage of a metric that is not a fraction is ambiguous",
            got=text,
            expected="a number in the metric's unit",
            hint="give the limit as a number, or add --relative for a share of the baseline",
        )
    return value / 100 if percent else value
