"""Operators that work element by element: each is an expression of its operands."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import onnx
import onnx_ir

from strop.compiler.expressions import (
    LLVM_TYPES,
    Expression,
    add,
    apply,
    cast,
    channel,
    constant,
    maximum,
    minimum,
    multiply,
    operand,
)
from strop.compiler.layouts import Shape
from strop.compiler.levels import Compute, Value
from strop.compiler.lowering.scope import NotCovered, Scope
from strop.passes.graph import float_attribute, input_at, int_attribute

Build = Callable[[Expression, Expression], Expression]

_NUMBERS: Final = ("float32", "int64", "int32")
_MOST_AT_ONCE: Final = 8
"""Operands that one expression joins; of more, partial results are stored. The order of additions is the same."""

_WIDE: Final = ("int64", "int32")


def lower_binary(node: onnx_ir.Node, scope: Scope) -> None:
    """Operators of two operands, or of any number of them, with ONNX's broadcasting."""
    dtypes, build = BINARY[node.op_type]
    operands: list[Term] = list(node.inputs)
    while True:
        terms = Terms(scope, operands[:_MOST_AT_ONCE], dtypes)
        expression = functools.reduce(build, terms.leaves)
        del operands[:_MOST_AT_ONCE]
        if not operands:
            break
        operands.insert(0, terms.store(None, expression))
    if node.op_type == "Mean":
        expression = multiply(expression, constant(1 / len(node.inputs)))
    terms.store(node.outputs[0], expression)


def lower_unary(node: onnx_ir.Node, scope: Scope) -> None:
    """Relu, LeakyRelu, HardSigmoid and others that have one operand and numbers as attributes."""
    dtypes, build = UNARY[node.op_type]
    terms = Terms(scope, [node.inputs[0]], dtypes)
    terms.store(node.outputs[0], build(terms.leaves[0], node))


def lower_where(node: onnx_ir.Node, scope: Scope) -> None:
    """Where: elements of one or of the other."""
    terms = Terms(scope, list(node.inputs), tuple(LLVM_TYPES))
    terms.store(node.outputs[0], apply("where", *terms.leaves))


def lower_cast(node: onnx_ir.Node, scope: Scope) -> None:
    """Cast between float32, integers and truth values, to a type or to that of another value."""
    if node.op_type == "CastLike":
        other = node.inputs[1]
        known = scope.constant(other)
        wanted = scope.value(other).dtype if known is None else str(known.dtype)
    else:
        wanted = onnx.helper.tensor_dtype_to_np_dtype(int_attribute(node, "to", 1)).name
    if wanted not in LLVM_TYPES:
        raise NotCovered(f"values of {wanted}")
    array = scope.constant(node.inputs[0])
    if array is not None and str(array.dtype) in LLVM_TYPES:
        scope.set_constant(node.outputs[0], array.astype(wanted))
        return
    terms = Terms(scope, [node.inputs[0]], tuple(LLVM_TYPES))
    terms.store(node.outputs[0], cast(terms.leaves[0], wanted))


def lower_clip(node: onnx_ir.Node, scope: Scope) -> None:
    """Clip, its bounds attributes in old opsets, inputs since 11."""
    bounds = [input_at(node, index) for index in (1, 2)]
    given = [_number(scope, value) for value in bounds if value is not None]
    terms = Terms(scope, [node.inputs[0], *given], _NUMBERS)
    expression, *leaves = terms.leaves
    for value, name, build in zip(bounds, ("min", "max"), (maximum, minimum), strict=True):
        if value is not None:
            expression = build(leaves.pop(0), expression)
        elif name in node.attributes:
            expression = build(constant(float_attribute(node, name, 0)), expression)
    terms.store(node.outputs[0], expression)


def _number(scope: Scope, value: onnx_ir.Value) -> Term:
    """Returns a constant of one element without axes, which some exporters give it; other values as they are."""
    known = scope.constant(value)
    return value if known is None or known.size != 1 else known.reshape(())


