"""Reductions, softmax, normalizations, and the place of the largest: statistics of groups of elements."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir

from strop.compiler.expressions import add, constant, multiply, operand
from strop.compiler.layouts import Shape
from strop.compiler.levels import Extreme, Reduce
from strop.compiler.lowering.pointwise import Term, Terms
from strop.compiler.lowering.pooling import lower_image_mean
from strop.compiler.lowering.scope import NotCovered, Scope
from strop.compiler.statistics import (
    Program,
    log_softmax,
    reduction,
    root_mean_square,
    softmax,
    standardization,
    unit_norm,
)
from strop.passes.graph import float_attribute, input_at, int_attribute, ints_attribute


def lower_reduction(node: onnx_ir.Node, scope: Scope) -> None:
    """ReduceSum, ReduceMean and the others, over any axes."""
    value = scope.floats(node.inputs[0])
    listed, rank = input_at(node, 1), len(value.shape)
    axes: Sequence[int] = ints_attribute(node, "axes")
    if listed is not None:
        axes = [int(axis) for axis in scope.need_constant(listed, "the axes of a reduction").reshape(-1)]
    if not len(axes) and int_attribute(node, "noop_with_empty_axes", 0):
        if node.op_type not in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"):
            raise NotCovered("a reduction over no axes")
        scope.alias(node.outputs[0], value.name)
        return
    name = node.op_type.removeprefix("Reduce")
    wanted = tuple(sorted({axis % rank for axis in axes} if len(axes) else range(rank)))
    if not wanted:
        raise NotCovered("a reduction of a single number")
    shape = tuple(1 if axis in wanted else extent for axis, extent in enumerate(value.shape))
    keeps = bool(int_attribute(node, "keepdims", 1))
    output = node.outputs[0] if keeps else None
    if name == "Mean" and rank == 4 and wanted == (2, 3):
        found = lower_image_mean(value.name, scope, output)
    else:
        count = math.prod(value.shape[axis] for axis in wanted)
        found = _add(scope, reduction(name, count), value.name, wanted, shape, output)
    if not keeps:
        rest = tuple(extent for axis, extent in enumerate(value.shape) if axis not in wanted)
        scope.reshape(found, rest, output=node.outputs[0])


def lower_softmax(node: onnx_ir.Node, scope: Scope) -> None:
    """Softmax and LogSoftmax along one axis; before opset 13 over all axes from there on."""
    value = scope.floats(node.inputs[0])
    rank = len(value.shape)
    is_old = opset_of(node) < 13
    axis = int_attribute(node, "axis", 1 if is_old else -1) % rank
    axes = tuple(range(axis, rank)) if is_old else (axis,)
    program = softmax() if node.op_type == "Softmax" else log_softmax()
    _add(scope, program, value.name, axes, value.shape, node.outputs[0])


def lower_layer_normalization(node: onnx_ir.Node, scope: Scope) -> None:
    """LayerNormalization and RMSNormalization over the axes from one on, then a scale and a shift."""
    value = scope.floats(node.inputs[0])
    rank = len(value.shape)
    axes = tuple(range(int_attribute(node, "axis", -1) % rank, rank))
    count = math.prod(value.shape[axis] for axis in axes)
    build = standardization if node.op_type == "LayerNormalization" else root_mean_square
    program = build(count, float_attribute(node, "epsilon", 1e-5))
    one = tuple(1 if axis in axes else extent for axis, extent in enumerate(value.shape))
    for place, output in enumerate(node.outputs[1:], 1):  # the mean, and one over the deviation
        if output.uses() or output.is_graph_output():
            statistics = Program(f"{program.name}, statistic {place}", program.statistics[:place])
            _add(scope, statistics, value.name, axes, one, output)
    found = _add(scope, program, value.name, axes, value.shape, None)
    scale_and_shift(scope, found, [input_at(node, 1), input_at(node, 2)], node.outputs[0])


def lower_instance_normalization(node: onnx_ir.Node, scope: Scope) -> None:
    """InstanceNormalization: each channel of each image by itself, then a scale and a shift a channel."""
    value = scope.floats(node.inputs[0])
    axes = tuple(range(2, len(value.shape)))
    count = math.prod(value.shape[2:])
    program = standardization(count, float_attribute(node, "epsilon", 1e-5))
    found = _add(scope, program, value.name, axes, value.shape, None, axis=1)
    vectors = [scope.need_constant(node.inputs[place], "the scale of a normalization") for place in (1, 2)]
    scale_and_shift(scope, found, [_per_channel(vector, value.shape) for vector in vectors], node.outputs[0])


def lower_mean_variance_normalization(node: onnx_ir.Node, scope: Scope) -> None:
    """MeanVarianceNormalization: over an image's rows and columns of all images, or the axes given."""
    value = scope.floats(node.inputs[0])
    axes = tuple(sorted(axis % len(value.shape) for axis in ints_attribute(node, "axes") or (0, 2, 3)))
    count = math.prod(value.shape[axis] for axis in axes)
    # ONNX adds 1e-9 to the deviation, which is next to its square in the variance.
    _add(scope, standardization(count, 1e-18), value.name, axes, value.shape, node.outputs[0])


