"""Memory that grows as it is filled, without being copied: where packed weights are gathered."""

from __future__ import annotations

import contextlib
import mmap
import sys
from typing import Final

import numpy as np

_FIRST: Final = 1 << 22
_CAN_GROW: bool = sys.platform == "linux"


class Growing:
    """Bytes, zero where nothing was written yet. What is written need not be kept by the caller until all is there."""

    def __init__(self) -> None:
        self._memory = _allocate(_FIRST)

    def write(self, start: int, data: np.ndarray) -> None:
        """Puts the bytes of a contiguous array at `start`."""
        self._reserve(start + data.nbytes)
        self._memory[start : start + data.nbytes] = data.reshape(-1).view(np.uint8).data

    def finish(self, size: int) -> np.ndarray:
        """Returns the first `size` bytes; nothing may be written any more."""
        self._reserve(size)
        return np.frombuffer(self._memory, np.uint8, size)

    def _reserve(self, size: int) -> None:
        if size <= len(self._memory):
            return
        larger = max(size, 2 * len(self._memory))
        if _CAN_GROW:  # moves pages, not bytes
            self._memory.resize(larger)
            _advise(self._memory)
        else:
            old, self._memory = self._memory, _allocate(larger)
            self._memory[: len(old)] = old[:]


def _allocate(size: int) -> mmap.mmap:
    if not _CAN_GROW:
        return mmap.mmap(-1, size)
    # Shared memory, which is the default, has nothing behind what it grows by.
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    _advise(memory)
    return memory


def _advise(memory: mmap.mmap) -> None:
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel may be built without
            memory.madvise(mmap.MADV_HUGEPAGE)
