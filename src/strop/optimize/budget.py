"""The wall time a run may take, with the confirmation's share reserved from the start."""

from __future__ import annotations

import re

from strop.errors import UsageError
from strop.measure.clock import SYSTEM, Clock

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
CONFIRMATION_SHARE = 0.35
"""Of the whole budget. The confirmation repeats the race and the evaluation on more samples than the search used."""
OVERRUN_SHARE = 0.1
LEAST_PATIENCE = 1.0


class Budget:
    """Counts down from the start of the command; without a limit, what is left is infinite.

    seconds: the limit, None for none; started: when the command began, on `clock`.
    """

    def __init__(self, seconds: float | None, *, started: float | None = None, clock: Clock = SYSTEM):
        self.seconds, self._clock = seconds, clock
        self.started = clock.now() if started is None else started
        self._least_reserved = 0.0

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
        return 0.0 if self.seconds is None else max(CONFIRMATION_SHARE * self.seconds, self._least_reserved)

    @property
    def for_search(self) -> float:
        """Seconds left before the confirmation must begin."""
        return self.remaining - self.reserved

    def reserve(self, seconds: float) -> None:
        """Gives the confirmation at least so many seconds, where its share is less."""
        self._least_reserved = max(self._least_reserved, seconds)

    def search_patience(self) -> float:
        """Returns the seconds that the search may wait for an answer."""
        return max(LEAST_PATIENCE, self.for_search)

    def patience(self) -> float:
        """Returns the seconds that anything may wait for an answer, the overrun allowed to a budget included."""
        return max(LEAST_PATIENCE, self.remaining + OVERRUN_SHARE * (self.seconds or 0.0))


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
