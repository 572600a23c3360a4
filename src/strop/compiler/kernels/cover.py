"""How a length is covered by tiles of at most two sizes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cover:
    """`many` tiles (one at least) of `size`, then `rest` tiles of `size - 1`."""

    size: int
    many: int
    rest: int = 0

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return self.many + self.rest

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes that occur."""
        return (self.size, self.size - 1)[: 1 + bool(self.rest)]


def cover(length: int, largest: int) -> Cover:
    """Returns the fewest tiles of at most `largest` that cover `length`, sizes differing by one at most.

    Example:
        >>> cover(197, 14)
        Cover(size=14, many=2, rest=13)
        >>> cover(49, 14)
        Cover(size=13, many=1, rest=3)
    """
    count = -(-length // largest)
    rest = -length % count
    return Cover(-(-length // count), count - rest, rest)
