"""What 8 bits mean for each operator: who has integer kernels, who only moves numbers, who is fused behind whom.

The lists follow what ONNX Runtime and OpenVINO both run on integers from plain QDQ graphs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from strop.passes.graph import constant_of, input_at, int_attribute, sole_consumer, standard

HEAVY = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators with weights: what quantization is for."""

JOINING = ("Add", "Concat", "AveragePool", "GlobalAveragePool")
"""Operators that compute on integers when all their inputs are; worth it only between quantized neighbours."""

MOVING = (
    *("MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Gather", "Expand", "Tile"),
    *("DepthToSpace", "SpaceToDepth", "Split", "Pad", "Resize"),
)
"""Operators that only move or pick numbers: what comes out has the scale of what went in."""

FLOAT_ONLY = {
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "recurrent operators and their state stay float"),
    **dict.fromkeys(("If", "Loop", "Scan"), "what is inside branches and loops stays float"),
}
"""Operators that hold weights, or graphs with weights, and why these stay as they are."""


@dataclass(frozen=True, slots=True)
class Heavy:
    """A heavy operator that can be quantized: its constant weights and bias, and the weights' channel axis."""

    node: onnx_ir.Node
    weights: np.ndarray
    bias: np.ndarray | None
    axis: int | None


def read_heavy(node: onnx_ir.Node) -> Heavy | str:
    """Returns the operator's weights and bias, or why it cannot be quantized."""
    weights = constant_of(input_at(node, 1))
    if weights is None:
        return "its second input is no constant"
    if weights.dtype != np.float32:
        return f"its weights are {weights.dtype}, not float32"
    if constant_of(input_at(node, 0)) is not None:
        return "its first input is constant"
    if weights.size == 0 or not np.isfinite(weights).all():
        return "its weights are empty or hold NaN or infinity"
    bias_value = input_at(node, 2)
    bias = constant_of(bias_value)
    if bias_value is not None and bias is None:
        return "its bias is no constant"
    if node.op_type == "Conv":
        return Heavy(node, weights, bias, 0)
    if node.op_type == "ConvTranspose":
        return Heavy(node, weights, bias, 1 if int_attribute(node, "group", 1) == 1 else None)
    if node.op_type == "MatMul":
        return Heavy(node, weights, None, weights.ndim - 1) if weights.ndim >= 2 else "its weights are a vector"
    if int_attribute(node, "transA", 0):
        return "its first input is transposed"
    axis = 0 if int_attribute(node, "transB", 0) else 1
    if bias is not None and (bias.size not in (1, weights.shape[axis]) or any(size != 1 for size in bias.shape[:-1])):
        return "its third input is no bias per column"
    return Heavy(node, weights, bias, axis)


def moves(node: onnx_ir.Node) -> bool:
    """Says whether the node only moves numbers (and zeros) from its first input to its outputs."""
    if not standard(node, *MOVING) or node.inputs[0] is None:
        return False
    if node.op_type == "MaxPool":
        return not node.outputs[1:]
    if node.op_type == "Resize":
        mode = node.attributes.get("mode")
        return mode is None or mode.as_string() == "nearest"
    if node.op_type == "Pad":
        mode, fill = node.attributes.get("mode"), input_at(node, 2)
        filled = constant_of(fill)
        zero = fill is None or (filled is not None and not np.any(filled))
        return zero if mode is None or mode.as_string() == "constant" else True
    return True


def changing_inputs(node: onnx_ir.Node) -> list[onnx_ir.Value]:
    """Returns the inputs whose numbers an 8-bit form of the node would read: the first of a mover, all of a joiner."""
    if moves(node):
        return [value for value in node.inputs[:1] if value is not None]
    return [value for value in node.inputs if value is not None]


def fused_output(
    node: onnx_ir.Node, keep: frozenset[str] = frozenset()
) -> tuple[onnx_ir.Value, tuple[onnx_ir.Node, ...]]:
    """Returns the value behind everything that engines fuse onto the node, and the fused nodes.

    That is a following Relu or Clip, and before it the bias of a matrix product. A node named in `keep` is never fused.
    """
    value, fused = node.outputs[0], []
    after = sole_consumer(value)
    if standard(node, "MatMul") and after is not None and standard(after, "Add") and after.name not in keep:
        biases = [constant_of(other) for other in after.inputs if other is not value]
        if biases and biases[0] is not None and biases[0].ndim <= 1 and after.graph is node.graph:
            value = after.outputs[0]
            fused.append(after)
            after = sole_consumer(value)
    if after is not None and after.graph is node.graph and after.name not in keep and _is_bounded(after):
        value = after.outputs[0]
        fused.append(after)
    return value, tuple(fused)


def _is_bounded(node: onnx_ir.Node) -> bool:
    """A Relu, or a Clip with constant bounds that let zero through."""
    if standard(node, "Relu"):
        return True
    if not standard(node, "Clip"):
        return False
    bounds = [input_at(node, 1), input_at(node, 2)]
    low, high = map(constant_of, bounds)
    if any(bound is not None and array is None for bound, array in zip(bounds, (low, high), strict=True)):
        return False
    return bool((low is None or low <= 0) and (high is None or high >= 0))
