"""What one step of a recurrence computes, as expressions: the cells of LSTM, GRU and RNN.

A cell multiplies the hidden state by the recurrent weights of some gates, adds each gate's share of the input, and
computes the next states of that, element by element. The expressions' operands are numbered places (HIDDEN, CELL ...);
its channels are vectors of one number a hidden unit. So interpreter, references and kernel all take a cell as it is.

    h' = f(sum 0)                                                                                      RNN
    c' = f(sum 2) * c + f(sum 0) * g(sum 3);  h' = f(sum 1) * h(c')                                    LSTM
    h' = (1 - z) * g(sum 2) + z * h  with z = f(sum 0) and r = f(sum 1), which the hidden state is
         multiplied by before its product for sum 2, or sum 2 is (linear before reset)                 GRU
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from strop.compiler.expressions import Expression, add, apply, channel, constant, maximum, minimum, multiply, operand

HIDDEN: Final = 0
"""Operand: the hidden state, before the step."""
CELL: Final = 1
"""Operand: the cell state; once a phase has computed it, the new one."""
UPDATE: Final = 2
"""Operand: what one phase keeps for the next."""
GATED: Final = 3
"""Operand: what the next phase multiplies by the recurrent weights in place of the hidden state."""
SUMS: Final = 4
"""Operand: with a gate's number added, its product with the recurrent weights and, unless kept apart, its input."""
INPUTS: Final = 8
"""Operand: with a gate's number added, the input's share, where the product is kept apart from it."""
PLACES: Final = 12
"""Operands there are."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Products of `source` (HIDDEN or GATED) for `gates`, then `results`: (place, expression) in order.

    apart: the gates whose input is not added to the product.
    """

    gates: tuple[int, ...]
    results: tuple[tuple[int, Expression], ...]
    source: int = HIDDEN
    apart: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """`gates`: how many there are; `vectors`: how many numbers a hidden unit has (the expressions' channels)."""

    kind: str
    gates: int
    phases: tuple[Phase, ...]
    vectors: int = 0

    @property
    def has_cell(self) -> bool:
        """Whether it has a cell state beside the hidden one."""
        return any(place == CELL for phase in self.phases for place, _ in phase.results)

    @property
    def flops(self) -> int:
        """Operations of a step and hidden unit beside the products, roughly."""
        return 20 * (self.gates + 1)

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True, slots=True)
class Activation:
    """One of ONNX's functions of recurrent operators, by its name there."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0

    def of(self, x: Expression) -> Expression:
        """Returns its value for `x`."""
        zero, one = constant(0), constant(1)
        if self.name in ("tanh", "sigmoid", "softplus"):
            return apply(self.name, x)
        if self.name == "relu":
            return maximum(zero, x)
        if self.name == "affine":
            return add(multiply(x, constant(self.alpha)), constant(self.beta))
        if self.name == "hardsigmoid":
            return minimum(one, maximum(zero, add(multiply(x, constant(self.alpha)), constant(self.beta))))
        if self.name == "leakyrelu":
            return add(maximum(zero, x), multiply(constant(self.alpha), minimum(zero, x)))
        if self.name == "thresholdedrelu":
            return apply("where", apply("less", x, constant(self.alpha)), zero, x)
        if self.name == "scaledtanh":
            return multiply(constant(self.alpha), apply("tanh", multiply(constant(self.beta), x)))
        if self.name == "elu":
            return add(maximum(zero, x), multiply(constant(self.alpha), apply("expm1", minimum(zero, x))))
        if self.name == "softsign":
            return apply("divide", x, add(one, apply("absolute", x)))
        raise ValueError(f"no activation {self.name!r}")


DEFAULTS: Final[dict[str, tuple[float, float]]] = {
    "affine": (1.0, 0.0),
    "relu": (0.0, 0.0),
    "leakyrelu": (0.01, 0.0),
    "thresholdedrelu": (1.0, 0.0),
    "tanh": (0.0, 0.0),
    "scaledtanh": (1.0, 1.0),
    "sigmoid": (0.0, 0.0),
    "hardsigmoid": (0.2, 0.5),
    "elu": (1.0, 0.0),
    "softsign": (0.0, 0.0),
    "softplus": (0.0, 0.0),
}
"""alpha and beta of each activation where a model gives none."""

EMPTY: Final = Cell("none", 0, ())
"""No cell: what a problem has before it is given one."""

WITH_ALPHA: Final = frozenset({"affine", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu"})
"""The activations that have an alpha; the others skip the model's list."""

WITH_BETA: Final = frozenset({"affine", "scaledtanh", "hardsigmoid"})
"""The activations that have a beta."""

SIGMOID, TANH = Activation("sigmoid"), Activation("tanh")


def rnn(activations: Sequence[Activation] = (TANH,), clip: float = 0.0) -> Cell:
    """Returns ONNX's RNN cell."""
    return Cell("rnn", 1, (Phase((0,), ((HIDDEN, activations[0].of(_clipped(_sum(0), clip))),)),))


def lstm(activations: Sequence[Activation] = (SIGMOID, TANH, TANH), clip: float = 0.0, *, peepholes: bool) -> Cell:
    """Returns ONNX's LSTM cell; gates: input, output, forget, cell. With peepholes, vectors: input, output, forget."""
    gate, change, shown = activations
    state = operand(CELL)

    def opened(index: int) -> Expression:
        total = add(_sum(index), multiply(channel(index), state)) if peepholes else _sum(index)
        return gate.of(_clipped(total, clip))

    kept = multiply(opened(2), state)
    new = multiply(opened(0), change.of(_clipped(_sum(3), clip)))
    results = (CELL, add(kept, new)), (HIDDEN, multiply(opened(1), shown.of(state)))
    return Cell("lstm", 4, (Phase((0, 1, 2, 3), results),), 3 if peepholes else 0)


def gru(activations: Sequence[Activation] = (SIGMOID, TANH), clip: float = 0.0, *, linear_before_reset: bool) -> Cell:
    """Returns ONNX's GRU cell; gates: update, reset, hidden. Linear before reset: its vector is that product's bias."""
    gate, change = activations
    hidden, update, reset = operand(HIDDEN), gate.of(_clipped(_sum(0), clip)), gate.of(_clipped(_sum(1), clip))

    def mixed(new: Expression, share: Expression) -> Expression:
        return add(multiply(apply("subtract", constant(1), share), new), multiply(share, hidden))

    if linear_before_reset:
        linear = add(operand(INPUTS + 2), multiply(reset, add(_sum(2), channel(0))))
        new = change.of(_clipped(linear, clip))
        return Cell("gru", 3, (Phase((0, 1, 2), ((HIDDEN, mixed(new, update)),), apart=(2,)),), 1)
    first = Phase((0, 1), ((UPDATE, update), (GATED, multiply(reset, hidden))))
    second = Phase((2,), ((HIDDEN, mixed(change.of(_clipped(_sum(2), clip)), operand(UPDATE))),), source=GATED)
    return Cell("gru", 3, (first, second))


def _sum(gate: int) -> Expression:
    return operand(SUMS + gate)


def _clipped(x: Expression, clip: float) -> Expression:
    return maximum(constant(-clip), minimum(constant(clip), x)) if clip else x
