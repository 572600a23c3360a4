"""Brings a model into the one form the house works on, without a change of what it computes.

Functions are inlined. Weights are initializers (some exporters write them as Constant nodes), initializers are no graph
inputs (they were before IR version 4, which forbids engines to fold them), nodes stand in order, and every node has a
name of its own.
"""

from __future__ import annotations

import onnx
import onnx_ir
from onnx_ir.passes import common


def normalize(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Returns `proto` in the house's form."""
    if _is_normal(proto):
        return proto
    ir = onnx_ir.from_proto(proto)
    if proto.functions:
        common.InlinePass()(ir)
    common.TopologicalSortPass()(ir)
    common.RemoveInitializersFromInputsPass()(ir)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(ir)
    for index, node in enumerate(ir.graph):
        node.name = node.name or f"{node.op_type}_{index}"
    _make_names_unique(ir.graph)
    ir.ir_version = max(ir.ir_version or 0, 4)
    normal = onnx_ir.to_proto(ir)
    _drop_stale_types(normal)
    return normal


def _is_normal(proto: onnx.ModelProto) -> bool:
    names = [node.name for node in proto.graph.node]
    inputs = {value.name for value in proto.graph.input}
    return (
        not proto.functions
        and all(names)
        and len(set(names)) == len(names)
        and all(node.op_type != "Constant" for node in proto.graph.node)
        and not any(tensor.name in inputs for tensor in proto.graph.initializer)
        and _is_sorted(proto.graph)
    )


def _is_sorted(graph: onnx.GraphProto) -> bool:
    known = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer} | {""}
    known |= {tensor.values.name for tensor in graph.sparse_initializer}
    for node in graph.node:
        if not known.issuperset(node.input):
            return False
        known.update(node.output)
    return True


def _make_names_unique(graph: onnx_ir.Graph) -> None:
    taken: set[str] = set()
    for node in graph:
        name, count = node.name or "", 0
        while node.name in taken:
            count += 1
            node.name = f"{name}_{count}"
        taken.add(node.name or "")


def _drop_stale_types(proto: onnx.ModelProto) -> None:
    """The conversion writes a type for each initializer; a tensor knows its own."""
    weights = {tensor.name for tensor in proto.graph.initializer}
    kept = [value for value in proto.graph.value_info if value.name not in weights]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(kept)
