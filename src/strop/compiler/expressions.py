"""The one Expression type: pointwise arithmetic for kernels, epilogues, activations, residuals and requantization.

An expression is a tree whose leaves are `operand(i)` (a tensor; in an epilogue operand 0 is the accumulator),
`channel(i)` (a vector with one number an output channel) and constants. Dtypes are changed by casts, never by flags. It
can be evaluated in numpy, which is its meaning, printed, and emitted as LLVM IR.

    relu = maximum(constant(0.0), add(operand(0), channel(0)))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from strop.compiler import arithmetic, emit
from strop.compiler.emit import Function, Value
from strop.compiler.operations import OPERATIONS

LLVM_TYPES: Final = {
    "float32": "float",
    "int64": "i64",
    "int32": "i32",
    "int16": "i16",
    "uint8": "i8",
    "int8": "i8",
    "bool": "i8",
}
"""LLVM's element types in memory by numpy's names; int16 stands for whatever has two bytes and is only moved."""


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


def constant(number: float, dtype: str = "float32") -> Expression:
    """Returns a constant; -0.0, which Python takes for equal to 0.0, is the negative of that."""
    if dtype == "float32" and number == 0 and np.signbit(number):
        return Expression("negative", (constant(0.0),))
    exact = float(np.float32(number)) if dtype == "float32" else int(number)
    return Expression("constant", number=exact, dtype=dtype)


def apply(operation: str, *arguments: Expression) -> Expression:
    """Returns `operation` (a key of OPERATIONS) over arguments of one dtype (but for a condition)."""
    row = OPERATIONS[operation]
    dtypes = [argument.dtype for argument in arguments]
    if row.condition and dtypes and dtypes.pop(0) != "bool":
        raise ValueError(f"{operation} takes a truth value first")
    if len(arguments) != row.arguments or len(set(dtypes)) != 1:
        raise ValueError(f"{operation} takes {row.arguments} arguments of one dtype, not {', '.join(dtypes)}")
    return Expression(operation, arguments, dtype=row.result or dtypes[0])


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
    """Returns `value` as `dtype`; floats lose their fraction where they become integers, and must be in range."""
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


def split_bias(expression: Expression) -> tuple[int | None, Expression]:
    """Returns the vector that operand 0 is added to before all else, and the rest; None where there is no such sum.

    A kernel may start its sums with that vector and do the rest behind them.

    Example:
        >>> bias, rest = split_bias(maximum(constant(0.0), add(operand(0), channel(1))))
        >>> bias, str(rest)
        (1, 'maximum(0, x0)')
    """
    readers = {node for node in _nodes(expression) if IDENTITY in node.arguments}
    if len(readers) != 1:
        return None, expression
    (reader,) = readers
    others = [argument for argument in reader.arguments if argument != IDENTITY]
    if reader.operation != "add" or len(others) != 1 or others[0].operation != "channel":
        return None, expression

    def rest(node: Expression) -> Expression:
        if node == reader:
            return IDENTITY
        return replace(node, arguments=tuple(map(rest, node.arguments)))

    return int(others[0].number), rest(expression)


def _nodes(expression: Expression) -> set[Expression]:
    return {expression}.union(*map(_nodes, expression.arguments))


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


def flops(expression: Expression) -> int:
    """Returns the operations that its code does for one element."""
    own = OPERATIONS[expression.operation].flops if expression.operation in OPERATIONS else 0
    return own + sum(map(flops, expression.arguments))


def evaluate(expression: Expression, operands: Sequence[np.ndarray], channels: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Returns its value in numpy, in the precision of the operands; channels must broadcast against them already."""
    if expression.operation == "operand":
        return operands[int(expression.number)]
    if expression.operation == "channel":
        return channels[int(expression.number)]
    if expression.operation == "constant":
        return np.dtype(expression.dtype).type(expression.number)  # type: ignore[no-any-return]
    arguments = [evaluate(argument, operands, channels) for argument in expression.arguments]
    if expression.operation == "cast":
        return np.asarray(arguments[0]).astype(expression.dtype)
    return OPERATIONS[expression.operation].compute(*arguments)


def _saturated(node: Expression) -> tuple[Expression, int] | None:
    """Returns x and zero for uint8(rint(x, held below 255 - zero) + zero), where x is no less than -zero."""
    if node.operation != "cast" or node.dtype != "uint8" or node.arguments[0].dtype != "float32":
        return None
    inner, zero = node.arguments[0], 0
    if inner.operation == "add" and inner.arguments[1].operation == "constant":
        inner, zero = inner.arguments[0], int(inner.arguments[1].number)
    if inner.operation != "rint":
        return None
    upper = inner.arguments[0]
    if upper.operation != "minimum" or upper.arguments[0] != constant(255 - zero):
        return None
    lower = upper.arguments[1]
    bound = lower.arguments[0] if lower.operation == "maximum" else lower
    return (lower, zero) if bound.operation == "constant" and bound.number >= -zero else None


def emit_expression(
    f: Function, expression: Expression, operands: Sequence[Value], channels: Sequence[Value], lanes: int
) -> Value:
    """Returns the value of `expression` for `lanes` lanes as it is stored; equal parts are computed once.

    operands, channels: as they are loaded: the lanes of LLVM_TYPES.
    """
    known: dict[Expression, Value] = {}

    def visit(node: Expression) -> Value:
        if node not in known:
            known[node] = build(node)
        return known[node]

    def build(node: Expression) -> Value:
        if node.operation == "operand":
            value = operands[int(node.number)]
            return f.compare("ne", value, f.zero(value.type)) if node.dtype == "bool" else value
        if node.operation == "channel":
            return channels[int(node.number)]
        if node.operation == "constant":
            element = "i1" if node.dtype == "bool" else LLVM_TYPES[node.dtype]
            return emit.constant(emit.vector_of(element, lanes), node.number)
        whole = _saturated(node) if f.isa.is_x86 and lanes == 16 == f.isa.lanes else None
        if whole is not None:
            return arithmetic.saturated_bytes(f, visit(whole[0]), whole[1])
        if node.operation == "cast":
            return arithmetic.cast(f, visit(node.arguments[0]), node.arguments[0].dtype, node.dtype)
        return OPERATIONS[node.operation].emit(f, *(visit(argument) for argument in node.arguments))

    result = visit(expression)
    return f.convert("zext", result, emit.vector_of("i8", lanes)) if expression.dtype == "bool" else result
