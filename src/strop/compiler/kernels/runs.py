"""Copies runs of bytes."""

from __future__ import annotations

from strop.compiler.emit import Function, Number, Value

_AT_ONCE = 4  # vectors loaded before any is stored


def copy_run(f: Function, source: Value, target: Value, count: int) -> None:
    """Copies `count` bytes: whole vectors, then pieces of powers of two; nothing beside them is read or written."""
    width = f.isa.vector_bytes

    def copy(first: Number, pieces: list[tuple[int, int]]) -> None:
        at, to = f.offset(source, first), f.offset(target, first)
        loaded = [(place, f.load(_kind(size), at, place)) for place, size in pieces]
        for place, value in loaded:
            f.store(value, to, place)

    block = width * _AT_ONCE
    f.loop(count // block, lambda index, _: copy(f.mul(index, block), [(n * width, width) for n in range(_AT_ONCE)]))
    place, rest = count - count % block, count % block
    pieces = []
    while rest:
        size = min(width, 1 << (rest.bit_length() - 1))
        pieces.append((place, size))
        place, rest = place + size, rest - size
    if pieces:
        copy(0, pieces)


def _kind(size: int) -> str:
    return f"i{8 * size}" if size <= 8 else f"<{size // 8} x i64>"
