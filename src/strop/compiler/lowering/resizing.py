"""Resize and Upsample: where in the input each row and column of the output comes from."""

from __future__ import annotations

import numpy as np
import onnx_ir

from strop.compiler.levels import Resample, Transpose
from strop.compiler.lowering.movement import add_gather
from strop.compiler.lowering.scope import NotCovered, Scope
from strop.passes.graph import input_at, int_attribute, ints_attribute

Places = tuple[tuple[int, int, float], ...]


def lower_resize(node: onnx_ir.Node, scope: Scope) -> None:
    """Resize (and Upsample) by nearest neighbours along any axes, linear along two."""
    value = scope.value(node.inputs[0])
    rank = len(value.shape)
    mode = _text(node, "mode", "nearest")
    rule = _text(node, "coordinate_transformation_mode", "half_pixel")
    nearest = _text(node, "nearest_mode", "round_prefer_floor")
    if _is_old(node):
        rule, nearest = "asymmetric", "simple"
    if mode not in ("nearest", "linear", "bilinear"):
        raise NotCovered(f"a {mode} resize")
    if rule not in RULES:
        raise NotCovered(f"a resize by {rule}")
    if int_attribute(node, "antialias", 0):
        raise NotCovered("a resize with antialiasing")
    shape, scales = _target(node, scope, value.shape)
    places = {
        axis: _places(value.shape[axis], shape[axis], scales[axis], rule, "linear" if mode != "nearest" else nearest)
        for axis in range(rank)
        if shape[axis] != value.shape[axis] or scales[axis] != 1
    }
    places = {axis: found for axis, found in places.items() if not _is_same(found, value.shape[axis])}
    if not places:
        scope.alias(node.outputs[0], value.name)
    elif value.dtype == "float32" and set(places) in ({2}, {3}, {2, 3}) and rank == 4:
        _add(scope, value.name, places, node.outputs[0])
    elif value.dtype == "float32" and set(places) in ({1}, {2}, {1, 2}) and rank == 4 and mode != "nearest":
        image = (value.shape[0], value.shape[3], *value.shape[1:3])
        turned = scope.add(Transpose((0, 3, 1, 2)), [value.name], image)
        result = _add(scope, turned, {axis + 1: found for axis, found in places.items()}, None)
        scope.add(Transpose((0, 2, 3, 1)), [result], shape, output=node.outputs[0])
    elif value.dtype == "float32" and rank in (2, 3) and min(places) >= rank - 2 and (rank == 2 or 2 in places):
        image = (1, 1, *value.shape) if rank == 2 else (*value.shape[:2], 1, value.shape[2])
        if rank == 3 and 1 in places:
            image = (1, *value.shape)
        lined = scope.reshape(value.name, image)
        result = _add(scope, lined, {axis + 4 - rank: found for axis, found in places.items()}, None)
        scope.reshape(result, shape, output=node.outputs[0])
    elif mode == "nearest":
        name = value.name
        for number, (axis, found) in enumerate(places.items()):
            numbers = np.array([first for first, _, _ in found], np.int64)
            last = number == len(places) - 1
            name = add_gather(scope, name, numbers, axis, node.outputs[0] if last else None)
    else:
        raise NotCovered(f"a linear resize of {value.dtype} along axes {sorted(places)} of {rank}")


def _add(scope: Scope, source: str, places: dict[int, Places], output: onnx_ir.Value | None) -> str:
    """Adds the resize of an image's rows and columns (axes 2 and 3)."""
    shape = scope.values[source].shape
    rows, columns = (places.get(axis) or tuple((n, n, 0.0) for n in range(shape[axis])) for axis in (2, 3))
    whole = (*shape[:2], len(rows), len(columns))
    return scope.add(Resample(rows, columns), [source], whole, output=output)


