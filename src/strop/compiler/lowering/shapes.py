"""Operators that move or look at data without computing: reshapes, transpositions, slices, concatenations, padding."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir

from strop.compiler.layouts import Shape
from strop.compiler.levels import Concatenate, Slice, Transpose, Value
from strop.compiler.lowering.movement import pad_by_copies, reversed_slice
from strop.compiler.lowering.scope import NotCovered, Scope
from strop.passes.graph import float_attribute, input_at, int_attribute, ints_attribute


def lower_alias(node: onnx_ir.Node, scope: Scope) -> None:
    """Identity, Dropout at inference: another name."""
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        raise NotCovered("a Dropout that gives its mask")
    training = node.inputs[2] if len(node.inputs) > 2 else None
    if training is not None and scope.need_constant(training, "training_mode").any():
        raise NotCovered("a Dropout in training")
    scope.alias(node.outputs[0], scope.value(node.inputs[0]).name)


def lower_reshape(node: onnx_ir.Node, scope: Scope) -> None:
    """Reshape to a constant shape; 0 keeps a size, -1 is what remains."""
    value = scope.value(node.inputs[0])
    wanted = [int(size) for size in scope.need_constant(node.inputs[1], "the shape of a Reshape").reshape(-1)]
    if not int_attribute(node, "allowzero", 0):
        wanted = [value.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    known = math.prod(size for size in wanted if size != -1)
    total = math.prod(value.shape)
    shape = tuple(total // max(known, 1) if size == -1 else size for size in wanted)
    if math.prod(shape) != total:
        raise NotCovered("a Reshape that does not fit")
    scope.reshape(value.name, shape, output=node.outputs[0])


def lower_flatten(node: onnx_ir.Node, scope: Scope) -> None:
    """Flatten to two axes."""
    value = scope.value(node.inputs[0])
    axis = int_attribute(node, "axis", 1)
    axis = axis + len(value.shape) if axis < 0 else axis
    shape = (math.prod(value.shape[:axis]), math.prod(value.shape[axis:]))
    scope.reshape(value.name, shape, output=node.outputs[0])


def lower_squeeze(node: onnx_ir.Node, scope: Scope) -> None:
    """Squeeze: axes of size 1 go."""
    value = scope.value(node.inputs[0])
    rank = len(value.shape)
    axes = _axes(node, scope, rank) or {axis for axis, size in enumerate(value.shape) if size == 1}
    shape = tuple(size for axis, size in enumerate(value.shape) if axis not in axes)
    scope.reshape(value.name, shape, output=node.outputs[0])


def lower_unsqueeze(node: onnx_ir.Node, scope: Scope) -> None:
    """Unsqueeze: axes of size 1 come."""
    value = scope.value(node.inputs[0])
    listed = input_at(node, 1)
    count = len(ints_attribute(node, "axes") if listed is None else scope.need_constant(listed, "axes").reshape(-1))
    rank = len(value.shape) + count
    axes, sizes = _axes(node, scope, rank), iter(value.shape)
    scope.reshape(value.name, tuple(1 if axis in axes else next(sizes) for axis in range(rank)), output=node.outputs[0])


def lower_transpose(node: onnx_ir.Node, scope: Scope) -> None:
    """Transpose: a view with its strides in another order."""
    value = scope.value(node.inputs[0])
    rank = len(value.shape)
    permutation = ints_attribute(node, "perm") or tuple(reversed(range(rank)))
    shape = tuple(value.shape[axis] for axis in permutation)
    if [axis for axis in permutation if value.shape[axis] != 1] == [a for a in range(rank) if value.shape[a] != 1]:
        scope.reshape(value.name, shape, output=node.outputs[0])
        return
    scope.add(Transpose(permutation), [value.name], shape, output=node.outputs[0], dtype=value.dtype)


def lower_slice(node: onnx_ir.Node, scope: Scope) -> None:
    """Slice with constant bounds: a view, unless it goes backwards."""
    value = scope.value(node.inputs[0])
    lists = [ints_attribute(node, name) for name in ("starts", "ends", "axes", "steps")]
    for index in range(1, len(node.inputs)):
        if node.inputs[index] is not None:
            array = scope.need_constant(node.inputs[index], "the bounds of a Slice")
            lists[index - 1] = tuple(int(number) for number in array.reshape(-1))
    starts, ends, axes, steps = lists
    chosen = [range(size) for size in value.shape]
    for place, axis in enumerate(axes or range(len(starts))):
        chosen[axis] = chosen[axis][starts[place] : ends[place] : steps[place] if steps else 1]
    if not all(map(len, chosen)):
        raise NotCovered("a value without elements")
    if any(each.step < 0 for each in chosen):
        reversed_slice(scope, value.name, chosen, node.outputs[0])
        return
    begin, step, count = (
        tuple(part) for part in zip(*((each.start, each.step, len(each)) for each in chosen), strict=True)
    )
    _add_slice(scope, value.name, begin, step, count, node.outputs[0])


def lower_split(node: onnx_ir.Node, scope: Scope) -> None:
    """Split: a slice for each output."""
    value = scope.value(node.inputs[0])
    axis = int_attribute(node, "axis", 0) % len(value.shape)
    listed = input_at(node, 1)
    sizes = ints_attribute(node, "split")
    if listed is not None:
        sizes = tuple(int(size) for size in scope.need_constant(listed, "the sizes of a Split").reshape(-1))
    if not sizes:
        each = math.ceil(value.shape[axis] / len(node.outputs))
        sizes = tuple(min(each, value.shape[axis] - each * i) for i in range(len(node.outputs)))
    start = 0
    for output, size in zip(node.outputs, sizes, strict=True):
        begin = tuple(start if i == axis else 0 for i in range(len(value.shape)))
        shape = tuple(size if i == axis else extent for i, extent in enumerate(value.shape))
        _add_slice(scope, value.name, begin, (1,) * len(shape), shape, output)
        start += size


def lower_concatenate(node: onnx_ir.Node, scope: Scope) -> None:
    """Concat: its inputs are written side by side."""
    values = [scope.value(value) for value in node.inputs]
    rank = len(values[0].shape)
    axis = int_attribute(node, "axis", 0) % rank
    shape = list(values[0].shape)
    shape[axis] = sum(value.shape[axis] for value in values)
    if len(values) == 1:
        scope.alias(node.outputs[0], values[0].name)
        return
    names = [value.name for value in values]
    scope.add(Concatenate(axis), names, tuple(shape), output=node.outputs[0], dtype=values[0].dtype, axis=axis)


def lower_pad(node: onnx_ir.Node, scope: Scope) -> None:
    """Pad: the value between constant blocks, or between copies of its own parts, axis by axis."""
    attribute = node.attributes.get("mode")
    mode = "constant" if attribute is None else attribute.as_string()
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise NotCovered(f"padding by {mode}")
    value = scope.value(node.inputs[0])
    rank = len(value.shape)
    pads = ints_attribute(node, "pads") or ints_attribute(node, "paddings")
    if len(node.inputs) > 1:
        pads = tuple(int(n) for n in scope.need_constant(node.inputs[1], "the sizes of a Pad").reshape(-1))
    fill = np.array(float_attribute(node, "value", 0.0)).astype(value.dtype)
    if input_at(node, 2) is not None:
        fill = scope.need_constant(node.inputs[2], "the value of a Pad").reshape(())
    axes = list(range(rank))
    if input_at(node, 3) is not None:
        axes = [int(a) % rank for a in scope.need_constant(node.inputs[3], "the axes of a Pad").reshape(-1)]
    if min(pads, default=0) < 0:
        value, pads = _cropped(scope, value.name, axes, pads)
    padded = [(axis, pads[i], pads[len(axes) + i]) for i, axis in enumerate(axes) if pads[i] or pads[len(axes) + i]]
    name, shape = value.name, value.shape
    if padded and mode != "constant":
        pad_by_copies(scope, name, padded, mode, node.outputs[0])
        return
    for place, (axis, before, behind) in enumerate(padded):
        blocks = [tuple(n if i == axis else size for i, size in enumerate(shape)) for n in (before, behind)]
        fills = [scope.make_constant(np.broadcast_to(fill, block)) for block in blocks if block[axis]]
        parts = [*fills[: 1 if before else 0], name, *fills[1 if before else 0 :]]
        shape = tuple(size + before + behind if i == axis else size for i, size in enumerate(shape))
        last = place == len(padded) - 1
        output = node.outputs[0] if last else None
        name = scope.add(Concatenate(axis), parts, shape, output=output, dtype=value.dtype, axis=axis)
    if not padded:
        scope.alias(node.outputs[0], name)


def _cropped(scope: Scope, source: str, axes: Sequence[int], pads: tuple[int, ...]) -> tuple[Value, tuple[int, ...]]:
    """Returns the value without what negative padding takes away, and the padding that remains."""
    value, count = scope.values[source], len(axes)
    begin, sizes = [0] * len(value.shape), list(value.shape)
    for place, axis in enumerate(axes):
        begin[axis] = max(0, -pads[place])
        sizes[axis] -= begin[axis] + max(0, -pads[count + place])
    if min(sizes) < 1:
        raise NotCovered("a value without elements")
    name = scope.add(Slice(tuple(begin), (1,) * len(sizes)), [source], tuple(sizes), dtype=value.dtype)
    return scope.values[name], tuple(max(0, pad) for pad in pads)


def lower_shape(node: onnx_ir.Node, scope: Scope) -> None:
    """Shape and Size of a value, which are known."""
    shape = scope.value(node.inputs[0]).shape
    if node.op_type == "Size":
        scope.set_constant(node.outputs[0], np.array(math.prod(shape), np.int64))
        return
    end = node.attributes.get("end")
    chosen = shape[int_attribute(node, "start", 0) : None if end is None else end.as_int()]
    scope.set_constant(node.outputs[0], np.array(chosen, np.int64))


def _add_slice(scope: Scope, source: str, starts: Shape, steps: Shape, shape: Shape, output: onnx_ir.Value) -> None:
    value = scope.values[source]
    if shape == value.shape:
        scope.alias(output, source)
    else:
        scope.add(Slice(starts, steps), [source], shape, output=output, dtype=value.dtype)


def _axes(node: onnx_ir.Node, scope: Scope, rank: int) -> set[int]:
    listed = input_at(node, 1)
    axes = ints_attribute(node, "axes")
    if listed is not None:
        axes = tuple(int(axis) for axis in scope.need_constant(listed, "the axes").reshape(-1))
    return {axis % rank for axis in axes}
