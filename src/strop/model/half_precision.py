"""A copy of a model that computes in 16-bit floats, inputs and outputs staying as they are."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx

from strop.model.model import Model
from strop.model.walk import walk_graphs

_FLOAT, _HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
_LARGEST = float(np.finfo(np.float16).max)
_KEPT_INPUTS = {"Resize": (1, 2), "Upsample": (1,), "NonMaxSuppression": (0, 1, 2, 3, 4)}
"""Inputs that are float32 whatever the operator computes in."""


def in_half_precision(model: Model) -> Model:
    """Returns the model with float16 weights and computation: it says what 16 bits would bring, in time only.

    Values that 16 bits cannot hold are clipped. Constants that an operator wants in float32 stay so.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(model.to_proto())
    kept = {
        node.input[index]
        for graph in walk_graphs(proto.graph)
        for node in graph.node
        for index in _KEPT_INPUTS.get(node.op_type, ())
        if index < len(node.input)
    }
    for graph in walk_graphs(proto.graph):
        for tensor in graph.initializer:
            if tensor.data_type == _FLOAT and tensor.name not in kept:
                tensor.CopyFrom(_halved(tensor))
        for node in graph.node:
            _halve_attributes(node)
        del graph.value_info[:]
    initialized = {tensor.name for tensor in proto.graph.initializer}
    doors = [value for value in proto.graph.input if value.name not in initialized]
    before = [_cast(value.name, f"{value.name}.half", _HALF) for value in doors if _is_float(value)]
    after = [_cast(f"{value.name}.half", value.name, _FLOAT) for value in proto.graph.output if _is_float(value)]
    renamed = {node.input[0]: node.output[0] for node in before} | {node.output[0]: node.input[0] for node in after}
    _rename(proto.graph, renamed)
    for value in proto.graph.input:
        if value.name in initialized and _is_float(value) and value.name not in kept:
            value.type.tensor_type.elem_type = _HALF
    nodes = [*before, *proto.graph.node, *after]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return model.with_proto(proto)


def _halved(tensor: onnx.TensorProto) -> onnx.TensorProto:
    values = np.clip(onnx.numpy_helper.to_array(tensor), -_LARGEST, _LARGEST)
    return onnx.numpy_helper.from_array(values.astype(np.float16), tensor.name)


def _halve_attributes(node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == _FLOAT:
            attribute.t.CopyFrom(_halved(attribute.t))
        if attribute.name in ("to", "dtype") and attribute.type == onnx.AttributeProto.INT and attribute.i == _FLOAT:
            attribute.i = _HALF


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return onnx.helper.make_node("Cast", [source], [target], to=kind, name=f"{target}.cast")


def _is_float(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == _FLOAT)


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for inner in walk_graphs(graph):
        for node in inner.node:
            for values in (node.input, node.output):
                _set(values, [names.get(name, name) for name in values])


def _set(values: object, names: Iterable[str]) -> None:
    """Sets a repeated field of a proto, whose class has no name that can be imported."""
    values[:] = list(names)  # type: ignore[index]
