"""Convolutions, matrix products with constant weights, and normalization that stands alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx_ir

from strop.compiler.expressions import Expression, add, channel, constant, multiply, operand
from strop.compiler.layouts import Shape
from strop.compiler.levels import Compute, Convolve, MatrixMultiply
from strop.compiler.lowering.scope import NotCovered, Scope
from strop.passes.channel_affine import batch_norm_affine
from strop.passes.graph import float_attribute, input_at, int_attribute, ints_attribute


def lower_convolution(node: onnx_ir.Node, scope: Scope) -> None:
    """Conv of one or two spatial axes; a line of pixels is an image of one row."""
    image = scope.floats(node.inputs[0])
    weights = scope.need_constant(node.inputs[1], "the weights of a convolution")
    bias = input_at(node, 2)
    shifts = [] if bias is None else [scope.need_constant(bias, "the bias of a convolution")]
    core, source = convolution_of(node, scope, image.name, weights)
    shape = convolved_shape(scope.values[source].shape, core)
    epilogue = add(operand(0), channel(0)) if shifts else operand(0)

    def build(output: onnx_ir.Value | None) -> str:
        return scope.add(core, [source], shape, output=output, epilogue=epilogue, channels=shifts)

    store_image(node, scope, build, lined=weights.ndim == 3)


def convolution_of(node: onnx_ir.Node, scope: Scope, image: str, weights: np.ndarray) -> tuple[Convolve, str]:
    """Returns the core of a Conv node and the name of the image it reads (a line becomes an image of one row)."""
    shape = scope.values[image].shape
    if weights.ndim not in (3, 4) or len(shape) != weights.ndim:
        raise NotCovered(f"a convolution of {weights.ndim - 2} spatial axes")
    spatial = weights.ndim - 2
    kernel = tuple(weights.shape[2:])
    strides = ints_attribute(node, "strides") or (1,) * spatial
    dilations = ints_attribute(node, "dilations") or (1,) * spatial
    pads = padding(node, shape[2:], kernel, strides, dilations)
    if spatial == 1:
        weights = weights[:, :, None, :]
        image = scope.reshape(image, (*shape[:2], 1, shape[2]))
        strides, dilations, pads = (1, *strides), (1, *dilations), (0, pads[0], 0, pads[1])
    core = Convolve(
        np.ascontiguousarray(weights),
        pair(strides),
        pair(dilations),
        four(pads),
        int_attribute(node, "group", 1),
    )
    return core, image


def convolved_shape(image: Shape, core: Convolve) -> Shape:
    """Returns the shape of a convolution's result."""
    sizes = []
    for axis in (0, 1):
        reach = (core.weights.shape[2 + axis] - 1) * core.dilations[axis] + 1
        padded = image[2 + axis] + core.pads[axis] + core.pads[2 + axis]
        sizes.append((padded - reach) // core.strides[axis] + 1)
    if min(sizes) < 1:
        raise NotCovered("an image smaller than the kernel")
    return (image[0], core.weights.shape[0], sizes[0], sizes[1])


def store_image(node: onnx_ir.Node, scope: Scope, build: Callable[[onnx_ir.Value | None], str], *, lined: bool) -> None:
    """Adds what `build(output)` adds under the node's output, through a reshape where the image stands for a line."""
    if lined:
        name = build(None)
        shape = scope.values[name].shape
        scope.reshape(name, (*shape[:2], shape[3]), output=node.outputs[0])
    else:
        build(node.outputs[0])


def padding(
    node: onnx_ir.Node,
    image: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[int, ...]:
    """Returns pads as ONNX lists them (all begins, then all ends), worked out where auto_pad asks for it."""
    attribute = node.attributes.get("auto_pad")
    mode = "NOTSET" if attribute is None else attribute.as_string()
    if mode == "VALID":
        return (0,) * (2 * len(kernel))
    if mode == "NOTSET":
        pads = ints_attribute(node, "pads") or (0,) * (2 * len(kernel))
        if min(pads) < 0:
            raise NotCovered("negative padding")
        return pads
    begins, ends = [], []
    for size, extent, stride, dilation in zip(image, kernel, strides, dilations, strict=True):
        reach = (extent - 1) * dilation + 1
        total = max(0, (math.ceil(size / stride) - 1) * stride + reach - size)
        small = total // 2
        begins.append(total - small if mode == "SAME_LOWER" else small)
        ends.append(total - begins[-1])
    return (*begins, *ends)


def lower_gemm(node: onnx_ir.Node, scope: Scope) -> None:
    """Gemm with a constant second operand: rows x channels times a matrix, alpha in the weights."""
    if int_attribute(node, "transA", 0):
        raise NotCovered("a transposed first operand")
    rows = scope.floats(node.inputs[0], rank=2)
    weights = scope.need_constant(node.inputs[1], "the second operand of a matrix product")
    if not int_attribute(node, "transB", 0):
        weights = weights.T
    weights = _scaled(weights, float_attribute(node, "alpha", 1.0))
    addend, beta = input_at(node, 2), float_attribute(node, "beta", 1.0)
    inputs, channels, epilogue = [rows.name], [], operand(0)
    shape = (rows.shape[0], weights.shape[0])
    if addend is not None and beta != 0:
        known = scope.constant(addend)
        if known is not None and (known.size == 1 or (known.size, known.shape[-1]) == (shape[1], shape[1])):
            channels = [_scaled(np.broadcast_to(known.reshape(-1), shape[1]), beta)]
            epilogue = add(operand(0), channel(0))
        else:
            inputs.append(_as_rows(scope, addend, shape))
            epilogue = add(operand(0), _times(operand(1), beta))
    core = Convolve(_matrix(weights), rows=True)
    scope.add(core, inputs, shape, output=node.outputs[0], epilogue=epilogue, channels=channels, axis=-1)


def lower_matmul(node: onnx_ir.Node, scope: Scope) -> None:
    """MatMul: rows times a constant matrix, or a product of matrices that are both computed."""
    weights = scope.constant(node.inputs[1])
    if weights is None or weights.ndim != 2 or scope.constant(node.inputs[0]) is not None:
        _lower_product(node, scope)
        return
    rows = scope.floats(node.inputs[0])
    shape = (*rows.shape[:-1], weights.shape[1])
    name, output = rows.name, node.outputs[0]
    if len(rows.shape) > 1:
        scope.add(Convolve(_matrix(weights.T), rows=True), [name], shape, output=output, axis=-1)
        return
    name = scope.reshape(name, (1, *rows.shape))
    name = scope.add(Convolve(_matrix(weights.T), rows=True), [name], (1, *shape), axis=-1)
    scope.reshape(name, shape, output=output)


def _lower_product(node: onnx_ir.Node, scope: Scope) -> None:
    """A product of matrices that has no constant matrix behind it; a vector is a matrix of one row or one column."""
    values = [scope.floats(value) for value in node.inputs]
    shapes = [value.shape for value in values]
    names = [value.name for value in values]
    if len(shapes[0]) == 1:
        names[0] = scope.reshape(names[0], (1, *shapes[0]))
    if len(shapes[1]) == 1:
        names[1] = scope.reshape(names[1], (*shapes[1], 1))
    first, second = (scope.values[name].shape for name in names)
    pairs = np.broadcast_shapes(first[:-2], second[:-2])
    whole = (*pairs, first[-2], second[-1])
    dropped = (len(shapes[0]) == 1, len(shapes[1]) == 1)
    output = None if any(dropped) else node.outputs[0]
    name = scope.add(MatrixMultiply(), names, whole, output=output, axis=-1)
    if any(dropped):
        rows = () if dropped[0] else (first[-2],)
        scope.reshape(name, (*pairs, *rows, *(() if dropped[1] else (second[-1],))), output=node.outputs[0])


def lower_batch_norm(node: onnx_ir.Node, scope: Scope) -> None:
    """A normalization that no neighbour could take: scale and shift per channel."""
    image = scope.floats(node.inputs[0])
    affine = batch_norm_affine(node)
    if affine is None:
        raise NotCovered("a normalization whose statistics are computed")
    scale, shift = affine.scale.astype(np.float32), affine.shift.astype(np.float32)
    epilogue = add(multiply(operand(0), channel(0)), channel(1))
    scope.add(Compute(), [image.name], image.shape, output=node.outputs[0], epilogue=epilogue, channels=[scale, shift])


def pair(numbers: tuple[int, ...]) -> tuple[int, int]:
    """Returns two numbers as a pair."""
    first, second = numbers
    return int(first), int(second)


def four(numbers: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Returns four numbers as a tuple of four."""
    top, left, bottom, right = numbers
    return int(top), int(left), int(bottom), int(right)


def _matrix(weights: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(weights, np.float32)[:, :, None, None]


def _scaled(array: np.ndarray, by: float) -> np.ndarray:
    return array if by == 1 else (array * np.float32(by)).astype(np.float32)


def _times(expression: Expression, by: float) -> Expression:
    return expression if by == 1 else multiply(expression, constant(by))


def _as_rows(scope: Scope, addend: onnx_ir.Value, shape: Shape) -> str:
    value = scope.floats(addend)
    return scope.reshape(value.name, (1,) * (len(shape) - len(value.shape)) + value.shape)
