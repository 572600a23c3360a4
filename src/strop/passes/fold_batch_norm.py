"""Folds BatchNormalization into the convolution or matrix product before it, or the one behind it."""

from __future__ import annotations

import onnx_ir

from strop.passes.base import Pass, Rewrites
from strop.passes.channel_affine import batch_norm_affine, fold_backward, fold_forward, linear_before
from strop.passes.graph import all_nodes, replace_output, sole_consumer


class FoldBatchNorm(Pass):
    """Takes out every BatchNormalization that a neighbour can do as well.

    Into what comes before: Conv, ConvTranspose, Gemm. Into what comes after: Conv and Gemm, where that is exact (no
    padding, or no shift). Normalizations in training mode stay.
    """

    def _rewrite(self, model: onnx_ir.Model, rewrites: Rewrites) -> None:
        for node in all_nodes(model.graph):
            affine = batch_norm_affine(node)
            if affine is None or node.inputs[0] is None:
                continue
            before = linear_before(node.inputs[0])
            same_graph = before is not None and before.graph is node.graph
            if before is not None and same_graph and fold_backward(model.graph, before, affine):
                rewrites.add(before, before, node)
                replace_output(node.outputs[0], node.inputs[0])
                model.graph.remove(node, safe=True)
                continue
            after = sole_consumer(node.outputs[0])
            if after is None or after.graph is not node.graph or after.inputs[0] is not node.outputs[0]:
                continue
            if fold_forward(model.graph, affine, after):
                rewrites.add(after, node, after)
                after.replace_input_with(0, node.inputs[0])
                model.graph.remove(node, safe=True)
