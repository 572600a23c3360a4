"""Quantized tensors: QuantizeLinear and DequantizeLinear, and what is computed between them on integers.

    y = clamp(rint(float(sum of x * w + bias) * (sx * sw / sy)) + zy, low, high)

x, w, bias and y are whole numbers; that of the bias is its float value divided by sx * sw. A ReLU in between raises the
lower bound to zy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_ir

from strop.compiler.expressions import (
    add,
    apply,
    cast,
    channel,
    constant,
    maximum,
    minimum,
    multiply,
    operand,
    requantize,
)
from strop.compiler.levels import Compute, Convolve, Value
from strop.compiler.lowering.convolution import convolution_of, convolved_shape
from strop.compiler.lowering.scope import NotCovered, Scope
from strop.passes.graph import float_attribute, input_at, int_attribute, sole_consumer, standard


@dataclass(frozen=True, slots=True)
class Quantization:
    """real = scale * (number - zero), numbers from low to high; scale has one element, or one a channel."""

    scale: np.ndarray
    zero: int
    dtype: str

    @property
    def low(self) -> int:
        """The smallest number."""
        return int(np.iinfo(self.dtype).min)

    @property
    def high(self) -> int:
        """The largest number."""
        return int(np.iinfo(self.dtype).max)


def lower_quantize(node: onnx_ir.Node, scope: Scope) -> None:
    """QuantizeLinear of a whole tensor to 8 bits."""
    value = scope.floats(node.inputs[0])
    to = _quantization(node, scope)
    if to.scale.size != 1 or to.dtype not in ("uint8", "int8"):
        raise NotCovered("a quantization a channel, or not to 8 bits")
    scaled = apply("divide", operand(0), constant(float(to.scale.item())))
    clamped = minimum(constant(to.high - to.zero), maximum(constant(to.low - to.zero), scaled))
    number = cast(add(apply("rint", clamped), constant(to.zero)), to.dtype)
    scope.add(Compute(), [value.name], value.shape, output=node.outputs[0], dtype=to.dtype, epilogue=number)


def lower_dequantize(node: onnx_ir.Node, scope: Scope) -> None:
    """DequantizeLinear of a whole tensor of 8 bits; of a constant, computed now."""
    source = _quantization(node, scope)
    numbers = scope.constant(node.inputs[0])
    if numbers is not None:
        scope.set_constant(node.outputs[0], _real(numbers, source, int_attribute(node, "axis", 1)))
        return
    value = scope.value(node.inputs[0])
    if source.scale.size != 1 or value.dtype not in ("uint8", "int8"):
        raise NotCovered("a dequantization a channel, or not of 8 bits")
    centred = apply("subtract", cast(operand(0, value.dtype), "float32"), constant(source.zero))
    real = multiply(centred, constant(float(source.scale.item())))
    scope.add(Compute(), [value.name], value.shape, output=node.outputs[0], epilogue=real)


@dataclass(frozen=True, slots=True)
class Integers:
    """Operands of a convolution or product that are quantized: an image or rows in u8, constant weights in s8.

    zero: of the image; unit: what 1 of a sum of products stands for, one number or one an output channel.
    """

    image: Value
    weights: np.ndarray
    zero: int
    unit: np.ndarray


def integer_operands(node: onnx_ir.Node, scope: Scope, *, outputs: int) -> Integers | None:
    """Returns the node's first two operands where they are quantized; outputs: the weights' axis of output channels."""
    image, weights = _dequantized(node.inputs[0]), _dequantized(node.inputs[1])
    if image is None or weights is None or scope.constant(image.inputs[0]) is not None:
        return None
    numbers, given = scope.constant(weights.inputs[0]), scope.value(image.inputs[0])
    if numbers is None or str(numbers.dtype) != "int8" or given.dtype != "uint8" or numbers.ndim < 2:
        return None
    source, factor = _quantization(image, scope), _quantization(weights, scope)
    is_along = factor.scale.size == 1 or int_attribute(weights, "axis", 1) % numbers.ndim == outputs
    if source.scale.size != 1 or factor.zero != 0 or not is_along:
        return None
    return Integers(given, numbers, source.zero, source.scale.astype(np.float64) * factor.scale)


def lower_quantized_convolution(node: onnx_ir.Node, scope: Scope) -> bool:
    """Lowers a Conv between quantized tensors to one on integers; returns False where it is none."""
    found = integer_operands(node, scope, outputs=0)
    bias = None if input_at(node, 2) is None else scope.constant(node.inputs[2])
    if found is None or len(found.image.shape) != 4 or (bias is None and input_at(node, 2) is not None):
        return False
    core, name = convolution_of(node, scope, found.image.name, found.weights)
    shape = convolved_shape(found.image.shape, core)
    unit = np.broadcast_to(found.unit, shape[1])
    whole = None if bias is None else np.clip(np.rint(bias / unit), -(2**31), 2**31 - 1).astype(np.int32)
    core = replace(core, input_zero=found.zero, bias=whole)
    total = operand(0, "int32")
    end = _quantized_end(node, scope)
    if end is None:
        real = multiply(cast(total, "float32"), channel(0))
        scope.add(core, [name], shape, output=node.outputs[0], epilogue=real, channels=[unit])
        return True
    to, between = end
    low = to.zero if len(between) == 2 else to.low
    number = requantize(total, channel(0), to.zero, low, to.high, to.dtype)
    factors = unit / float(to.scale.item())
    scope.add(core, [name], shape, output=between[-1].outputs[0], dtype=to.dtype, epilogue=number, channels=[factors])
    for each in between:
        scope.take_over(each)
    return True


_DEEPEST = 2**31 // (255 * 128)
"""Products that an int32 surely holds the sum of."""


def lower_quantized_product(node: onnx_ir.Node, scope: Scope) -> bool:
    """Lowers a MatMul or Gemm of quantized rows by a quantized constant to one on integers; False where it is none.

    The result is a float, to which what follows is fused: real = sx * sw * (sum of (x - zx) * w) + bias.
    """
    is_gemm = node.op_type == "Gemm"
    outputs = 0 if is_gemm and int_attribute(node, "transB", 0) else 1
    found = integer_operands(node, scope, outputs=outputs)
    if found is None or found.weights.ndim != 2 or len(found.image.shape) < 2 or (is_gemm and not _is_plain(node)):
        return False
    weights = found.weights if outputs == 0 else found.weights.T
    bias = input_at(node, 2) if is_gemm else None
    shift = None if bias is None else scope.constant(bias)
    if weights.shape[1] > _DEEPEST or (bias is not None and shift is None):
        return False
    if shift is not None and shift.shape not in ((), (1,), (weights.shape[0],)):
        return False
    given = found.image
    core = Convolve(np.ascontiguousarray(weights)[:, :, None, None], rows=True, input_zero=found.zero)
    channels = [np.broadcast_to(found.unit.astype(np.float32), weights.shape[0])]
    real = multiply(cast(operand(0, "int32"), "float32"), channel(0))
    if shift is not None:
        channels.append(np.broadcast_to(shift.astype(np.float32).reshape(-1), weights.shape[0]))
        real = add(real, channel(1))
    shape = (*given.shape[:-1], weights.shape[0])
    scope.add(core, [given.name], shape, output=node.outputs[0], epilogue=real, channels=channels, axis=-1)
    return True


def _is_plain(node: onnx_ir.Node) -> bool:
    """Whether a Gemm is x * w + bias."""
    factors = (float_attribute(node, name, 1.0) for name in ("alpha", "beta"))
    return not int_attribute(node, "transA", 0) and all(factor == 1 for factor in factors)


def _real(numbers: np.ndarray, by: Quantization, axis: int) -> np.ndarray:
    shape = [1] * numbers.ndim
    if by.scale.size > 1:
        shape[axis] = -1
    # ONNX subtracts in integers and multiplies in float32.
    centred = (numbers.astype(np.int64) - by.zero).astype(np.float32)
    return np.asarray(centred * by.scale.reshape(shape)).reshape(numbers.shape)


def _quantized_end(node: onnx_ir.Node, scope: Scope) -> tuple[Quantization, list[onnx_ir.Node]] | None:
    """Returns how the result is quantized again, and the nodes from there on: QuantizeLinear, perhaps a Relu before."""
    following = sole_consumer(node.outputs[0])
    between = []
    if following is not None and standard(following, "Relu"):
        between.append(following)
        following = sole_consumer(following.outputs[0])
    if following is None or not standard(following, "QuantizeLinear"):
        return None
    to = _quantization(following, scope)
    if to.scale.size != 1 or to.dtype not in ("uint8", "int8"):
        return None
    return to, [*between, following]


def _dequantized(value: onnx_ir.Value | None) -> onnx_ir.Node | None:
    """Returns the DequantizeLinear that computes `value`."""
    producer = None if value is None else value.producer()
    return producer if producer is not None and standard(producer, "DequantizeLinear") else None


def _quantization(node: onnx_ir.Node, scope: Scope) -> Quantization:
    scale = scope.need_constant(node.inputs[1], "the scale of a quantization")
    zero = input_at(node, 2)
    zeros = np.zeros(1, np.uint8) if zero is None else scope.need_constant(zero, "the zero point of a quantization")
    if zeros.size > 1 and np.any(zeros != zeros.reshape(-1)[0]):
        raise NotCovered("a zero point a channel")
    if int_attribute(node, "block_size", 0):
        raise NotCovered("a quantization in blocks")
    return Quantization(scale.astype(np.float32).reshape(-1), int(zeros.reshape(-1)[0]), str(zeros.dtype))
