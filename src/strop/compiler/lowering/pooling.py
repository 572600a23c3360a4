"""Pools and means over an image."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir

from strop.compiler.layouts import Shape
from strop.compiler.levels import PoolWindow
from strop.compiler.lowering.convolution import four, padding, pair, store_image
from strop.compiler.lowering.scope import NotCovered, Scope
from strop.passes.graph import int_attribute, ints_attribute


def lower_pool(node: onnx_ir.Node, scope: Scope) -> None:
    """MaxPool and AveragePool of one or two spatial axes."""
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        raise NotCovered("a pool that tells where its maxima are")
    image = scope.floats(node.inputs[0])
    kernel = ints_attribute(node, "kernel_shape")
    spatial = len(kernel)
    if spatial not in (1, 2) or len(image.shape) != spatial + 2:
        raise NotCovered(f"a pool of {spatial} spatial axes")
    strides = ints_attribute(node, "strides") or (1,) * spatial
    dilations = ints_attribute(node, "dilations") or (1,) * spatial
    pads = padding(node, image.shape[2:], kernel, strides, dilations)
    source, shape = image.name, image.shape
    if spatial == 1:
        shape = (*shape[:2], 1, shape[2])
        source = scope.reshape(source, shape)
        kernel, strides, dilations = (1, *kernel), (1, *strides), (1, *dilations)
        pads = (0, pads[0], 0, pads[1])
    window = PoolWindow(
        "max" if node.op_type == "MaxPool" else "average",
        pair(kernel),
        pair(strides),
        pair(dilations),
        four(pads),
        bool(int_attribute(node, "count_include_pad", 0)),
    )
    result = (*shape[:2], *_pooled(shape, window, ceil=bool(int_attribute(node, "ceil_mode", 0))))
    _check_windows(shape, result, window)
    build = partial(_add_pool, scope, window, source, result)
    store_image(node, scope, build, lined=spatial == 1)


def lower_global_pool(node: onnx_ir.Node, scope: Scope) -> None:
    """GlobalAveragePool and GlobalMaxPool: one window, the image."""
    image = scope.floats(node.inputs[0])
    source, shape = image.name, image.shape
    if len(shape) == 3:
        source, shape = scope.reshape(source, (*shape[:2], 1, shape[2])), (*shape[:2], 1, shape[2])
    elif len(shape) != 4:
        raise NotCovered(f"a pool of {len(shape) - 2} spatial axes")
    window = PoolWindow("max" if node.op_type == "GlobalMaxPool" else "average", pair(shape[2:]))
    result = (*shape[:2], 1, 1)
    build = partial(_add_pool, scope, window, source, result)
    store_image(node, scope, build, lined=len(image.shape) == 3)


def lower_image_mean(source: str, scope: Scope, output: onnx_ir.Value | None) -> str:
    """Adds the mean over an image's rows and columns, which stay with one element."""
    shape = scope.values[source].shape
    return _add_pool(scope, PoolWindow("average", pair(shape[2:])), source, (*shape[:2], 1, 1), output)


def _add_pool(scope: Scope, window: PoolWindow, source: str, shape: Shape, output: onnx_ir.Value | None) -> str:
    return scope.add(window, [source], shape, output=output)


def _pooled(image: Shape, window: PoolWindow, *, ceil: bool) -> tuple[int, int]:
    sizes = []
    for axis in (0, 1):
        reach = (window.kernel[axis] - 1) * window.dilations[axis] + 1
        padded = image[2 + axis] + window.pads[axis] + window.pads[2 + axis]
        stride = window.strides[axis]
        count = (padded - reach + (stride - 1 if ceil else 0)) // stride + 1
        # A last window that would begin in the padding behind the image does not count.
        if ceil and (count - 1) * stride >= image[2 + axis] + window.pads[axis]:
            count -= 1
        sizes.append(count)
    if min(sizes) < 1:
        raise NotCovered("an image smaller than the window")
    return sizes[0], sizes[1]


def _check_windows(image: Shape, result: Shape, window: PoolWindow) -> None:
    for axis in (0, 1):
        first = np.arange(result[2 + axis]) * window.strides[axis] - window.pads[axis]
        places = first[:, None] + np.arange(window.kernel[axis]) * window.dilations[axis]
        if not ((places >= 0) & (places < image[2 + axis])).any(axis=1).all():
            raise NotCovered("a window that lies in the padding altogether")
