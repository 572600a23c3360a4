"""Shorter arithmetic for epilogues whose result is quantized.

    to_uint8(rint(clamp(scale * f(x))) + zero)

The scale moves into f, through sums and bounds, to the numbers that f multiplies by anyway; bounds that follow each
other become one; a number that was quantized and is made a float again stays the float it was rounded to. A result may
so lie on the neighbouring step where it is within a rounding error of the middle, as with any fused requantization
(gemmlowp, `design.md`); nothing else changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from strop.compiler.expressions import Expression, add, apply, channel, constant, multiply
from strop.compiler.operations import COARSE

_BOUNDS = {"maximum": max, "minimum": min}
_NOTHING = 2.0**-20
"""A scale this near 1 moves no number of 8 bits."""
_LARGEST = 2.0**40
"""Scales beyond this, or its inverse, stay where they are: products of them could overflow."""


def simplified(epilogue: Expression, channels: Sequence[np.ndarray]) -> tuple[Expression, tuple[np.ndarray, ...]]:
    """Returns an epilogue of less work, and its vectors a channel; unchanged where it quantizes nothing.

    Example:
        >>> from strop.compiler.expressions import cast, maximum, minimum, operand, requantize
        >>> real = maximum(constant(0), multiply(cast(operand(0, "int32"), "float32"), channel(0)))
        >>> scaled = minimum(constant(255), maximum(constant(0), apply("divide", real, constant(0.5))))
        >>> shorter, numbers = simplified(cast(apply("rint", scaled), "uint8"), [np.array([3.0], np.float32)])
        >>> str(shorter), numbers[0].tolist()
        ('to_uint8(rint(minimum(255, maximum(0, multiply(to_float32(x0), c0)))))', [6.0])
    """
    merging = _Merging(channels)
    return merging.used(merging.visit(epilogue))


class _Merging:
    def __init__(self, channels: Sequence[np.ndarray]) -> None:
        self._channels = list(channels)

    def used(self, epilogue: Expression) -> tuple[Expression, tuple[np.ndarray, ...]]:
        """Returns the epilogue with its vectors numbered anew, those nobody reads left out."""
        numbers: dict[int, int] = {}

        def renumbered(node: Expression) -> Expression:
            if node.operation == "channel":
                return channel(numbers.setdefault(int(node.number), len(numbers)))
            return replace(node, arguments=tuple(map(renumbered, node.arguments)))

        shorter = renumbered(epilogue)
        return shorter, tuple(self._channels[number] for number in numbers)

    def visit(self, node: Expression) -> Expression:
        """Returns the node simplified, its arguments first."""
        node = replace(node, arguments=tuple(map(self.visit, node.arguments)))
        if node.operation == "subtract":
            return _without_zero(_back_and_forth(node))
        if node.operation == "cast" and node.dtype in ("uint8", "int8"):
            return replace(node, arguments=(_coarse(_without_shift(node).arguments[0]),))
        if node.operation == "rint":
            return _rounded_once(replace(node, arguments=(_bounded(self._scaled_inside(node.arguments[0])),)))
        return node

    def _scaled_inside(self, node: Expression) -> Expression:
        """Moves the scale under the bounds of a rounding inward."""
        if _bound_of(node) is not None:
            return replace(node, arguments=tuple(map(self._scaled_inside, node.arguments)))
        factor = _factor(node)
        if factor is None or factor <= 0:
            return node
        return node.arguments[0] if abs(factor - 1) < _NOTHING else self._scaled(node.arguments[0], factor)

    def _scaled(self, node: Expression, by: float) -> Expression:
        """Returns `by` times the node, for less work where that can be."""
        if node.operation == "constant":
            return constant(node.number * by)
        if _bound_of(node) is not None:
            return replace(node, arguments=tuple(self._scaled(each, by) for each in node.arguments))
        factor = _factor(node)
        if factor is not None:
            return (
                self._scaled(node.arguments[0], by * factor)
                if factor > 0
                else multiply(node.arguments[0], constant(by * factor))
            )
        if node.operation == "multiply" and node.arguments[1].operation == "channel":
            vector = self._channels[int(node.arguments[1].number)].astype(np.float64) * by
            self._channels.append(vector.astype(np.float32))
            return multiply(node.arguments[0], channel(len(self._channels) - 1))
        if node.operation == "channel":
            self._channels.append((self._channels[int(node.number)].astype(np.float64) * by).astype(np.float32))
            return channel(len(self._channels) - 1)
        if node.operation == "add" and any(map(_absorbs, node.arguments)):
            return add(*(self._scaled(each, by) for each in node.arguments))
        return multiply(node, constant(by))


def _coarse(node: Expression) -> Expression:
    """Returns the node with the activation that is rounded at once by the one that is right to 12 bits."""
    if node.operation in COARSE:
        return replace(node, operation=COARSE[node.operation])
    if node.operation in ("rint", "add", "multiply") or _bound_of(node) is not None:
        place = 1 if _bound_of(node) is not None else 0
        is_alone = place == 1 or len(node.arguments) == 1 or node.arguments[1].operation == "constant"
        if is_alone:
            arguments = list(node.arguments)
            arguments[place] = _coarse(arguments[place])
            return replace(node, arguments=tuple(arguments))
    return node


def _absorbs(node: Expression) -> bool:
    """Whether a scale of the node costs nothing."""
    if node.operation in ("constant", "channel") or _factor(node) is not None:
        return True
    if node.operation == "multiply":
        return node.arguments[1].operation == "channel"
    if _bound_of(node) is not None:
        return all(map(_absorbs, node.arguments))
    return node.operation == "add" and any(map(_absorbs, node.arguments))


def _factor(node: Expression) -> float | None:
    """Returns the constant that the node multiplies its first argument by."""
    if node.operation not in ("multiply", "divide") or node.dtype != "float32":
        return None
    number = node.arguments[1]
    if number.operation != "constant" or not 1 / _LARGEST <= abs(number.number) <= _LARGEST:
        return None
    return number.number if node.operation == "multiply" else 1 / number.number


def _bound_of(node: Expression) -> float | None:
    """Returns the constant of a maximum or minimum, which stands first; None for anything else."""
    if node.operation in _BOUNDS and node.dtype == "float32" and node.arguments[0].operation == "constant":
        return node.arguments[0].number
    return None


def _bounded(node: Expression) -> Expression:
    """Returns bounds that follow each other as one upper bound of one lower bound."""
    bounds = []
    inner = node
    while (bound := _bound_of(inner)) is not None:
        bounds.append((inner.operation, bound))
        inner = inner.arguments[1]
    if len(bounds) < 3 and [operation for operation, _ in bounds] != ["maximum", "maximum"]:
        return node
    low, high = -np.inf, np.inf
    for operation, bound in reversed(bounds):
        if operation == "maximum":
            low, high = max(low, bound), max(high, bound)
        else:
            low, high = min(low, bound), min(high, bound)
    if low > -np.inf:
        inner = apply("maximum", constant(low), inner)
    return apply("minimum", constant(high), inner) if high < np.inf else inner


def _rounded_once(node: Expression) -> Expression:
    """Returns one rounding of what is rounded, held within whole bounds, and rounded again."""
    inner, bounds = node.arguments[0], []
    while (bound := _bound_of(inner)) is not None:
        bounds.append((inner.operation, bound))
        inner = inner.arguments[1]
    if inner.operation != "rint" or not all(float(bound).is_integer() for _, bound in bounds):
        return node
    held = inner.arguments[0]
    for operation, bound in reversed(bounds):
        held = apply(operation, constant(bound), held)
    return replace(node, arguments=(_bounded(held),))


def _back_and_forth(node: Expression) -> Expression:
    """Returns rint(x) for float(uint8(rint(x) + zero)) - zero, where x is bounded by what 8 bits hold."""
    widened, zero = node.arguments
    if zero.operation != "constant" or widened.operation != "cast" or widened.dtype != "float32":
        return node
    narrowed = widened.arguments[0]
    if narrowed.operation != "cast" or narrowed.dtype not in ("uint8", "int8"):
        return node
    shifted = narrowed.arguments[0]
    if shifted.operation != "add" or shifted.arguments[1] != zero or shifted.arguments[0].operation != "rint":
        return node
    rounded = shifted.arguments[0]
    upper = rounded.arguments[0]
    lower = upper.arguments[1] if upper.operation == "minimum" and _bound_of(upper) is not None else upper
    high, low = _bound_of(upper), _bound_of(lower)
    limits = np.iinfo(narrowed.dtype)
    is_held = (
        high is not None
        and low is not None
        and lower.operation == "maximum"
        and limits.min <= low + zero.number
        and high + zero.number <= limits.max
    )
    return rounded if is_held else node


def _without_shift(node: Expression) -> Expression:
    """Returns uint8(x) for uint8(x + 0)."""
    shifted = node.arguments[0]
    if shifted.operation == "add" and shifted.arguments[1] == constant(0):
        return replace(node, arguments=shifted.arguments[:1])
    return node


def _without_zero(node: Expression) -> Expression:
    """Returns x for float(x) - 0."""
    if node.operation == "subtract" and node.arguments[1] == constant(0) and node.arguments[0].operation == "cast":
        return node.arguments[0]
    return node
