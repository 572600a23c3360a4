"""Folds Mul, Add, Div and Sub by constants per channel into the convolution or matrix product next to them.

Exporters write biases as Add, and learnable scales as Mul; an 8-bit convolution wants them inside.
"""

from __future__ import annotations

import onnx_ir

from strop.passes.base import Pass, Rewrites
from strop.passes.channel_affine import elementwise_affine, fold_backward, fold_forward, linear_before, output_channels
from strop.passes.graph import all_nodes, constant_of, replace_output, sole_consumer, standard


class FoldScaleShift(Pass):
    """Takes out every Mul, Add, Div and Sub by constants that the linear operator before or behind can do as well."""

    def _rewrite(self, model: onnx_ir.Model, rewrites: Rewrites) -> None:
        folded = -1
        while folded != len(rewrites):  # one that is gone may have stood between another and its convolution
            folded = len(rewrites)
            for node in all_nodes(model.graph):
                if standard(node, "Mul", "Add", "Div", "Sub") and not _into_previous(model.graph, node, rewrites):
                    _into_next(model.graph, node, rewrites)


def _into_previous(graph: onnx_ir.Graph, node: onnx_ir.Node, rewrites: Rewrites) -> bool:
    for value in node.inputs:
        before = linear_before(value)
        place = None if before is None else output_channels(before)
        if before is None or place is None or before.graph is not node.graph:
            continue
        rank, axis, _ = place
        if before.op_type == "MatMul" and not _keeps_rank(node):
            continue
        found = elementwise_affine(node, rank=rank, axis=axis)
        if found is not None and found[0] is value and fold_backward(graph, before, found[1]):
            rewrites.add(before, before, node)
            replace_output(node.outputs[0], found[0])
            graph.remove(node, safe=True)
            return True
    return False


def _into_next(graph: onnx_ir.Graph, node: onnx_ir.Node, rewrites: Rewrites) -> None:
    after = sole_consumer(node.outputs[0])
    if after is None or after.graph is not node.graph or after.inputs[0] is not node.outputs[0]:
        return
    place = output_channels(after) if standard(after, "Conv", "Gemm") else None
    if place is None:
        return
    found = elementwise_affine(node, rank=place[0], axis=1)
    if found is None or not _same_rank(found[0], place[0]) or not fold_forward(graph, found[1], after):
        return
    rewrites.add(after, node, after)
    after.replace_input_with(0, found[0])
    graph.remove(node, safe=True)


def _same_rank(value: onnx_ir.Value, rank: int) -> bool:
    """Whether the value has this rank for certain: broadcasting could have raised it."""
    return value.shape is not None and len(value.shape) == rank


def _keeps_rank(node: onnx_ir.Node) -> bool:
    """Whether the constant is a vector or scalar: it cannot raise the rank of a matrix product's result."""
    constants = [constant for constant in map(constant_of, node.inputs) if constant is not None]
    return all(constant.ndim <= 1 for constant in constants)
