"""Folds BatchNormalization into the convolution or matrix product before it, or the one behind it."""

from __future__ import annotations

import onnx_ir

from strop.passes.base import Pass, Rewrites
from strop.passes.channel_affine import (
    ChannelAffine,
    batch_norm_affine,
    fold_backward,
    fold_forward,
    linear_before,
)
from strop.passes.graph import all_nodes, replace_output, sole_consumer


class FoldBatchNorm(Pass):
    """Takes out every BatchNormalization that a neighbour can do as well.

    Into what comes before: Conv, ConvTranspose, Gemm. Into what comes after: Conv and Gemm, where that is exact (no
    padding, or no shift). Normalizations in training mode stay.
    """

    def _rewrite(self, model: onnx_ir.Model, rewrites: Rewrites) -> None:
        folded = -1
        while folded != len(rewrites):  # one that is gone may have stood between another and its convolution
            folded = len(rewrites)
            for node in all_nodes(model.graph):
                affine = batch_norm_affine(node)
                if affine is not None and not _into_previous(model.graph, node, affine, rewrites):
                    _into_next(model.graph, node, affine, rewrites)


def _into_previous(graph: onnx_ir.Graph, node: onnx_ir.Node, affine: ChannelAffine, rewrites: Rewrites) -> bool:
    value = node.inputs[0]
    before = linear_before(value)
    if value is None or before is None or before.graph is not node.graph or not fold_backward(graph, before, affine):
        return False
    rewrites.add(before, before, node)
    replace_output(node.outputs[0], value)
    graph.remove(node, safe=True)
    return True


def _into_next(graph: onnx_ir.Graph, node: onnx_ir.Node, affine: ChannelAffine, rewrites: Rewrites) -> None:
    after = sole_consumer(node.outputs[0])
    if after is None or after.graph is not node.graph or after.inputs[0] is not node.outputs[0]:
        return
    if fold_forward(graph, affine, after):
        rewrites.add(after, node, after)
        after.replace_input_with(0, node.inputs[0])
        graph.remove(node, safe=True)
