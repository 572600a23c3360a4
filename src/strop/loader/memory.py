"""Memory that emitted code works on: aligned, zero, this process's own (a forked child gets its own copy)."""

from __future__ import annotations

import contextlib
import mmap
from typing import Final

import numpy as np

_HUGE: Final = 2 << 20
_PAGE: Final = mmap.PAGESIZE


class Words:
    """A block of 8-byte words, zero at first, on cache lines of its own; offsets are in bytes.

    Example:
        >>> block = Words(64)
        >>> block.put(8, -1)
        >>> block.get(8), block.address % 64
        (-1, 0)
    """

    __slots__ = ("_words", "address", "size")

    def __init__(self, size: int) -> None:
        self.size = -(-size // 64) * 64
        raw = np.zeros(self.size // 8 + 8, np.int64)
        start = -raw.ctypes.data % 64 // 8
        self._words = raw[start : start + self.size // 8]
        self.address = int(self._words.ctypes.data)

    def get(self, offset: int) -> int:
        """Returns the word at `offset`."""
        return int(self._words[offset >> 3])

    def put(self, offset: int, value: int) -> None:
        """Sets the word at `offset`."""
        self._words[offset >> 3] = value

    def put_all(self, offset: int, values: list[int]) -> None:
        """Sets the words from `offset` on."""
        start = offset >> 3
        self._words[start : start + len(values)] = values

    def slice(self, offset: int, count: int) -> np.ndarray:
        """Returns `count` words from `offset` on, the same memory."""
        start = offset >> 3
        return self._words[start : start + count]

    def clear(self) -> None:
        """Sets every word to zero."""
        self._words[:] = 0


def allocate(size: int) -> np.ndarray:
    """Returns `size` bytes, zero, page-aligned; large ones on huge pages where the system has them.

    Pages are taken when they are first touched. Less than half of a huge page lies on small ones.
    """
    pages = -(-max(size, 1) // _PAGE) * _PAGE
    huge = (size + _HUGE // 2 - 1) // _HUGE * _HUGE
    length = max(pages, huge) + (_HUGE if huge else 0)
    if hasattr(mmap, "MAP_PRIVATE"):
        mapping = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    else:
        mapping = mmap.mmap(-1, length)
    whole = np.frombuffer(mapping, np.uint8)
    skip = -int(whole.ctypes.data) % _HUGE if huge else 0
    if huge and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):
            mapping.madvise(mmap.MADV_HUGEPAGE, skip, huge)
            mapping.madvise(mmap.MADV_NOHUGEPAGE, skip + huge)
    return whole[skip : skip + size]
