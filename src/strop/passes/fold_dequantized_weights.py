"""Turns weights that a file stores in 8 bits behind a DequantizeLinear into plain float weights.

Such a model computes in float; only its file is small. (A DequantizeLinear behind a QuantizeLinear is another matter:
that is a quantized model, and its activations are no constants.)
"""

from __future__ import annotations

import numpy as np
import onnx_ir

from strop.passes.base import Pass, Rewrites
from strop.passes.evaluate import evaluate_node
from strop.passes.graph import (
    add_initializer,
    all_nodes,
    constant_of,
    input_at,
    int_attribute,
    replace_output,
    standard,
)


class FoldDequantizedWeights(Pass):
    """Replaces DequantizeLinear of a constant by the float constant."""

    def _rewrite(self, model: onnx_ir.Model, rewrites: Rewrites) -> None:
        for node in all_nodes(model.graph):
            if not standard(node, "DequantizeLinear") or node.outputs[0].is_graph_output():
                continue
            weights = _dequantized(node, model)
            if weights is None:
                continue
            output = node.outputs[0]
            replace_output(output, add_initializer(model.graph, weights, output.name or "weights"))
            rewrites.add(None, node)
            model.graph.remove(node, safe=True)


def _dequantized(node: onnx_ir.Node, model: onnx_ir.Model) -> np.ndarray | None:
    codes, scale, zero_point = (constant_of(input_at(node, index)) for index in range(3))
    if codes is None or scale is None or (input_at(node, 2) is not None and zero_point is None):
        return None
    in_blocks = int_attribute(node, "block_size", 0) != 0
    if in_blocks or scale.dtype != np.float32 or codes.dtype not in (np.int8, np.uint8, np.int16, np.uint16, np.int32):
        results = evaluate_node(node, [codes, scale, zero_point][: len(node.inputs)], model)
        return None if results is None else results[0]
    shape = [1] * codes.ndim
    if scale.size > 1:
        shape[int_attribute(node, "axis", 1)] = -1
    # ONNX subtracts in integers and multiplies in float32.
    centred = codes.astype(np.int32) if zero_point is None else codes.astype(np.int32) - zero_point.reshape(shape)
    return np.asarray(centred.astype(np.float32) * scale.reshape(shape)).reshape(codes.shape)
