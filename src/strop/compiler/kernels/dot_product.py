"""How a register tile multiplies and adds: float32, or four u8 x s8 products into an int32, exact on every level."""

from __future__ import annotations

from typing import Protocol

from strop.compiler import emit
from strop.compiler.emit import Function, Value, constant, vector_of
from strop.compiler.isa.table import Isa

_PAIRS = {16: "llvm.x86.avx512.pmaddw.d.512", 8: "llvm.x86.avx2.pmadd.wd", 4: "llvm.x86.sse2.pmadd.wd"}


class DotProduct(Protocol):
    """One multiply-add of a tile; `pixel` and `weights` prepare what is used several times."""

    def pixel(self, f: Function, value: Value) -> list[Value]:
        """Prepares the broadcast of one pixel's step."""

    def weights(self, f: Function, value: Value) -> list[Value]:
        """Prepares a vector of weights."""

    def accumulate(self, f: Function, total: Value, pixel: list[Value], weights: list[Value]) -> Value:
        """Returns total + pixel . weights, lane by lane."""

    def add(self, f: Function, a: Value, b: Value) -> Value:
        """Returns the sum of two accumulators."""


class FloatProduct:
    """float32: one multiply-add."""

    def pixel(self, f: Function, value: Value) -> list[Value]:
        """Takes it as it is."""
        return [value]

    def weights(self, f: Function, value: Value) -> list[Value]:
        """Takes them as they are."""
        return [value]

    def accumulate(self, f: Function, total: Value, pixel: list[Value], weights: list[Value]) -> Value:
        """Returns pixel * weights + total."""
        return f.fma(pixel[0], weights[0], total)

    def add(self, f: Function, a: Value, b: Value) -> Value:
        """Returns a + b."""
        return f.fadd(a, b)


class IntegerProduct:
    """Four u8 x s8 products into each int32: vpdpbusd, or pairs of 16-bit products, or 32-bit ones; all exact.

    The pairs: bytes 0 and 2 of each lane become one pair of 16-bit numbers, 1 and 3 another; weights likewise with
    their sign. A product is below 2**15 and two of them below 2**17, so nothing can saturate.
    """

    def __init__(self, isa: Isa) -> None:
        self._how = "dot" if isa.dot == "vnni" else "pairs" if isa.is_x86 else "single"
        self._bytes = vector_of("i8", 4 * isa.lanes)
        self._halves = vector_of("i16", 2 * isa.lanes)
        self._words = isa.integers
        self._lanes = isa.lanes

    def pixel(self, f: Function, value: Value) -> list[Value]:
        """Splits a step of u8 numbers where 4 cannot be multiplied at once."""
        if self._how == "dot":
            return [f.convert("bitcast", value, self._bytes)]
        if self._how == "single":
            return [self._byte(f, value, place, "lshr") for place in range(4)]
        halves = f.convert("bitcast", value, self._halves)
        even = f.binary("and", halves, constant(self._halves, 255))
        return [even, f.binary("lshr", halves, constant(self._halves, 8))]

    def weights(self, f: Function, value: Value) -> list[Value]:
        """Splits a step of s8 numbers likewise."""
        if self._how == "dot":
            return [f.convert("bitcast", value, self._bytes)]
        if self._how == "single":
            return [self._byte(f, value, place, "ashr") for place in range(4)]
        halves, eight = f.convert("bitcast", value, self._halves), constant(self._halves, 8)
        even = f.binary("ashr", f.binary("shl", halves, eight), eight)
        return [even, f.binary("ashr", halves, eight)]

    def accumulate(self, f: Function, total: Value, pixel: list[Value], weights: list[Value]) -> Value:
        """Returns total plus the products."""
        if self._how == "dot":
            return f.call(self._words, "llvm.x86.avx512.vpdpbusd.512", total, pixel[0], weights[0])
        for a, b in zip(pixel, weights, strict=True):
            both = f.binary("mul", a, b) if self._how == "single" else f.call(self._words, _PAIRS[self._lanes], a, b)
            total = self.add(f, total, both)
        return total

    def add(self, f: Function, a: Value, b: Value) -> Value:
        """Returns a + b."""
        return f.binary("add", a, b)

    def _byte(self, f: Function, value: Value, place: int, shift: str) -> Value:
        """Returns byte `place` of every lane as an int32, with its sign for "ashr"."""
        up = f.binary("shl", value, emit.constant(self._words, 24 - 8 * place)) if place < 3 else value
        return f.binary(shift, up, emit.constant(self._words, 24))
