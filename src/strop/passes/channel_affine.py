"""y = scale * x + shift per channel: how BatchNormalization, Mul, Add, Div and Sub are folded into a linear operator.

Backward (the affine comes after the operator) is always exact in real numbers. Forward (it comes before) is exact where
every output position sees the whole kernel: a padded convolution sees zeros, not shifts, at its border.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from strop.passes.graph import (
    add_initializer,
    constant_of,
    float_attribute,
    input_at,
    int_attribute,
    ints_attribute,
    sole_consumer,
    standard,
)

LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True, slots=True)
class ChannelAffine:
    """scale and shift in float64, each of one element or one per channel."""

    scale: np.ndarray
    shift: np.ndarray

    @property
    def is_finite(self) -> bool:
        """Whether nothing in it is NaN or infinite."""
        return bool(np.isfinite(self.scale).all() and np.isfinite(self.shift).all())


def batch_norm_affine(node: onnx_ir.Node) -> ChannelAffine | None:
    """Returns what a BatchNormalization does at inference; None in training mode or with computed statistics."""
    if not standard(node, "BatchNormalization") or int_attribute(node, "training_mode", 0) != 0:
        return None
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        return None
    constants = [constant_of(value) for value in node.inputs[1:5]]
    if len(constants) != 4 or any(constant is None for constant in constants):
        return None
    gamma, beta, mean, variance = (constant.astype(np.float64) for constant in constants if constant is not None)
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + float_attribute(node, "epsilon", 1e-5))
    return ChannelAffine(scale, beta - mean * scale)


def elementwise_affine(node: onnx_ir.Node, *, rank: int, axis: int) -> tuple[onnx_ir.Value, ChannelAffine] | None:
    """Returns (the changing input, the affine) of a Mul, Add, Div or Sub by constants that vary along `axis` only."""
    if not standard(node, "Mul", "Add", "Div", "Sub") or len(node.inputs) != 2:
        return None
    left, right = constant_of(node.inputs[0]), constant_of(node.inputs[1])
    if (left is None) == (right is None):
        return None
    constant, value = (left, node.inputs[1]) if left is not None else (right, node.inputs[0])
    if constant is None or value is None or constant.dtype != np.float32 or constant.ndim > rank:
        return None
    spread = constant.reshape((1,) * (rank - constant.ndim) + constant.shape)
    if any(size != 1 for index, size in enumerate(spread.shape) if index != axis % rank):
        return None
    amounts = constant.astype(np.float64).reshape(-1)
    one, zero = np.ones(1), np.zeros(1)
    with np.errstate(all="ignore"):
        if node.op_type == "Mul":
            return value, ChannelAffine(amounts, zero)
        if node.op_type == "Add":
            return value, ChannelAffine(one, amounts)
        if node.op_type == "Sub":
            return value, ChannelAffine(one, -amounts) if left is None else ChannelAffine(-one, amounts)
        return (value, ChannelAffine(1.0 / amounts, zero)) if left is None else None


def output_channels(node: onnx_ir.Node) -> tuple[int, int, int] | None:
    """Returns (rank, channel axis, channels) of a linear operator's output; None where weights are not float constants.

    A MatMul counts with weights of rank 2 only; its output's rank is taken as 2 and its axis as the last.
    """
    if not standard(node, *LINEAR):
        return None
    weights = constant_of(node.inputs[1])
    if weights is None or weights.dtype != np.float32:
        return None
    if node.op_type == "Conv":
        return weights.ndim, 1, weights.shape[0]
    if node.op_type == "ConvTranspose":
        return weights.ndim, 1, weights.shape[1] * int_attribute(node, "group", 1)
    if weights.ndim != 2:
        return None
    if node.op_type == "Gemm":
        return 2, 1, weights.shape[0 if int_attribute(node, "transB", 0) else 1]
    return 2, 1, weights.shape[1]


def fold_backward(graph: onnx_ir.Graph, linear: onnx_ir.Node, affine: ChannelAffine) -> bool:
    """Changes `linear` so that it computes affine(linear(x)); returns False, and changes nothing, where it cannot."""
    place = output_channels(linear)
    if place is None or not affine.is_finite:
        return False
    channels = place[2]
    if linear.op_type == "MatMul" and np.any(affine.shift != 0):
        return False
    if any(part.size not in (1, channels) for part in (affine.scale, affine.shift)):
        return False
    weights = constant_of(linear.inputs[1])
    assert weights is not None
    scale, shift = np.broadcast_to(affine.scale, channels), np.broadcast_to(affine.shift, channels)
    bias = None
    if linear.op_type != "MatMul":
        bias = _bias_of(linear, channels)
        if bias is None:
            return False
        bias = bias * scale + shift
    wide = weights.astype(np.float64)
    if linear.op_type == "Conv":
        wide = wide * scale.reshape(-1, *[1] * (wide.ndim - 1))
    elif linear.op_type == "ConvTranspose":
        group = int_attribute(linear, "group", 1)
        grouped = wide.reshape(group, wide.shape[0] // group, *wide.shape[1:])
        wide = (grouped * scale.reshape(group, 1, -1, *[1] * (wide.ndim - 2))).reshape(wide.shape)
    else:
        by_row = linear.op_type == "Gemm" and int_attribute(linear, "transB", 0)
        wide = wide * (scale[:, None] if by_row else scale)
    return _store(graph, linear, wide, bias)


def fold_forward(graph: onnx_ir.Graph, affine: ChannelAffine, linear: onnx_ir.Node) -> bool:
    """Changes `linear` so that it computes linear(affine(x)); returns False, and changes nothing, where it cannot."""
    place = output_channels(linear)
    if place is None or not affine.is_finite or not standard(linear, "Conv", "Gemm"):
        return False
    weights = constant_of(linear.inputs[1])
    bias = _bias_of(linear, place[2])
    if weights is None or bias is None:
        return False
    wide = weights.astype(np.float64)
    if linear.op_type == "Conv":
        if np.any(affine.shift != 0) and not _is_unpadded(linear):
            return False
        group = int_attribute(linear, "group", 1)
        channels = wide.shape[1] * group
        if any(part.size not in (1, channels) for part in (affine.scale, affine.shift)):
            return False
        shape = (group, 1, wide.shape[1], *[1] * (wide.ndim - 2))
        grouped = wide.reshape(group, wide.shape[0] // group, *wide.shape[1:])
        shift = np.broadcast_to(affine.shift, channels).reshape(shape)
        bias = bias + (grouped * shift).sum(axis=tuple(range(2, grouped.ndim))).reshape(-1)
        wide = (grouped * np.broadcast_to(affine.scale, channels).reshape(shape)).reshape(wide.shape)
    else:
        if int_attribute(linear, "transA", 0):
            return False
        by_row = bool(int_attribute(linear, "transB", 0))
        channels = wide.shape[1 if by_row else 0]
        if any(part.size not in (1, channels) for part in (affine.scale, affine.shift)):
            return False
        scale, shift = np.broadcast_to(affine.scale, channels), np.broadcast_to(affine.shift, channels)
        alpha = float_attribute(linear, "alpha", 1.0)
        bias = bias + alpha * (wide @ shift if by_row else shift @ wide)
        wide = wide * (scale if by_row else scale[:, None])
    return _store(graph, linear, wide, bias)


def linear_before(value: onnx_ir.Value | None) -> onnx_ir.Node | None:
    """Returns the linear operator that computes `value`, where nobody else reads it."""
    producer = None if value is None else value.producer()
    if producer is None or value is None or not standard(producer, *LINEAR) or sole_consumer(value) is None:
        return None
    return producer


def _bias_of(linear: onnx_ir.Node, channels: int) -> np.ndarray | None:
    """The bias as float64 [channels], beta of a Gemm included; None where it is no constant of that shape."""
    value = input_at(linear, 2)
    if value is None:
        return np.zeros(channels)
    bias = constant_of(value)
    if bias is None or bias.dtype != np.float32:
        return None
    if any(size != 1 for size in bias.shape[:-1]) or bias.size not in (1, channels):
        return None
    beta = float_attribute(linear, "beta", 1.0) if linear.op_type == "Gemm" else 1.0
    return np.broadcast_to(bias.reshape(-1).astype(np.float64) * beta, channels)


def _is_unpadded(linear: onnx_ir.Node) -> bool:
    padding = linear.attributes.get("auto_pad")
    automatic = "NOTSET" if padding is None else padding.as_string()
    return automatic == "VALID" or (automatic == "NOTSET" and not any(ints_attribute(linear, "pads")))


def _store(graph: onnx_ir.Graph, linear: onnx_ir.Node, weights: np.ndarray, bias: np.ndarray | None) -> bool:
    with np.errstate(over="ignore"):
        narrow = weights.astype(np.float32)
        narrow_bias = None if bias is None else bias.astype(np.float32)
    if not np.isfinite(narrow).all() or (narrow_bias is not None and not np.isfinite(narrow_bias).all()):
        return False
    name = linear.inputs[1].name if linear.inputs[1] is not None else None
    linear.replace_input_with(1, add_initializer(graph, narrow, f"{name}_folded"))
    if narrow_bias is not None:
        old = input_at(linear, 2)
        base = old.name if old is not None else f"{name}_bias"
        if len(linear.inputs) < 3:
            linear.resize_inputs(3)
        linear.replace_input_with(2, add_initializer(graph, narrow_bias, f"{base}_folded"))
        if linear.op_type == "Gemm":
            linear.attributes["beta"] = onnx_ir.AttrFloat32("beta", 1.0)
    return True
