"""Memory for emitted code."""

from __future__ import annotations

import pytest

from strop.loader.memory import Words, allocate


@pytest.mark.parametrize("size", [0, 1, 4096, 100_000, (1 << 20) + 1, 5 << 20, (4 << 20) + 5000, (6 << 20) - 1])
def test_memory_is_zero_aligned_and_as_large_as_asked(size: int) -> None:
    memory = allocate(size)
    assert memory.nbytes == size and not memory.any()
    assert memory.ctypes.data % (4096 if size < 1 << 20 else 2 << 20) == 0
    memory[:] = 255
    assert memory.flags.writeable


def test_words_are_on_lines_of_their_own() -> None:
    block = Words(72)
    assert block.address % 64 == 0 and block.size == 128
    block.put_all(8, [1, -2])
    assert [block.get(offset) for offset in (0, 8, 16, 24)] == [0, 1, -2, 0]
    block.slice(16, 1)[0] = 5
    assert block.get(16) == 5
    block.clear()
    assert not block.slice(0, 16).any()
