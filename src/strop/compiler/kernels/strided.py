"""Addresses of what lies at a stride known only at run time, so that layers share code.

x86 adds an index times 1, 2, 4 or 8 to an address for nothing. Five rows need one pointer and two numbers:

    p, p + s, p + 2 s, p + (3 s), p + 4 s

so a tile of 14 rows keeps three pointers and two strides in registers, and moves the pointers, not 14 addresses. Only
Winograd's products do it: the tiles of matrix products are a fifth slower so than with constants (DeiT, MiniLM, YOLO).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from strop.compiler.emit import Function, Value

GROUP: Final = 5
"""Rows that one pointer reaches."""


class Strided:
    """Places `stride` bytes apart; multiples of it that no address can hold are worked out once, where this is made."""

    def __init__(self, f: Function, stride: Value) -> None:
        self._f, self._stride = f, stride
        self._three = f.op("i64", f"mul i64 {stride.text}, 3")
        self._five = f.op("i64", f"mul i64 {stride.text}, 5")

    def at(self, start: Value, number: int) -> Value:
        """Returns the place of that number, 0 to 5, behind `start`."""
        if number == 0:
            return start
        if number in (3, 5):
            return self._f.offset(start, self._three if number == 3 else self._five)
        return self._f.op("ptr", f"getelementptr [{number} x i8], ptr {start.text}, i64 {self._stride.text}")


class StridedRows:
    """Rows `stride` bytes apart; `starts` are the pointers that reach them, to be carried along and moved together."""

    def __init__(self, f: Function, first: Value, stride: Value, rows: int) -> None:
        self._f, self._rows, self._strided = f, rows, Strided(f, stride)
        self.starts = [first]
        for _ in range(1, -(-rows // GROUP)):
            self.starts.append(self._strided.at(self.starts[-1], GROUP))

    def addresses(self, starts: Sequence[Value]) -> list[Value]:
        """Returns where each row begins, by pointers that were moved from `starts`."""
        # LLVM would see through the loop's pointers, and make a chain of additions of the addresses, or a pointer each.
        hidden = [self._f.opaque(start) for start in starts]
        return [self._strided.at(hidden[row // GROUP], row % GROUP) for row in range(self._rows)]