def _target(node: onnx_ir.Node, scope: Scope, shape: tuple[int, ...]) -> tuple[tuple[int, ...], list[np.float32]]:
    """Returns the output's shape and the scale of each axis."""
    rank = len(shape)
    axes = [axis % rank for axis in ints_attribute(node, "axes")] or list(range(rank))
    given, sizes = input_at(node, 1 if _is_old(node) else 2), None if _is_old(node) else input_at(node, 3)
    listed: np.ndarray | None = np.array(_old_scales(node), np.float32) if "scales" in node.attributes else None
    if given is not None:
        listed = scope.need_constant(given, "the scales of a resize").reshape(-1)
    scales, extents = [np.float32(1)] * rank, list(shape)
    if listed is not None and listed.size:
        for axis, scale in zip(axes, listed, strict=True):
            scales[axis] = np.float32(scale)
            extents[axis] = int(np.floor(np.float32(shape[axis]) * np.float32(scale)))
        return tuple(extents), scales
    if sizes is None:
        raise NotCovered("a resize without scales and sizes")
    wanted = [int(size) for size in scope.need_constant(sizes, "the sizes of a resize").reshape(-1)]
    policy = _text(node, "keep_aspect_ratio_policy", "stretch")
    each = [np.float32(size) / np.float32(shape[axis]) for axis, size in zip(axes, wanted, strict=True)]
    if policy != "stretch":
        each = [min(each) if policy == "not_larger" else max(each)] * len(axes)
        wanted = [int(np.floor(scale * np.float32(shape[axis]) + 0.5)) for axis, scale in zip(axes, each, strict=True)]
    for axis, size, scale in zip(axes, wanted, each, strict=True):
        extents[axis], scales[axis] = size, scale
    return tuple(extents), scales


def _is_old(node: onnx_ir.Node) -> bool:
    """Whether it is an Upsample, or a Resize of opset 10: without regions, and with rules of its own."""
    return node.op_type == "Upsample" or len(node.inputs) < 3


def _old_scales(node: onnx_ir.Node) -> tuple[float, ...]:
    """Returns the scales of an old Upsample, which were an attribute."""
    return tuple(node.attributes["scales"].as_floats())


RULES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric",
         "tf_half_pixel_for_nn")  # fmt: skip
"""The coordinate transformations that are covered."""


def _places(size: int, extent: int, scale: np.float32, rule: str, mode: str) -> Places:
    """Returns for each of `extent` places the two it lies between and the share of the second.

    In float32 throughout, as other engines compute it, so that ties go the same way.
    """
    if extent < 1:
        raise NotCovered("a resize to nothing")
    x, half, last = np.arange(extent, dtype=np.float32), np.float32(0.5), np.float32(size - 1)
    if rule == "asymmetric":
        at = x / scale
    elif rule == "align_corners":
        # ONNX means the fraction to count, engines let it drop.
        if abs(float(size) * float(scale) - extent) > 1e-4 * extent:
            raise NotCovered("a resize by align_corners to a fraction of a pixel")
        at = x * last / np.float32(extent - 1) if extent > 1 else np.zeros(1, np.float32)
    elif rule == "tf_half_pixel_for_nn":
        at = (x + half) / scale
    elif rule == "pytorch_half_pixel" and extent == 1:
        at = np.zeros(1, np.float32)
    else:
        at = (x + half) / scale - half
        if rule == "half_pixel_symmetric":
            centre = np.float32(size) / np.float32(2)
            at = at + centre * (np.float32(1) - np.float32(extent) / (scale * np.float32(size)))
    if mode == "linear":
        at = np.clip(at, np.float32(0), last)
        first = np.minimum(at.astype(np.int64), size - 1)
        second = np.minimum(first + 1, size - 1)
        shares = np.where(first == second, np.float32(0), at - first.astype(np.float32))
        return tuple((int(a), int(b), float(share)) for a, b, share in zip(first, second, shares, strict=True))
    nearest = {
        "floor": np.floor(at),
        "ceil": np.ceil(at),
        "round_prefer_floor": np.ceil(at - half),
        "round_prefer_ceil": np.floor(at + half),
        "simple": np.ceil(at) if scale < 1 else np.trunc(at),
    }
    if mode not in nearest:
        raise NotCovered(f"nearest neighbours by {mode}")
    chosen = np.clip(nearest[mode], 0, size - 1).astype(np.int64)
    return tuple((int(n), int(n), 0.0) for n in chosen)


def _is_same(places: Places, size: int) -> bool:
    return places == tuple((n, places[n][1], 0.0) for n in range(len(places))) and len(places) == size


def _text(node: onnx_ir.Node, name: str, usual: str) -> str:
    attribute = node.attributes.get(name)
    return usual if attribute is None else attribute.as_string()
