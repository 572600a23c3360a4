"""What a pooling reduces its window with: a maximum that keeps NaN, or a sum in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from strop.compiler.emit import Function, Number, Value, constant, vector_of
from strop.compiler.expressions import LLVM_TYPES

_LOWEST: Final = {"float32": float("-inf"), "uint8": 0, "int8": -128}


class Reduction:
    """The largest, or the sum as float32, of elements of `dtype`."""

    def __init__(self, f: Function, kind: str, dtype: str) -> None:
        self.f, self.dtype, self.is_maximum = f, dtype, kind == "max"
        self.stored = vector_of(LLVM_TYPES[dtype], f.isa.lanes)
        self.type = self.stored if self.is_maximum else f.isa.vector
        """LLVM's type of what is reduced so far."""

    def start(self) -> Value:
        """Returns what nothing reduces to."""
        return constant(self.type, _LOWEST[self.dtype]) if self.is_maximum else self.f.zero(self.type)

    def load(self, pointer: Value, by: Number, lanes: int) -> Value:
        """Loads elements as they are reduced."""
        f = self.f
        value = f.load_lanes(self.stored, pointer, by, lanes=lanes)
        if self.is_maximum or self.dtype == "float32":
            return value
        wide = f.convert("zext" if self.dtype == "uint8" else "sext", value, f.isa.integers)
        return f.convert("sitofp", wide, self.type)

    def of(self, values: Sequence[Value]) -> Value:
        """Reduces at least one value; a maximum is NaN where any is: one comparison for every two finds them."""
        f, result = self.f, values[0]
        for value in values[1:]:
            result = self._larger(result, value) if self.is_maximum else f.fadd(result, value)
        if not self.is_maximum or self.dtype != "float32":
            return result
        strange = f.compare("uno", values[0], values[-1])
        for place in range(1, len(values) - 1, 2):
            strange = f.binary("or", strange, f.compare("uno", values[place], values[place + 1]))
        return f.select(strange, constant(self.type, float("nan")), result)

    def join(self, total: Value, part: Value) -> Value:
        """Reduces two results; a maximum is NaN where either is."""
        if not self.is_maximum:
            return self.f.fadd(total, part)
        larger = self._larger(total, part)
        if self.dtype != "float32":
            return larger
        return self.f.select(self.f.compare("uno", total, total), total, larger)

    def _larger(self, a: Value, b: Value) -> Value:
        if self.dtype == "float32":
            return self.f.fmax(a, b)
        return self.f.select(self.f.compare("ugt" if self.dtype == "uint8" else "sgt", a, b), a, b)
