"""Operators that bring elements to other places: gathers, repetition, padding by what is there, blocks of pixels."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir

from strop.compiler.expressions import LLVM_TYPES, apply, constant, operand
from strop.compiler.layouts import Shape
from strop.compiler.levels import Compute, Concatenate, Gather, Slice, Transpose
from strop.compiler.lowering.scope import NotCovered, Scope
from strop.passes.graph import input_at, int_attribute


def lower_gather(node: onnx_ir.Node, scope: Scope) -> None:
    """Gather: whole parts along one axis; numbers that never change and are evenly spaced make it a slice."""
    value = scope.value(node.inputs[0])
    axis = int_attribute(node, "axis", 0) % len(value.shape)
    known = scope.constant(node.inputs[1])
    if known is not None:
        add_gather(scope, value.name, known, axis, node.outputs[0])
        return
    indices = _indices(scope, node.inputs[1])
    _gather(scope, value.name, indices, axis, node.outputs[0])


def add_gather(scope: Scope, source: str, numbers: np.ndarray, axis: int, output: onnx_ir.Value | None) -> str:
    """Adds the gather of constant `numbers` along an axis, as a view where it is one."""
    value = scope.values[source]
    rank, extent = len(value.shape), value.shape[axis]
    places = np.where(numbers < 0, numbers + extent, numbers).astype(np.int64).reshape(-1)
    if not places.size:
        raise NotCovered("a value without elements")
    if places.min() < 0 or places.max() >= extent:
        raise NotCovered("places outside of what is gathered from")
    shape = (*value.shape[:axis], *numbers.shape, *value.shape[axis + 1 :])
    step = int(places[1] - places[0]) if places.size > 1 else 1
    if step > 0 and (np.diff(places) == step).all():
        flat = (*value.shape[:axis], places.size, *value.shape[axis + 1 :])
        starts = tuple(int(places[0]) if i == axis else 0 for i in range(rank))
        steps = tuple(step if i == axis else 1 for i in range(rank))
        if flat == shape and flat != value.shape:
            return scope.add(Slice(starts, steps), [source], flat, output=output, dtype=value.dtype)
        if flat != value.shape:
            source = scope.add(Slice(starts, steps), [source], flat, dtype=value.dtype)
        return scope.reshape(source, shape, output=output)
    return _gather(scope, source, scope.make_constant(places.reshape(numbers.shape)), axis, output)


def _gather(scope: Scope, source: str, indices: str, axis: int, output: onnx_ir.Value | None) -> str:
    value, places = scope.values[source], scope.values[indices].shape
    before, many, after = range(axis), range(len(places)), range(axis + 1, len(value.shape))
    core = Gather(
        (*before, *(-1 for _ in many), *after),
        (*(-1 for _ in before), *many, *(-1 for _ in after)),
        (axis,),
    )
    shape = (*value.shape[:axis], *places, *value.shape[axis + 1 :])
    return _add(scope, core, [source, indices], shape, output)


def lower_gather_elements(node: onnx_ir.Node, scope: Scope) -> None:
    """GatherElements: each element of the indices names one along an axis."""
    value, indices = scope.value(node.inputs[0]), _indices(scope, node.inputs[1])
    shape = scope.values[indices].shape
    axis = int_attribute(node, "axis", 0) % len(value.shape)
    own = tuple(-1 if i == axis else i for i in range(len(shape)))
    _add(scope, Gather(own, tuple(range(len(shape))), (axis,)), [value.name, indices], shape, node.outputs[0])


def lower_gather_nd(node: onnx_ir.Node, scope: Scope) -> None:
    """GatherND: tuples of places along the first axes behind the batch."""
    value, indices = scope.value(node.inputs[0]), _indices(scope, node.inputs[1])
    places = scope.values[indices].shape
    batch, count = int_attribute(node, "batch_dims", 0), places[-1]
    behind = range(batch + count, len(value.shape))
    named = len(places) - 1
    core = Gather(
        tuple(i if i < batch else -1 for i in range(named)) + tuple(behind),
        (*range(named), *(-1 for _ in behind)),
        tuple(range(batch, batch + count)),
        tuples=True,
    )
    shape = (*places[:-1], *value.shape[batch + count :])
    _add(scope, core, [value.name, indices], shape, node.outputs[0])


def lower_expand(node: onnx_ir.Node, scope: Scope) -> None:
    """Expand: repeated along axes of one element."""
    value = scope.value(node.inputs[0])
    wanted = tuple(int(n) for n in scope.need_constant(node.inputs[1], "the shape of an Expand").reshape(-1))
    shape = tuple(int(n) for n in np.broadcast_shapes(value.shape, wanted))
    repeat(scope, value.name, shape, node.outputs[0])


def repeat(scope: Scope, source: str, shape: Shape, output: onnx_ir.Value | None) -> str:
    """Returns the name of `source` broadcast to `shape`."""
    value = scope.values[source]
    name = scope.reshape(source, (1,) * (len(shape) - len(value.shape)) + value.shape)
    if scope.values[name].shape == shape:
        return scope.reshape(source, shape, output=output)
    same = operand(0, value.dtype)
    return scope.add(Compute(), [name], shape, output=output, dtype=value.dtype, epilogue=same, axis=_usual(shape))


def lower_tile(node: onnx_ir.Node, scope: Scope) -> None:
    """Tile: the whole repeated along each axis, by an axis of repetitions before it."""
    value = scope.value(node.inputs[0])
    counts = [int(n) for n in scope.need_constant(node.inputs[1], "the counts of a Tile").reshape(-1)]
    if min(counts, default=1) < 1:
        raise NotCovered("a value without elements")
    apart, whole, shape = [], [], []
    for size, count in zip(value.shape, counts, strict=True):
        apart += [1, size] if count > 1 else [size]
        whole += [count, size] if count > 1 else [size]
        shape.append(size * count)
    name = repeat(scope, scope.reshape(value.name, tuple(apart)), tuple(whole), None)
    scope.reshape(name, tuple(shape), output=node.outputs[0])


def lower_depth_to_space(node: onnx_ir.Node, scope: Scope) -> None:
    """DepthToSpace: blocks of channels become blocks of pixels."""
    value = scope.value(node.inputs[0])
    block = int_attribute(node, "blocksize", 1)
    images, channels, height, width = value.shape
    mode = node.attributes.get("mode")
    each = channels // (block * block)
    if mode is not None and mode.as_string() == "CRD":
        apart, order = (images, each, block, block, height, width), (0, 1, 4, 2, 5, 3)
    else:
        apart, order = (images, block, block, each, height, width), (0, 3, 4, 1, 5, 2)
    _through(scope, value.name, apart, order, (images, each, height * block, width * block), node.outputs[0])


def lower_space_to_depth(node: onnx_ir.Node, scope: Scope) -> None:
    """SpaceToDepth: blocks of pixels become blocks of channels."""
    value = scope.value(node.inputs[0])
    block = int_attribute(node, "blocksize", 1)
    images, channels, height, width = value.shape
    mode = node.attributes.get("mode")
    apart = (images, channels, height // block, block, width // block, block)
    order = (0, 1, 3, 5, 2, 4) if mode is not None and mode.as_string() == "CRD" else (0, 3, 5, 1, 2, 4)
    shape = (images, channels * block * block, height // block, width // block)
    _through(scope, value.name, apart, order, shape, node.outputs[0])


def _through(
    scope: Scope, source: str, apart: Shape, order: tuple[int, ...], shape: Shape, output: onnx_ir.Value
) -> None:
    """Adds a reshape to `apart`, a transposition and a reshape to `shape`."""
    dtype = scope.values[source].dtype
    turned = tuple(apart[axis] for axis in order)
    name = scope.add(Transpose(order), [scope.reshape(source, apart)], turned, dtype=dtype)
    scope.reshape(name, shape, output=output)


def lower_trilu(node: onnx_ir.Node, scope: Scope) -> None:
    """Trilu: what is above or below a diagonal, zeros elsewhere."""
    value = scope.value(node.inputs[0])
    given = input_at(node, 1)
    offset = 0 if given is None else int(scope.need_constant(given, "the diagonal of a Trilu").reshape(()))
    rank = len(value.shape)
    ones = np.ones(value.shape[-2:], np.bool_)
    kept = np.triu(ones, offset) if int_attribute(node, "upper", 1) else np.tril(ones, offset)
    mask = scope.make_constant(kept.reshape((1,) * (rank - 2) + kept.shape))
    _check_arithmetic(value.dtype)
    epilogue = apply("where", operand(1, "bool"), operand(0, value.dtype), constant(0, value.dtype))
    names = [value.name, mask]
    scope.add(Compute(), names, value.shape, output=node.outputs[0], dtype=value.dtype, epilogue=epilogue, axis=-1)


def lower_one_hot(node: onnx_ir.Node, scope: Scope) -> None:
    """OneHot: along a new axis, one value where the place is the index and another elsewhere."""
    indices = _indices(scope, node.inputs[0])
    value = scope.values[indices]
    depth = int(scope.need_constant(node.inputs[1], "the depth of a OneHot").reshape(()))
    others, chosen = scope.need_constant(node.inputs[2], "the values of a OneHot").reshape(-1)
    rank = len(value.shape) + 1
    axis = int_attribute(node, "axis", -1) % rank
    shape = (*value.shape[:axis], depth, *value.shape[axis:])
    name = scope.reshape(indices, (*value.shape[:axis], 1, *value.shape[axis:]))
    places = np.arange(depth, dtype=value.dtype).reshape([-1 if i == axis else 1 for i in range(rank)])
    names = [name, scope.make_constant(places), scope.make_constant(places - places.dtype.type(depth))]
    index, place, from_end = (operand(number, value.dtype) for number in range(3))
    is_chosen = apply("or", apply("equal", index, place), apply("equal", index, from_end))
    dtype = str(chosen.dtype)
    _check_arithmetic(dtype)
    epilogue = apply("where", is_chosen, constant(float(chosen), dtype), constant(float(others), dtype))
    scope.add(Compute(), names, shape, output=node.outputs[0], dtype=dtype, epilogue=epilogue, axis=-1)


def _check_arithmetic(dtype: str) -> None:
    if dtype not in LLVM_TYPES or dtype == "int16":
        raise NotCovered(f"values of {dtype}")


def pad_by_copies(
    scope: Scope, source: str, pads: list[tuple[int, int, int]], mode: str, output: onnx_ir.Value
) -> None:
    """Adds padding with what is there: `pads` are (axis, before, behind); mode: reflect, edge or wrap."""
    for number, (axis, before, behind) in enumerate(pads):
        shape = scope.values[source].shape
        extent, dtype = shape[axis], scope.values[source].dtype
        places = _reflected(np.arange(-before, extent + behind), extent, mode)
        sides = [places[:before], places[before + extent :]]
        parts = [add_gather(scope, source, side, axis, None) if side.size else "" for side in sides]
        names = [name for name in (parts[0], source, parts[1]) if name]
        whole = tuple(extent + before + behind if i == axis else size for i, size in enumerate(shape))
        target = output if number == len(pads) - 1 else None
        source = scope.add(Concatenate(axis), names, whole, output=target, dtype=dtype, axis=axis)


def _reflected(places: np.ndarray, extent: int, mode: str) -> np.ndarray:
    """Returns the place inside that each one outside shows."""
    if mode == "edge":
        return np.asarray(np.clip(places, 0, extent - 1))
    if mode == "wrap":
        return np.asarray(places % extent)
    period = max(1, 2 * (extent - 1))
    places = places % period
    return np.asarray(np.where(places < extent, places, period - places))


def lower_constant_of_shape(node: onnx_ir.Node, scope: Scope) -> None:
    """ConstantOfShape of a shape known by now."""
    attribute = node.attributes.get("value")
    value = np.zeros(1, np.float32) if attribute is None else attribute.as_tensor().numpy().reshape(-1)
    shape = tuple(int(n) for n in scope.need_constant(node.inputs[0], "a shape").reshape(-1))
    if math.prod(shape) == 0:
        raise NotCovered("a value without elements")
    scope.set_constant(node.outputs[0], np.full(shape, value[0], value.dtype))


def reversed_slice(scope: Scope, source: str, ranges: list[range], output: onnx_ir.Value) -> None:
    """Adds a slice of which some axes go backwards: first those that go forwards, as a view."""
    value = scope.values[source]
    starts = tuple(each.start if each.step > 0 else 0 for each in ranges)
    steps = tuple(max(each.step, 1) for each in ranges)
    shape = tuple(len(each) if each.step > 0 else size for each, size in zip(ranges, value.shape, strict=True))
    if shape != value.shape:
        source = scope.add(Slice(starts, steps), [source], shape, dtype=value.dtype)
    backwards = [axis for axis, each in enumerate(ranges) if each.step < 0]
    for number, axis in enumerate(backwards):
        target = output if number == len(backwards) - 1 else None
        source = add_gather(scope, source, np.array(ranges[axis], np.int64), axis, target)


def _indices(scope: Scope, value: onnx_ir.Value | None) -> str:
    found = scope.value(value)
    if found.dtype not in ("int32", "int64"):
        raise NotCovered(f"indices of {found.dtype}")
    return found.name


def _add(scope: Scope, core: Gather, inputs: list[str], shape: Shape, output: onnx_ir.Value | None) -> str:
    dtype = scope.values[inputs[0]].dtype
    same = operand(0, dtype)
    return scope.add(core, inputs, shape, output=output, dtype=dtype, epilogue=same, axis=_usual(shape))


def _usual(shape: Shape) -> int:
    return 1 if len(shape) == 4 else -1