def lower_power(node: onnx_ir.Node, scope: Scope) -> None:
    """Pow: products and roots where the exponent is a small constant."""
    terms = Terms(scope, list(node.inputs[:1]))
    exponent = scope.constant(node.inputs[1])
    if exponent is not None and exponent.size == 1 and math.prod(exponent.shape) == 1:
        value = scope.floats(node.inputs[0])
        if exponent.ndim <= len(value.shape):
            known = _constant_power(terms.leaves[0], float(exponent.reshape(())))
            if known is not None:
                terms.store(node.outputs[0], known)
                return
    both = Terms(scope, list(node.inputs), _NUMBERS)
    base, other = both.leaves
    if base.dtype != "float32":
        raise NotCovered(f"powers of {base.dtype}")
    both.store(node.outputs[0], apply("power", base, cast(other, "float32")))


def lower_prelu(node: onnx_ir.Node, scope: Scope) -> None:
    """PRelu: positive parts as they are, negative ones times a slope."""
    terms = Terms(scope, list(node.inputs))
    value, slope = terms.leaves
    terms.store(node.outputs[0], _where_positive(value, value, multiply(slope, value)))


def lower_activation(operation: str, source: onnx_ir.Value, output: onnx_ir.Value, scope: Scope) -> None:
    """Adds one operation of a float32 operand: what a pattern was recognized as."""
    terms = Terms(scope, [source])
    terms.store(output, apply(operation, terms.leaves[0]))


Term = onnx_ir.Value | str | np.ndarray | None
"""An operand: a value of the model, the name of one of the scope's, or a constant."""


class Terms:
    """The operands of a node as leaves: tensors, vectors along one axis, numbers; `dtypes`: which are taken."""

    def __init__(self, scope: Scope, terms: Sequence[Term], dtypes: Sequence[str] = ("float32",)) -> None:
        self.scope = scope
        self.inputs: list[str] = []
        self.channels: list[np.ndarray] = []
        values: list[Value | np.ndarray] = []
        for term in terms:
            if isinstance(term, str):
                values.append(scope.values[term])
            elif isinstance(term, np.ndarray):
                values.append(term)
            else:
                known = scope.constant(term)
                values.append(scope.value(term) if known is None else known)
        shapes = [value.shape for value in values]
        self.shape: Shape = tuple(int(size) for size in np.broadcast_shapes(*shapes))
        self.axis: int | None = None
        self.leaves = [self._leaf(value, dtypes) for value in values]

    def store(self, output: onnx_ir.Value | None, expression: Expression) -> str:
        """Adds the operation that computes `expression` and returns the name of its value."""
        axis = self.axis if self.axis is not None else (1 if len(self.shape) == 4 else -1)
        return self.scope.add(
            Compute(),
            self.inputs,
            self.shape,
            output=output,
            dtype=expression.dtype,
            epilogue=expression,
            channels=self.channels,
            axis=axis,
        )

    def _leaf(self, value: Value | np.ndarray, dtypes: Sequence[str]) -> Expression:
        rank, dtype = len(self.shape), str(value.dtype)
        if dtype not in dtypes:
            raise NotCovered(f"values of {dtype}")
        if isinstance(value, Value):
            return self._operand(value)
        spread = value.reshape((1,) * (rank - value.ndim) + value.shape)
        first = spread.reshape(-1)[0]
        if (spread == first).all():
            return constant(first.item(), dtype)
        axes = [axis for axis, size in enumerate(spread.shape) if size != 1]
        usual = (1,) if rank == 4 else (rank - 1,)
        is_vector = len(axes) == 1 and axes[0] in (*usual, rank - 1) and self.axis in (None, axes[0])
        if is_vector and dtype == "float32":
            self.axis = axes[0]
            self.channels.append(spread.reshape(-1))
            return channel(len(self.channels) - 1)
        return self._operand(self.scope.values[self.scope.make_constant(spread)])

    def _operand(self, value: Value) -> Expression:
        name = value.name
        if len(value.shape) < len(self.shape):
            name = self.scope.reshape(name, (1,) * (len(self.shape) - len(value.shape)) + value.shape)
        if name not in self.inputs:
            self.inputs.append(name)
        return operand(self.inputs.index(name), value.dtype)


