"""The wall time a run may take, with the confirmation's share reserved from the start."""

from __future__ import annotations

import re

from strop.errors import UsageError
from strop.measure.clock import SYSTEM, Clock

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
CONFIRMATION_SHARE = 0.35
"""Of the whole budget. The confirmation repeats the race and the evaluation on more samples than the search used."""


class Budget:
    """Counts down from the start of the command; without a limit, what is left is infinite.

    seconds: the limit, None for none; started: when the command began, on `clock`.
    """

    def __init__(self, seconds: float | None, *, started: float | None = None, clock: Clock = SYSTEM):
        self.seconds, self._clock = seconds, clock
        self.started = clock.now() if started is None else started

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock.now() - self.started

    @property
    def remaining(self) -> float:
        """Seconds left of the whole."""
        return float("inf") if self.seconds is None else self.seconds - self.elapsed

    @property
    def reserved(self) -> float:
        """Seconds of the whole that the confirmation owns."""
        return 0.0 if self.seconds is None else CONFIRMATION_SHARE * self.seconds

    @property
    def for_search(self) -> float:
        """Seconds left before the confirmation must begin."""
        return self.remaining - self.reserved


def parse_seconds(text: str) -> float:
    """Returns seconds from `90s`, `3m`, `1h` or a bare number.

    Example:
        >>> parse_seconds("3m")
        180.0
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text.lower())
    if not match or float(match[1]) <= 0:
        raise UsageError(
            "usage.bad-option", "not a length of time", got=text, expected="90s, 3m or 1h", hint="--budget 3m"
        )
    return float(match[1]) * _UNITS[match[2]]
