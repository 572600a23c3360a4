"""The one Expression type: pointwise arithmetic for kernels, epilogues, activations, residuals and requantization.

An expression is a tree whose leaves are `operand(i)` (a tensor; in an epilogue operand 0 is the accumulator),
`channel(i)` (a vector with one number an output channel) and constants. Dtypes are changed by casts, never by flags. It
can be evaluated in numpy, which is its meaning, printed, and emitted as LLVM IR.

    relu = maximum(constant(0.0), add(operand(0), channel(0)))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from strop.compiler import emit
from strop.compiler.emit import Function, Value

LLVM_TYPES: Final = {"float32": "float", "int32": "i32", "uint8": "i8", "int8": "i8"}
"""LLVM's element types by numpy's names."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A node: `operation` over `arguments`; leaves ("operand", "channel", "constant") carry a `number`."""

    operation: str
    arguments: tuple[Expression, ...] = ()
    number: float = 0
    dtype: str = "float32"

    def __str__(self) -> str:
        if self.operation == "constant":
            return f"{self.number:g}"
        if self.operation in ("operand", "channel"):
            return f"{'x' if self.operation == 'operand' else 'c'}{int(self.number)}"
        name = f"to_{self.dtype}" if self.operation == "cast" else self.operation
        return f"{name}({', '.join(map(str, self.arguments))})"


IDENTITY: Final = Expression("operand")
"""Operand 0 as it is: an epilogue that does nothing, or a copy."""


def operand(index: int, dtype: str = "float32") -> Expression:
    """Returns the leaf for tensor `index`; in an epilogue 0 is the accumulator, the others are extra inputs."""
    return Expression("operand", number=index, dtype=dtype)


def channel(index: int) -> Expression:
    """Returns the leaf for per-channel vector `index` (float32)."""
    return Expression("channel", number=index)


def constant(number: float) -> Expression:
    """Returns a float32 constant."""
    return Expression("constant", number=float(np.float32(number)))


def apply(operation: str, *arguments: Expression) -> Expression:
    """Returns `operation` (a key of OPERATIONS) over float32 arguments."""
    if len(arguments) != OPERATIONS[operation].arguments or any(a.dtype != "float32" for a in arguments):
        raise ValueError(f"{operation} takes {OPERATIONS[operation].arguments} float32 arguments")
    return Expression(operation, arguments)


def add(a: Expression, b: Expression) -> Expression:
    """Returns a + b."""
    return apply("add", a, b)


def multiply(a: Expression, b: Expression) -> Expression:
    """Returns a * b."""
    return apply("multiply", a, b)


def maximum(a: Expression, b: Expression) -> Expression:
    """Returns the larger; NaN where either is NaN."""
    return apply("maximum", a, b)


def minimum(a: Expression, b: Expression) -> Expression:
    """Returns the smaller; NaN where either is NaN."""
    return apply("minimum", a, b)


def cast(value: Expression, dtype: str) -> Expression:
    """Returns `value` as `dtype`; floats that become integers must already be whole and in range."""
    return value if value.dtype == dtype else Expression("cast", (value,), dtype=dtype)


def requantize(
    accumulator: Expression, multiplier: Expression, zero: int, low: int, high: int, dtype: str
) -> Expression:
    """Returns clamp(rint(float(accumulator) * multiplier) + zero, low, high) as `dtype`.

    A multiplication and no fused multiply-add, so that every instruction set gives the same integers. The clamp comes
    before rounding, which is the same for whole bounds and keeps the conversion in range.
    """
    scaled = multiply(cast(accumulator, "float32"), multiplier)
    clamped = minimum(constant(high - zero), maximum(constant(low - zero), scaled))
    return cast(add(apply("rint", clamped), constant(zero)), dtype)


def substitute(expression: Expression, replace: Callable[[Expression], Expression | None]) -> Expression:
    """Returns the expression with every leaf for which `replace` gives something replaced by that."""
    if not expression.arguments:
        return replace(expression) or expression
    arguments = tuple(substitute(argument, replace) for argument in expression.arguments)
    return Expression(expression.operation, arguments, expression.number, expression.dtype)


def leaves(expression: Expression) -> list[Expression]:
    """Returns the distinct leaves in the order in which they appear."""
    found = [leaf for argument in expression.arguments for leaf in leaves(argument)] or [expression]
    return list(dict.fromkeys(found))


def operands(expression: Expression) -> list[int]:
    """Returns the numbers of the operands it reads, ascending."""
    return sorted(int(leaf.number) for leaf in leaves(expression) if leaf.operation == "operand")


def channels(expression: Expression) -> list[int]:
    """Returns the numbers of the per-channel vectors it reads, ascending."""
    return sorted(int(leaf.number) for leaf in leaves(expression) if leaf.operation == "channel")


