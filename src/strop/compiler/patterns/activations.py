"""Forms of activations that exporters write with several nodes."""

from __future__ import annotations

import math

import onnx_ir

from strop.compiler.patterns.match import Constants, Form, either, number, op, this
from strop.passes.graph import float_attribute

_X = this("x")


def _is_six(node: onnx_ir.Node, constants: Constants) -> bool:
    """Whether a Clip is between 0 and 6."""
    bounds = [constants(value) if value is not None else None for value in node.inputs[1:3]]
    given = [None if array is None else float(array.reshape(())) for array in bounds]
    given += [None] * (2 - len(given))
    low = given[0] if given[0] is not None else float_attribute(node, "min", -math.inf)
    high = given[1] if given[1] is not None else float_attribute(node, "max", math.inf)
    return (low, high) == (0, 6)


def _is_sixth(node: onnx_ir.Node, constants: Constants) -> bool:
    """Whether a HardSigmoid has the slope and shift of a hard swish."""
    slope, shift = float_attribute(node, "alpha", 0.2), float_attribute(node, "beta", 0.5)
    return abs(slope - 1 / 6) < 1e-5 and shift == 0.5


def _scaled(form: Form, factor: float) -> Form:
    return either(op("Mul", form, number(factor)), op("Div", form, number(1 / factor)))


def _halved(plus_one: Form) -> Form:
    """Returns x / 2 * plus_one in all orders."""
    return either(
        _scaled(op("Mul", _X, plus_one), 0.5),
        op("Mul", _X, _scaled(plus_one, 0.5)),
        op("Mul", _scaled(_X, 0.5), plus_one),
    )


_SQUARE = either(op("Mul", _X, _X), op("Pow", _X, number(2)))
_CUBE = either(op("Pow", _X, number(3)), op("Mul", _X, _SQUARE))
_ROOT = math.sqrt(2 / math.pi)
_INNER = either(
    _scaled(op("Add", _X, _scaled(_CUBE, 0.044715)), _ROOT),
    op("Mul", _X, _scaled(op("Add", _scaled(_SQUARE, 0.044715), number(1)), _ROOT)),
    op("Mul", _scaled(_X, _ROOT), op("Add", _scaled(_SQUARE, 0.044715), number(1))),
)
_SIX = op("Clip", op("Add", _X, number(3)), where=_is_six)

ACTIVATIONS: dict[str, Form] = {
    "silu": op("Mul", _X, op("Sigmoid", _X)),
    "quick_gelu": op("Mul", _X, op("Sigmoid", op("Mul", _X, number(1.702)))),
    "gelu": _halved(op("Add", op("Erf", _scaled(_X, math.sqrt(0.5))), number(1))),
    "gelu_tanh": _halved(op("Add", op("Tanh", _INNER), number(1))),
    "mish": op("Mul", _X, op("Tanh", op("Softplus", _X))),
    "hard_swish": either(
        op("Mul", _X, op("HardSigmoid", _X, where=_is_sixth)),
        op("Mul", _X, _scaled(_SIX, 1 / 6)),
        _scaled(op("Mul", _X, _SIX), 1 / 6),
        op("Mul", _scaled(_X, 1 / 6), _SIX),
    ),
}
"""The operation of an expression that each form is."""
