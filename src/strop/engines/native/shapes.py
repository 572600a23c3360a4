"""What is made for one set of input shapes, kept for the next request of those shapes: so many, and no more."""

from __future__ import annotations

from _thread import allocate_lock  # threading.Lock, without its imports
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Shapes = tuple[tuple[int, ...], ...]
Made = TypeVar("Made")


class _Entry(Generic[Made]):
    """What was made, and how many requests run in it now."""

    def __init__(self, made: Made):
        self.made, self.users, self.evicted = made, 0, False


class PerShapes(Generic[Made]):
    """Makes what a set of shapes needs when it is first asked for, and closes what was not used for longest.

    Safe from several threads: one thing is made at a time, and only once; what is in use is closed after its last use.

    Args:
        make: makes it; an exception of it is the caller's, and nothing is kept.
        close: gives it back.
        limit: how many are kept.
    """

    def __init__(self, make: Callable[[Shapes], Made], close: Callable[[Made], None], *, limit: int):
        self._make, self._close, self._limit = make, close, limit
        self._entries: OrderedDict[Shapes, _Entry[Made]] = OrderedDict()
        self._lock, self._making = allocate_lock(), allocate_lock()

    @property
    def is_full(self) -> bool:
        """Whether one more means one less."""
        return len(self._entries) >= self._limit

    def __contains__(self, shapes: Shapes) -> bool:
        return shapes in self._entries

    @contextmanager
    def use(self, shapes: Shapes) -> Iterator[Made]:
        """Gives what there is for `shapes`, for as long as the context lasts."""
        entry = self._taken(shapes)
        if entry is None:
            with self._making:
                entry = self._taken(shapes)  # somebody else may have made it meanwhile
                if entry is None:
                    entry = self._added(shapes, _Entry(self._make(shapes)))
        try:
            yield entry.made
        finally:
            self._give_back(entry)

    def close(self) -> None:
        """Closes everything that is kept; nothing may be in use."""
        with self._lock:
            entries = list(self._entries.values())
            self._entries.clear()
        for entry in entries:
            self._close(entry.made)

    def _taken(self, shapes: Shapes) -> _Entry[Made] | None:
        with self._lock:
            entry = self._entries.get(shapes)
            if entry is not None:
                entry.users += 1
                self._entries.move_to_end(shapes)
            return entry

    def _added(self, shapes: Shapes, entry: _Entry[Made]) -> _Entry[Made]:
        unused = []
        with self._lock:
            entry.users += 1
            self._entries[shapes] = entry
            while len(self._entries) > self._limit:
                _, oldest = self._entries.popitem(last=False)
                oldest.evicted = True
                if not oldest.users:
                    unused.append(oldest)
        for each in unused:
            self._close(each.made)
        return entry

    def _give_back(self, entry: _Entry[Made]) -> None:
        with self._lock:
            entry.users -= 1
            last = entry.evicted and not entry.users
        if last:
            self._close(entry.made)
