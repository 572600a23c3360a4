"""Computes what never changes once, not each time the model runs: constants, and the shape arithmetic on them."""

from __future__ import annotations

import numpy as np
import onnx_ir

from strop.passes.base import Pass, Rewrites
from strop.passes.evaluate import evaluate_node
from strop.passes.graph import add_initializer, all_nodes, constant_of, int_attribute, replace_output, standard

LARGEST_BYTES = 1 << 20
"""A folded constant may be this large, or as large as the constants it comes from; beyond, the file would grow."""

_LEFT_ALONE = frozenset(
    # Random, or the form in which quantized models store their weights.
    "RandomNormal RandomUniform RandomNormalLike RandomUniformLike Multinomial Bernoulli Dropout "
    "QuantizeLinear DequantizeLinear DynamicQuantizeLinear Constant".split()
)


class FoldConstants(Pass):
    """Replaces nodes whose inputs are all constant, and what reads known sizes of a shape, by constants."""

    def _rewrite(self, model: onnx_ir.Model, rewrites: Rewrites) -> None:
        for node in all_nodes(model.graph):
            arrays = _known_sizes(node)
            if arrays is None:
                arrays = _computed(node, model)
            if arrays is None or any(output.is_graph_output() for output in node.outputs):
                continue
            for output, array in zip(node.outputs, arrays, strict=True):
                replace_output(output, add_initializer(model.graph, array, output.name or "constant"))
            rewrites.add(None, node)
            model.graph.remove(node, safe=True)


def _computed(node: onnx_ir.Node, model: onnx_ir.Model) -> list[np.ndarray] | None:
    if node.domain not in ("", "ai.onnx") or node.op_type in _LEFT_ALONE or not node.inputs:
        return None
    if any(
        attribute.type in (onnx_ir.AttributeType.GRAPH, onnx_ir.AttributeType.GRAPHS)
        for attribute in node.attributes.values()
    ):
        return None
    arrays = [constant_of(value) for value in node.inputs]
    if any(array is None for array, value in zip(arrays, node.inputs, strict=True) if value is not None):
        return None
    results = evaluate_node(node, arrays, model)
    if results is None:
        return None
    limit = max(LARGEST_BYTES, sum(array.nbytes for array in arrays if array is not None))
    return results if sum(result.nbytes for result in results) <= limit else None


def _known_sizes(node: onnx_ir.Node) -> list[np.ndarray] | None:
    """Shape of a tensor whose sizes are known, or a Gather/Slice that picks known sizes out of a shape."""
    sizes = _sizes(node)
    if sizes is None and node.inputs and node.inputs[0] is not None:
        source = node.inputs[0].producer()
        whole = None if source is None else _sizes(source)
        if whole is None:
            return None
        arrays = [constant_of(value) for value in node.inputs[1:]]
        if any(array is None for array in arrays):
            return None
        if standard(node, "Gather") and int_attribute(node, "axis", 0) == 0 and arrays[0] is not None:
            index = arrays[0]
            if np.any((index < -len(whole)) | (index >= len(whole))):
                return None
            picked = np.array([-1 if size is None else size for size in whole], np.int64)[index]
            return None if np.any(picked < 0) else [np.asarray(picked)]
        if standard(node, "Slice") and 2 <= len(arrays) <= 4 and arrays[0] is not None and arrays[1] is not None:
            step = int(arrays[3].item()) if len(arrays) == 4 and arrays[3] is not None else 1
            sizes = whole[slice(int(arrays[0].item()), int(arrays[1].item()), step)]
    if sizes is None or any(size is None for size in sizes):
        return None
    return [np.array(sizes, np.int64)]


def _sizes(node: onnx_ir.Node) -> list[int | None] | None:
    """The sizes a Shape node gives; None for one that is not known, or altogether where the rank is not."""
    if not standard(node, "Shape") or node.inputs[0] is None or node.inputs[0].shape is None:
        return None
    sizes = [size if isinstance(size, int) else None for size in node.inputs[0].shape]
    end = node.attributes.get("end")
    return sizes[int_attribute(node, "start", 0) : None if end is None else end.as_int()]