# -- expressions of operators


def _where_positive(value: Expression, positive: Expression, other: Expression) -> Expression:
    return apply("where", apply("less", constant(0), value), positive, other)


def _hard_sigmoid(value: Expression, slope: float, shift: float) -> Expression:
    return minimum(constant(1), maximum(constant(0), add(multiply(value, constant(slope)), constant(shift))))


def _exponential(value: Expression, alpha: float, gamma: float = 1.0) -> Expression:
    """Returns gamma * value where that is positive, else gamma * alpha * (e**value - 1)."""
    negative = multiply(constant(gamma * alpha), apply("expm1", value))
    return _where_positive(value, value if gamma == 1 else multiply(constant(gamma), value), negative)


def _celu(value: Expression, node: onnx_ir.Node) -> Expression:
    alpha = float_attribute(node, "alpha", 1.0)
    negative = multiply(constant(alpha), apply("expm1", multiply(value, constant(1 / alpha))))
    return _where_positive(value, value, negative)


def _gelu(value: Expression, node: onnx_ir.Node) -> Expression:
    approximate = node.attributes.get("approximate")
    return apply("gelu_tanh" if approximate is not None and approximate.as_string() == "tanh" else "gelu", value)


def _swish(value: Expression, node: onnx_ir.Node) -> Expression:
    alpha = float_attribute(node, "alpha", 1.0)
    if alpha == 1:
        return apply("silu", value)
    return multiply(value, apply("sigmoid", multiply(constant(alpha), value)))


def _sign(value: Expression) -> Expression:
    negative = apply("where", apply("less", value, constant(0)), constant(-1), value)
    return _where_positive(value, constant(1), negative)


def _shrink(value: Expression, node: onnx_ir.Node) -> Expression:
    edge, bias = float_attribute(node, "lambd", 0.5), float_attribute(node, "bias", 0.0)
    above = apply("where", apply("less", constant(edge), value), add(value, constant(-bias)), constant(0))
    return apply("where", apply("less", value, constant(-edge)), add(value, constant(bias)), above)


def _is_infinite(value: Expression, node: onnx_ir.Node) -> Expression:
    above, below = int_attribute(node, "detect_positive", 1), int_attribute(node, "detect_negative", 1)
    if above and below:
        value = apply("absolute", value)
    return apply("equal", value, constant(math.inf if above else -math.inf))


def _constant_power(value: Expression, exponent: float) -> Expression | None:
    """Returns a power as products and roots, None where it is neither."""
    if exponent < 0:
        known = _constant_power(value, -exponent)
        return None if known is None else apply("divide", constant(1), known)
    if exponent in (0.5, 1.5):
        root = apply("sqrt", value)
        return root if exponent == 0.5 else multiply(value, root)
    if exponent not in (1, 2, 3, 4):
        return None
    square = multiply(value, value)
    return {1: value, 2: square, 3: multiply(square, value), 4: multiply(square, square)}[int(exponent)]


def _divide(a: Expression, b: Expression) -> Expression:
    """Returns a / b; a product where b is a constant: a division costs more than all the rest."""
    if a.dtype != "float32":
        raise NotCovered(f"a division of {a.dtype}")
    if b.operation == "constant" and 2.0**-125 <= abs(b.number) <= 2.0**125:
        return multiply(a, constant(1 / b.number))
    return apply("divide", a, b)


def _not(value: Expression) -> Expression:
    return apply("xor", value, constant(1, "bool"))


def _equal(a: Expression, b: Expression) -> Expression:
    return _not(apply("xor", a, b)) if a.dtype == "bool" else apply("equal", a, b)


def _of(operation: str) -> Callable[[Expression, onnx_ir.Node], Expression]:
    return lambda x, _: apply(operation, x)


_FLOAT: Final = ("float32",)
_TRUTH: Final = ("bool",)

