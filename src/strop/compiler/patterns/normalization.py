"""Forms of normalizations that exporters write with several nodes; scales and shifts behind them fuse by themselves."""

from __future__ import annotations

import math

import onnx_ir

from strop.compiler.lowering.scope import NotCovered, Scope
from strop.compiler.lowering.statistics import add_normalization
from strop.compiler.patterns.match import Constants, Form, Match, constant, either, number, op, this
from strop.compiler.statistics import root_mean_square, standardization
from strop.passes.graph import input_at, int_attribute, ints_attribute, standard


def _keeps(node: onnx_ir.Node, constants: Constants) -> bool:
    """Whether a mean keeps its axes."""
    return bool(int_attribute(node, "keepdims", 1))


def _mean(of: Form) -> Form:
    return op("ReduceMean", of, where=_keeps)


def _square(of: Form) -> Form:
    return either(op("Pow", of, number(2)), op("Mul", of, of))


def _over_root(above: Form, below: Form) -> Form:
    """Returns above / sqrt(below + epsilon) as exporters write it."""
    root = op("Sqrt", op("Add", below, constant("epsilon")))
    return either(
        op("Div", above, root),
        op("Mul", above, either(op("Reciprocal", root), op("Div", number(1), root))),
        op("Mul", above, op("Pow", op("Add", below, constant("epsilon")), number(-0.5))),
    )


_X = this("x")
_CENTERED = op("Sub", _X, _mean(_X))

STANDARDIZATION: Form = _over_root(_CENTERED, _mean(_square(_CENTERED)))
ROOT_MEAN_SQUARE: Form = _over_root(_X, _mean(_square(_X)))


def lower_standardization(match: Match, output: onnx_ir.Value, scope: Scope) -> None:
    """Adds (x - mean) / sqrt(variance + epsilon) as one operation."""
    _lower(match, output, scope, is_centered=True)


def lower_root_mean_square(match: Match, output: onnx_ir.Value, scope: Scope) -> None:
    """Adds x / sqrt(mean of squares + epsilon) as one operation."""
    _lower(match, output, scope, is_centered=False)


def _lower(match: Match, output: onnx_ir.Value, scope: Scope, *, is_centered: bool) -> None:
    value = scope.floats(match.values["x"])
    epsilon = scope.need_constant(match.values["epsilon"], "the epsilon of a normalization")
    if epsilon.size != 1:
        raise NotCovered("an epsilon for each element")
    means = [node for node in match.nodes if standard(node, "ReduceMean")]
    axes = {_axes(node, scope, len(value.shape)) for node in means}
    if len(axes) != 1:
        raise NotCovered("a mean and a variance over other axes")
    wanted = axes.pop()
    count = math.prod(value.shape[axis] for axis in wanted)
    build = standardization if is_centered else root_mean_square
    add_normalization(scope, build(count, float(epsilon.reshape(()))), value.name, wanted, output)


def _axes(node: onnx_ir.Node, scope: Scope, rank: int) -> tuple[int, ...]:
    listed = input_at(node, 1)
    axes = ints_attribute(node, "axes")
    if listed is not None:
        axes = tuple(int(axis) for axis in scope.need_constant(listed, "the axes of a mean").reshape(-1))
    if not axes:
        raise NotCovered("a mean over all axes, or none")
    return tuple(sorted(axis % rank for axis in axes))
