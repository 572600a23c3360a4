"""Computes one node on constants with the ONNX project's reference evaluator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir
from onnx.reference import ReferenceEvaluator

from strop.passes.base import opset_of


def evaluate_node(
    node: onnx_ir.Node, arrays: Sequence[np.ndarray | None], model: onnx_ir.Model
) -> list[np.ndarray] | None:
    """Returns the node's outputs for constant inputs; None where the reference evaluator cannot compute it."""
    proto = onnx_ir.to_proto(node)
    names = [f"input_{index}" if array is not None else "" for index, array in enumerate(arrays)]
    outputs = [f"output_{index}" for index in range(len(node.outputs))]
    del proto.input[:], proto.output[:]
    proto.input.extend(names)
    proto.output.extend(outputs)
    given = {name: array for name, array in zip(names, arrays, strict=True) if array is not None}
    graph = onnx.helper.make_graph(
        [proto],
        "one node",
        [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in given],
        [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in outputs],
    )
    whole = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset_of(model))])
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(whole).run(None, given)
    except Exception:  # An operator or type the evaluator does not know: then the node simply stays.
        return None
    if not all(isinstance(result, np.ndarray | np.generic) for result in results):
        return None
    return [np.asarray(result) for result in results]