def evaluate(expression: Expression, operands: Sequence[np.ndarray], channels: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Returns its value in numpy, in the precision of the operands; channels must broadcast against them already."""
    if expression.operation == "operand":
        return operands[int(expression.number)]
    if expression.operation == "channel":
        return channels[int(expression.number)]
    if expression.operation == "constant":
        return np.float32(expression.number)  # type: ignore[return-value]
    arguments = [evaluate(argument, operands, channels) for argument in expression.arguments]
    if expression.operation == "cast":
        return np.asarray(arguments[0]).astype(expression.dtype)
    return OPERATIONS[expression.operation].compute(*arguments)


def emit_expression(
    f: Function, expression: Expression, operands: Sequence[Value], channels: Sequence[Value], lanes: int
) -> Value:
    """Returns the value of `expression` for `lanes` lanes; equal parts are computed once."""
    known: dict[Expression, Value] = {}

    def visit(node: Expression) -> Value:
        if node not in known:
            known[node] = build(node)
        return known[node]

    def build(node: Expression) -> Value:
        kind = emit.vector_of(LLVM_TYPES[node.dtype], lanes)
        if node.operation == "operand":
            return operands[int(node.number)]
        if node.operation == "channel":
            return channels[int(node.number)]
        if node.operation == "constant":
            return emit.constant(kind, node.number)
        if node.operation == "cast":
            return _emit_cast(f, visit(node.arguments[0]), node.arguments[0].dtype, node.dtype, lanes)
        return OPERATIONS[node.operation].emit(f, *(visit(argument) for argument in node.arguments))

    return visit(expression)


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operation means (numpy) and how it is emitted; `flops` a lane, for cost models."""

    arguments: int
    compute: Callable[..., np.ndarray]
    emit: Callable[..., Value]
    flops: int = 1


def _emit_maximum(f: Function, a: Value, b: Value) -> Value:
    if _is_constant(b):
        a, b = b, a
    larger = f.fmax(a, b)  # NaN where b is NaN
    return larger if _is_constant(a) else f.select(f.compare("uno", a, a), a, larger)


def _emit_minimum(f: Function, a: Value, b: Value) -> Value:
    if _is_constant(b):
        a, b = b, a
    smaller = f.fmin(a, b)
    return smaller if _is_constant(a) else f.select(f.compare("uno", a, a), a, smaller)


def _is_constant(value: Value) -> bool:
    return value.text.startswith(("splat", "zeroinitializer", "0x"))


def _emit_rint(f: Function, x: Value) -> Value:
    """Rounds to the nearest whole number, ties to even, without a call where the ISA has no instruction for it."""
    if f.isa.level != "generic":
        suffix = f"v{emit.lanes_of(x.type)}f32" if emit.lanes_of(x.type) > 1 else "f32"
        return f.call(x.type, f"llvm.rint.{suffix}", x)
    lanes = emit.lanes_of(x.type)
    bits = emit.vector_of("i32", lanes)
    sign = f.binary("and", f.convert("bitcast", x, bits), emit.constant(bits, -(2**31)))
    magic = f.binary("or", sign, emit.constant(bits, 0x4B000000))  # 2**23 with the sign of x
    large = f.convert("bitcast", magic, x.type)
    rounded = f.fsub(f.fadd(x, large), large)
    size = f.convert("bitcast", f.binary("and", f.convert("bitcast", x, bits), emit.constant(bits, 2**31 - 1)), x.type)
    return f.select(f.compare("olt", size, emit.constant(x.type, 2.0**23)), rounded, x)


def _emit_cast(f: Function, value: Value, source: str, target: str, lanes: int) -> Value:
    integers, floats = emit.vector_of("i32", lanes), emit.vector_of("float", lanes)
    if source in ("uint8", "int8"):
        value = f.convert("zext" if source == "uint8" else "sext", value, integers)
        source = "int32"
    if source == "float32" and target != "float32":
        value, source = f.convert("fptosi", value, integers), "int32"
    if target == "float32" and source == "int32":
        return f.convert("sitofp", value, floats)
    if target in ("uint8", "int8"):
        return f.convert("trunc", value, emit.vector_of("i8", lanes))
    return value


OPERATIONS: Final[dict[str, Operation]] = {
    "add": Operation(2, np.add, lambda f, a, b: f.fadd(a, b)),
    "subtract": Operation(2, np.subtract, lambda f, a, b: f.fsub(a, b)),
    "multiply": Operation(2, np.multiply, lambda f, a, b: f.fmul(a, b)),
    "divide": Operation(2, np.divide, lambda f, a, b: f.binary("fdiv", a, b), flops=4),
    "maximum": Operation(2, np.maximum, _emit_maximum),
    "minimum": Operation(2, np.minimum, _emit_minimum),
    "rint": Operation(1, np.rint, _emit_rint),
}
"""Every operation an expression may hold, by name."""