UNARY: dict[str, tuple[Sequence[str], Callable[[Expression, onnx_ir.Node], Expression]]] = {
    "Relu": (_FLOAT, lambda x, _: maximum(constant(0), x)),
    "LeakyRelu": (
        _FLOAT,
        lambda x, node: _where_positive(x, x, multiply(constant(float_attribute(node, "alpha", 0.01)), x)),
    ),
    "ThresholdedRelu": (
        _FLOAT,
        lambda x, node: apply("where", apply("less", constant(float_attribute(node, "alpha", 1.0)), x), x, constant(0)),
    ),
    "Elu": (_FLOAT, lambda x, node: _exponential(x, float_attribute(node, "alpha", 1.0))),
    "Selu": (
        _FLOAT,
        lambda x, node: _exponential(
            x, float_attribute(node, "alpha", 1.67326319217681884), float_attribute(node, "gamma", 1.05070102214813232)
        ),
    ),
    "Celu": (_FLOAT, _celu),
    "HardSigmoid": (
        _FLOAT,
        lambda x, node: _hard_sigmoid(x, float_attribute(node, "alpha", 0.2), float_attribute(node, "beta", 0.5)),
    ),
    "HardSwish": (_FLOAT, _of("hard_swish")),
    "Gelu": (_FLOAT, _gelu),
    "Swish": (_FLOAT, _swish),
    "Mish": (_FLOAT, _of("mish")),
    "Softsign": (_FLOAT, lambda x, _: apply("divide", x, add(constant(1), apply("absolute", x)))),
    "Softplus": (_FLOAT, _of("softplus")),
    "Shrink": (_FLOAT, _shrink),
    "Sigmoid": (_FLOAT, _of("sigmoid")),
    "Tanh": (_FLOAT, _of("tanh")),
    "Erf": (_FLOAT, _of("erf")),
    "Exp": (_FLOAT, _of("exp")),
    "Log": (_FLOAT, _of("log")),
    "Sqrt": (_FLOAT, _of("sqrt")),
    "Sin": (_FLOAT, _of("sin")),
    "Cos": (_FLOAT, _of("cos")),
    "Floor": (_FLOAT, _of("floor")),
    "Ceil": (_FLOAT, _of("ceil")),
    "Round": (_FLOAT, _of("rint")),
    "Neg": (_NUMBERS, lambda x, _: apply("negative", x)),
    "Abs": (_NUMBERS, lambda x, _: apply("absolute", x)),
    "Sign": (_FLOAT, lambda x, _: _sign(x)),
    "Reciprocal": (_FLOAT, lambda x, _: apply("divide", constant(1), x)),
    "IsNaN": (_FLOAT, lambda x, _: _not(apply("equal", x, x))),
    "IsInf": (_FLOAT, _is_infinite),
    "Not": (_TRUTH, lambda x, _: _not(x)),
}
"""Of operators with one operand: the dtypes they take here, and their expressions."""

BINARY: dict[str, tuple[Sequence[str], Build]] = {
    "Add": (_NUMBERS, add),
    "Sum": (_FLOAT, add),
    "Mean": (_FLOAT, add),
    "Sub": (_NUMBERS, lambda a, b: apply("subtract", a, b)),
    "Mul": (_NUMBERS, multiply),
    "Div": (_NUMBERS, _divide),
    "Max": (_NUMBERS, maximum),
    "Min": (_NUMBERS, minimum),
    "Equal": ((*_NUMBERS, *_TRUTH), _equal),
    "Less": (_NUMBERS, lambda a, b: apply("less", a, b)),
    "LessOrEqual": (_NUMBERS, lambda a, b: apply("less_or_equal", a, b)),
    "Greater": (_NUMBERS, lambda a, b: apply("less", b, a)),
    "GreaterOrEqual": (_NUMBERS, lambda a, b: apply("less_or_equal", b, a)),
    "And": (_TRUTH, lambda a, b: apply("and", a, b)),
    "Or": (_TRUTH, lambda a, b: apply("or", a, b)),
    "Xor": (_TRUTH, lambda a, b: apply("xor", a, b)),
}
"""Of operators with two operands, or any number of them: the dtypes they take here, and their expressions."""