def lower_group_normalization(node: onnx_ir.Node, scope: Scope) -> None:
    """GroupNormalization: groups of channels; scale and shift for each group before opset 21, then for each channel."""
    value = scope.floats(node.inputs[0])
    groups, channels = int_attribute(node, "num_groups", 1), value.shape[1]
    axes = tuple(range(1, len(value.shape)))
    count = math.prod(value.shape[1:]) // groups
    program = standardization(count, float_attribute(node, "epsilon", 1e-5))
    found = _add(scope, program, value.name, axes, value.shape, None, groups=groups, axis=1)
    vectors = [scope.need_constant(node.inputs[place], "the scale of a normalization") for place in (1, 2)]
    spread = [np.repeat(vector, channels // vector.size) for vector in vectors]
    scale_and_shift(scope, found, [_per_channel(vector, value.shape) for vector in spread], node.outputs[0])


def lower_lp_normalization(node: onnx_ir.Node, scope: Scope) -> None:
    """LpNormalization: by the sum of absolute values or the root of the sum of squares along one axis."""
    value = scope.floats(node.inputs[0])
    axis = int_attribute(node, "axis", -1) % len(value.shape)
    _add(scope, unit_norm(int_attribute(node, "p", 2)), value.name, (axis,), value.shape, node.outputs[0])


def lower_place(node: onnx_ir.Node, scope: Scope) -> None:
    """ArgMax and ArgMin along one axis."""
    value = scope.floats(node.inputs[0])
    axis = int_attribute(node, "axis", 0) % len(value.shape)
    core = Extreme(axis, node.op_type == "ArgMax", bool(int_attribute(node, "select_last_index", 0)))
    shape = tuple(1 if each == axis else extent for each, extent in enumerate(value.shape))
    keeps = bool(int_attribute(node, "keepdims", 1))
    found = scope.add(
        core,
        [value.name],
        shape,
        output=node.outputs[0] if keeps else None,
        dtype="int64",
        epilogue=operand(0, "int64"),
        axis=_axis(shape),
    )
    if not keeps:
        rest = tuple(extent for each, extent in enumerate(value.shape) if each != axis)
        scope.reshape(found, rest, output=node.outputs[0])


def add_normalization(
    scope: Scope, program: Program, source: str, axes: Sequence[int], output: onnx_ir.Value | None
) -> str:
    """Adds a normalization of a value and returns the name of its value."""
    return _add(scope, program, source, tuple(sorted(axes)), scope.values[source].shape, output)


def scale_and_shift(scope: Scope, source: str, vectors: Sequence[Term], output: onnx_ir.Value) -> None:
    """Adds source * vectors[0] + vectors[1], of which those that are left out do nothing."""
    given = [vector for vector in vectors if vector is not None]
    terms = Terms(scope, [source, *given])
    expression, *leaves = terms.leaves
    for vector, build, nothing in zip(vectors, (multiply, add), (constant(1), constant(0)), strict=False):
        if vector is not None:
            leaf = leaves.pop(0)
            expression = expression if leaf == nothing else build(expression, leaf)
    terms.store(output, expression)


def opset_of(node: onnx_ir.Node) -> int:
    """Returns the version of ONNX's operators that the node's graph uses."""
    graph = node.graph
    return 13 if graph is None else graph.opset_imports.get("", 13)


def _add(
    scope: Scope,
    program: Program,
    source: str,
    axes: tuple[int, ...],
    shape: Shape,
    output: onnx_ir.Value | None,
    *,
    groups: int = 1,
    axis: int | None = None,
) -> str:
    core = Reduce(program, axes, scope.values[source].shape, groups)
    if axis is None:
        axis = -1 if len(shape) - 1 in axes and 1 not in axes else _axis(shape)
    return scope.add(core, [source], shape, output=output, axis=axis)


def _axis(shape: Shape) -> int:
    return 1 if len(shape) == 4 else -1


def _per_channel(vector: np.ndarray, shape: Shape) -> np.ndarray:
    return vector.reshape(-1, *(1,) * (len(shape) - 2))
