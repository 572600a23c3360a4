"""What is still to come of a run, in seconds: forecast at first, corrected by what its parts turn out to take."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Part:
    """Equal pieces of work: how many are left, what one is expected to take, what those done have taken."""

    left: int
    seconds: float
    taken: list[float] = field(default_factory=list)

    @property
    def each(self) -> float:
        """What a piece takes: the expectation counts as much as one that is done."""
        return (self.seconds + sum(self.taken)) / (1 + len(self.taken))


class Schedule:
    """The parts of one run. now: seconds on any clock.

    Example:
        >>> time = iter([0.0, 4.0]).__next__
        >>> schedule = Schedule(time, {"trials": Part(3, 2.0)})
        >>> with schedule.working("trials"):
        ...     pass
        >>> schedule.remaining()
        6.0
    """

    def __init__(self, now: Callable[[], float], parts: Mapping[str, Part] | None = None):
        self.parts = dict(parts or {})
        self._now = now
        self._current: tuple[str, float] | None = None

    def expect(self, name: str, left: int, seconds: float) -> None:
        """Sets how many pieces of a part are to come, and what one is expected to take."""
        self.parts[name] = Part(left, seconds, self.parts[name].taken if name in self.parts else [])

    def skip(self, name: str, count: int | None = 1) -> None:
        """Leaves out pieces of a part, by default one; None all that are left."""
        if name in self.parts:
            part = self.parts[name]
            part.left = 0 if count is None else max(0, part.left - count)

    @contextmanager
    def working(self, name: str) -> Iterator[None]:
        """Counts what the body takes as one piece of a part."""
        began = self._now()
        part = self.parts.setdefault(name, Part(1, 0.0))
        part.left = max(0, part.left - 1)
        self._current = (name, began)
        try:
            yield
        finally:
            self._current = None
            part.taken.append(self._now() - began)

    def remaining(self, names: Collection[str] | None = None, *, within: float = math.inf) -> float:
        """Returns the seconds that what is left will take, of all parts (None) or of those named.

        within: seconds that there are for it; a piece that does not fit into them is not begun.
        """
        left = 0.0
        for name, part in self.parts.items():
            if names is None or name in names:
                fitting = part.left if part.each <= 0 else min(part.left, max(0.0, within) // part.each)
                left += fitting * part.each
        if self._current is not None and (names is None or self._current[0] in names):
            name, began = self._current
            left += max(0.0, self.parts[name].each - (self._now() - began))
        return min(left, max(0.0, within))
