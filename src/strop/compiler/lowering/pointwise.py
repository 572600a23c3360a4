"""Operators that work element by element: each is an expression of its operands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir

from strop.compiler.expressions import Expression, add, apply, channel, constant, maximum, minimum, multiply, operand
from strop.compiler.layouts import Shape
from strop.compiler.levels import Compute, Value
from strop.compiler.lowering.scope import NotCovered, Scope
from strop.passes.graph import float_attribute, input_at

Build = Callable[..., Expression]


def lower_binary(node: onnx_ir.Node, scope: Scope) -> None:
    """Add, Sub, Mul, Div of two; Max, Min, Sum of any number; with ONNX's broadcasting."""
    build = BINARY[node.op_type]
    terms = _Terms(scope, list(node.inputs))
    expression = terms.leaves[0]
    for leaf in terms.leaves[1:]:
        expression = build(expression, leaf)
    terms.store(node.outputs[0], expression)


def lower_unary(node: onnx_ir.Node, scope: Scope) -> None:
    """Relu, LeakyRelu, HardSigmoid and others that have one operand and numbers as attributes."""
    terms = _Terms(scope, [node.inputs[0]])
    terms.store(node.outputs[0], UNARY[node.op_type](terms.leaves[0], node))


def lower_clip(node: onnx_ir.Node, scope: Scope) -> None:
    """Clip between constants, attributes in old opsets, inputs since 11."""
    expression = (terms := _Terms(scope, [node.inputs[0]])).leaves[0]
    low, high = (_bound(node, scope, index, name) for index, name in ((1, "min"), (2, "max")))
    if low is not None:
        expression = maximum(constant(low), expression)
    if high is not None:
        expression = minimum(constant(high), expression)
    terms.store(node.outputs[0], expression)


def lower_prelu(node: onnx_ir.Node, scope: Scope) -> None:
    """PRelu: positive parts as they are, negative ones times a slope."""
    terms = _Terms(scope, list(node.inputs))
    value, slope = terms.leaves
    zero = constant(0)
    terms.store(node.outputs[0], add(maximum(zero, value), multiply(slope, minimum(zero, value))))


def _bound(node: onnx_ir.Node, scope: Scope, index: int, name: str) -> float | None:
    given = input_at(node, index)
    if given is not None:
        return float(scope.need_constant(given, f"{name} of a Clip").reshape(()))
    return float_attribute(node, name, 0) if name in node.attributes else None


class _Terms:
    """The operands of a node as leaves: tensors, vectors along one axis, numbers."""

    def __init__(self, scope: Scope, values: Sequence[onnx_ir.Value | None]) -> None:
        self.scope = scope
        self.inputs: list[str] = []
        self.channels: list[np.ndarray] = []
        arrays = [scope.constant(value) for value in values]
        shapes = [scope.value(v).shape if a is None else a.shape for a, v in zip(arrays, values, strict=True)]
        self.shape: Shape = tuple(int(size) for size in np.broadcast_shapes(*shapes))
        self.axis: int | None = None
        self.leaves = [self._leaf(value, array) for value, array in zip(values, arrays, strict=True)]

    def store(self, output: onnx_ir.Value, expression: Expression) -> None:
        """Adds the operation that computes `expression`."""
        axis = self.axis if self.axis is not None else (1 if len(self.shape) == 4 else -1)
        self.scope.add(
            Compute(),
            self.inputs,
            self.shape,
            output=output,
            epilogue=expression,
            channels=self.channels,
            axis=axis,
        )

    def _leaf(self, value: onnx_ir.Value | None, array: np.ndarray | None) -> Expression:
        rank = len(self.shape)
        if array is None:
            return self._operand(self.scope.floats(value))
        if array.dtype != np.float32:
            raise NotCovered(f"values of {array.dtype}")
        spread = array.reshape((1,) * (rank - array.ndim) + array.shape)
        if spread.size == 1:
            return constant(float(spread.reshape(())))
        axes = [axis for axis, size in enumerate(spread.shape) if size != 1]
        usual = (1,) if rank == 4 else (rank - 1,)
        if len(axes) == 1 and axes[0] in (*usual, rank - 1) and self.axis in (None, axes[0]):
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
        return operand(self.inputs.index(name))


def _leaky(value: Expression, node: onnx_ir.Node) -> Expression:
    slope = constant(float_attribute(node, "alpha", 0.01))
    return add(maximum(constant(0), value), multiply(slope, minimum(constant(0), value)))


def _hard_sigmoid(value: Expression, slope: float, shift: float) -> Expression:
    return minimum(constant(1), maximum(constant(0), add(multiply(value, constant(slope)), constant(shift))))


UNARY: dict[str, Callable[[Expression, onnx_ir.Node], Expression]] = {
    "Relu": lambda x, _: maximum(constant(0), x),
    "LeakyRelu": _leaky,
    "Neg": lambda x, _: multiply(x, constant(-1)),
    "Abs": lambda x, _: maximum(x, multiply(x, constant(-1))),
    "Reciprocal": lambda x, _: apply("divide", constant(1), x),
    "Round": lambda x, _: apply("rint", x),
    "HardSigmoid": lambda x, node: _hard_sigmoid(
        x, float_attribute(node, "alpha", 0.2), float_attribute(node, "beta", 0.5)
    ),
    "HardSwish": lambda x, _: multiply(x, _hard_sigmoid(x, 1 / 6, 0.5)),
}
"""Expressions of operators with one operand."""

BINARY: dict[str, Build] = {
    "Add": add,
    "Sum": add,
    "Sub": lambda a, b: apply("subtract", a, b),
    "Mul": multiply,
    "Div": lambda a, b: apply("divide", a, b),
    "Max": maximum,
    "Min": minimum,
}
"""Expressions of operators with two operands, or any number of them."""
