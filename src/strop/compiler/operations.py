"""Every operation an expression may hold: what it means, in numpy, and how it is emitted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from strop.compiler import activations, arithmetic, coarse_activations
from strop.compiler.arithmetic import compared, numeric
from strop.compiler.emit import Value


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operation means (numpy) and how it is emitted; `flops` a lane, for cost models.

    result: its dtype, "" for that of the last argument; condition: whether the first argument is a truth value.
    """

    arguments: int
    compute: Callable[..., np.ndarray]
    emit: Callable[..., Value]
    flops: int = 1
    result: str = ""
    condition: bool = False


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


def _each(function: Callable[[float], float]) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function for arrays, in the precision of the array."""
    vectorized = np.frompyfunc(function, 1, 1)
    return lambda x: np.asarray(vectorized(x), dtype=np.asarray(x).dtype)


_erf = _each(math.erf)


def _phi(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _quiet(compute: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Returns `compute` without numpy's warnings: infinities and NaN are results here."""

    def run(*arguments: Any) -> np.ndarray:
        with np.errstate(all="ignore"):
            return compute(*arguments)

    return run


OPERATIONS: Final[dict[str, Operation]] = {
    "add": Operation(2, np.add, numeric("fadd", "add")),
    "subtract": Operation(2, np.subtract, numeric("fsub", "sub")),
    "multiply": Operation(2, np.multiply, numeric("fmul", "mul")),
    "divide": Operation(2, np.divide, numeric("fdiv", "sdiv"), flops=16),
    "maximum": Operation(2, np.maximum, arithmetic.maximum),
    "minimum": Operation(2, np.minimum, arithmetic.minimum),
    "negative": Operation(1, np.negative, arithmetic.negative),
    "absolute": Operation(1, np.abs, arithmetic.absolute),
    "rint": Operation(1, np.rint, arithmetic.rint, flops=2),
    "floor": Operation(1, np.floor, arithmetic.floor, flops=2),
    "ceil": Operation(1, np.ceil, arithmetic.ceil, flops=2),
    "sqrt": Operation(1, _quiet(np.sqrt), arithmetic.square_root, flops=16),
    "equal": Operation(2, np.equal, compared("oeq", "eq"), result="bool"),
    "less": Operation(2, np.less, compared("olt", "slt"), result="bool"),
    "less_or_equal": Operation(2, np.less_equal, compared("ole", "sle"), result="bool"),
    "and": Operation(2, np.logical_and, lambda f, a, b: f.binary("and", a, b)),
    "or": Operation(2, np.logical_or, lambda f, a, b: f.binary("or", a, b)),
    "xor": Operation(2, np.logical_xor, lambda f, a, b: f.binary("xor", a, b)),
    "where": Operation(3, np.where, lambda f, c, a, b: f.select(c, a, b), condition=True),
    "exp": Operation(1, _quiet(np.exp), activations.exp, flops=15),
    "expm1": Operation(1, _quiet(np.expm1), activations.expm1, flops=15),
    "log": Operation(1, _quiet(np.log), activations.log, flops=24),
    "power": Operation(2, _quiet(np.power), activations.power, flops=60),
    "sin": Operation(1, _quiet(np.sin), activations.sin, flops=40),
    "cos": Operation(1, _quiet(np.cos), activations.cos, flops=40),
    "erf": Operation(1, _erf, activations.erf, flops=19),
    "tanh": Operation(1, np.tanh, activations.tanh, flops=19),
    "sigmoid": Operation(1, _quiet(_sigmoid), activations.sigmoid, flops=16),
    "silu": Operation(1, _quiet(lambda x: x * _sigmoid(x)), activations.silu, flops=17),
    "quick_gelu": Operation(1, _quiet(lambda x: x * _sigmoid(1.702 * x)), activations.quick_gelu, flops=17),
    "gelu": Operation(1, _quiet(lambda x: x * _each(_phi)(x)), activations.gelu, flops=23),
    "gelu_tanh": Operation(
        1,
        _quiet(lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
        activations.gelu_tanh,
        flops=20,
    ),
    "mish": Operation(1, _quiet(lambda x: x * np.tanh(_softplus(x))), activations.mish, flops=20),
    "softplus": Operation(1, _softplus, activations.softplus, flops=28),
    "hard_swish": Operation(1, _quiet(lambda x: x * np.clip(x / 6 + 0.5, 0, 1)), activations.hard_swish, flops=4),
    "coarse_sigmoid": Operation(1, _quiet(_sigmoid), coarse_activations.sigmoid, flops=11),
    "coarse_silu": Operation(1, _quiet(lambda x: x * _sigmoid(x)), coarse_activations.silu, flops=12),
    "coarse_gelu": Operation(1, _quiet(lambda x: x * _each(_phi)(x)), coarse_activations.gelu, flops=14),
}
"""Every operation, by name."""

COARSE: Final = {"sigmoid": "coarse_sigmoid", "silu": "coarse_silu", "gelu": "coarse_gelu"}
"""What is right to 12 bits, for results that become 8 bits at once."""
