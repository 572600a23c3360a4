"""What reductions and normalizations compute, as data: statistics of groups of elements, and what follows from them.

A statistic combines an expression of each element of a group into one number, and may build on the statistics before
it. A normalization then gives each element a new value; a reduction gives the last statistic.

    rms = Program("rms", (Statistic("sum", x * x, 1 / sqrt(operand / count + epsilon)),), x * first)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from strop.compiler.expressions import IDENTITY, Expression, add, apply, constant, multiply, operand

COMBINATIONS: Final[dict[str, float]] = {
    "sum": 0.0,
    "product": 1.0,
    "maximum": -math.inf,
    "minimum": math.inf,
    "peak": -math.inf,
}
"""How elements are combined, and what an empty group gives; a peak is a maximum that may ignore NaN."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """A number of each group: `finish` of the combined `element`s.

    In both expressions operand i (1 and up) is the statistic number i - 1. Operand 0 is the element in `element`, what
    was combined in `finish`.
    """

    combine: str
    element: Expression = IDENTITY
    finish: Expression = IDENTITY


@dataclass(frozen=True, slots=True)
class Program:
    """Statistics in order, then what becomes of each element: operand 0, and operand i for statistic i - 1.

    result: None for a reduction, which gives the last statistic, one number a group.
    """

    name: str
    statistics: tuple[Statistic, ...]
    result: Expression | None = None

    def __str__(self) -> str:
        return self.name


NOTHING: Final = Program("", ())
"""No statistics."""

_X: Final = operand(0)
_FIRST, _SECOND = operand(1), operand(2)


def _reciprocal(value: Expression) -> Expression:
    return apply("divide", constant(1), value)


def reduction(name: str, count: int) -> Program:
    """Returns one of ONNX's reductions of `count` elements, by the name behind its "Reduce": "Sum", "LogSumExp"."""
    root, log = apply("sqrt", _X), apply("log", _X)
    size, square = apply("absolute", _X), multiply(_X, _X)
    if name == "LogSumExp":
        is_finite = apply("less", apply("absolute", _X), constant(math.inf))
        shift = Statistic("maximum", finish=apply("where", is_finite, _X, constant(0)))
        total = Statistic("sum", apply("exp", apply("subtract", _X, _FIRST)), add(log, _FIRST))
        return Program(name, (shift, total))
    rows = {
        "Sum": Statistic("sum"),
        "Mean": Statistic("sum", finish=multiply(_X, constant(1 / count))),
        "Max": Statistic("maximum"),
        "Min": Statistic("minimum"),
        "Prod": Statistic("product"),
        "L1": Statistic("sum", size),
        "L2": Statistic("sum", square, root),
        "SumSquare": Statistic("sum", square),
        "LogSum": Statistic("sum", finish=log),
    }
    return Program(name, (rows[name],))


REDUCTIONS: Final = ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")


def standardization(count: int, epsilon: float) -> Program:
    """Returns (x - mean) / sqrt(variance + epsilon): layer, instance and group normalization."""
    centered = apply("subtract", _X, _FIRST)
    variance = add(multiply(_X, constant(1 / count)), constant(epsilon))
    return Program(
        "standardize",
        (
            Statistic("sum", finish=multiply(_X, constant(1 / count))),
            Statistic("sum", multiply(centered, centered), _reciprocal(apply("sqrt", variance))),
        ),
        multiply(centered, _SECOND),
    )


def root_mean_square(count: int, epsilon: float) -> Program:
    """Returns x / sqrt(mean(x * x) + epsilon)."""
    mean = add(multiply(_X, constant(1 / count)), constant(epsilon))
    statistic = Statistic("sum", multiply(_X, _X), _reciprocal(apply("sqrt", mean)))
    return Program("root mean square", (statistic,), multiply(_X, _FIRST))


def unit_norm(order: int) -> Program:
    """Returns x / the norm of the group, of order 1 or 2; zero where that is zero."""
    element = apply("absolute", _X) if order == 1 else multiply(_X, _X)
    norm = _X if order == 1 else apply("sqrt", _X)
    factor = apply("where", apply("equal", _X, constant(0)), constant(0), _reciprocal(norm))
    return Program(f"norm {order}", (Statistic("sum", element, factor),), multiply(_X, _FIRST))


def softmax() -> Program:
    """Returns e**x over the sum of these."""
    power = apply("exp", apply("subtract", _X, _FIRST))
    total = Statistic("sum", power, _reciprocal(_X))
    return Program("softmax", (Statistic("peak"), total), multiply(power, _SECOND))


def log_softmax() -> Program:
    """Returns the logarithm of the softmax."""
    shifted = apply("subtract", _X, _FIRST)
    total = Statistic("sum", apply("exp", shifted), apply("log", _X))
    return Program("log softmax", (Statistic("peak"), total), apply("subtract", shifted, _SECOND))
