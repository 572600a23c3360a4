"""Type and shape of every value of a model, also of models whose own shape information is poor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import onnx

from strop.model.model import Model, dtype_of, shape_of
from strop.model.oracle import Unoptimized
from strop.model.save import without
from strop.model.shape_edit import Size


class ValueType(NamedTuple):
    """What is known of a value: numpy dtype name (None: unknown), shape (None: not even the rank)."""

    dtype: str | None
    shape: tuple[Size, ...] | None


def infer_shapes(model: Model, inputs: Mapping[str, np.ndarray] | None = None) -> dict[str, ValueType]:
    """Returns type and shape of every value of the main graph, weights included, as far as they can be known.

    By ONNX's shape inference (with data propagation, and surviving its failures); where `inputs` are given, by running
    the model on them, unoptimized: then every shape is a fact, for these inputs.
    """
    proto = model.to_proto()
    values = inferred_types(proto)
    for weight in proto.graph.initializer:
        values[weight.name] = ValueType(dtype_of(weight.data_type), tuple(weight.dims))
    for node in proto.graph.node:
        for name in filter(None, node.output):
            values.setdefault(name, ValueType(None, None))
    if inputs is not None:
        produced = [name for node in proto.graph.node for name in node.output if name]
        for name, array in Unoptimized(proto, values=produced, where=model.name)(inputs).items():
            if isinstance(array, np.ndarray):
                values[name] = ValueType(str(array.dtype), array.shape)
        values.update((name, ValueType(str(array.dtype), array.shape)) for name, array in inputs.items())
    return values


def inferred_types(proto: onnx.ModelProto) -> dict[str, ValueType]:
    """Returns what the model itself and ONNX's shape inference say of its values."""
    try:
        # Big weights do not matter for shapes, only their types do: without them this takes milliseconds.
        inferred = onnx.shape_inference.infer_shapes(without_weights(proto), data_prop=True)
    except Exception:  # it raises its C++ errors as they come; the model may be fine all the same
        inferred = proto
    values: dict[str, ValueType] = {}
    for graph in (proto.graph, inferred.graph):
        for value in [*graph.value_info, *graph.output, *graph.input]:
            if value.type.HasField("tensor_type"):
                tensor = value.type.tensor_type
                dtype = dtype_of(tensor.elem_type) if tensor.elem_type else None
                values[value.name] = ValueType(dtype, shape_of(tensor))
    return values


def without_weights(proto: onnx.ModelProto, *, above_bytes: int = 1024) -> onnx.ModelProto:
    """Returns a copy whose weights above about this size are graph inputs: small enough to be passed around."""
    given = {value.name for value in proto.graph.input}
    small = without(proto, "initializer")
    for tensor in proto.graph.initializer:
        if tensor.HasField("raw_data") and 4 * math.prod(tensor.dims) > above_bytes:  # reading the data would copy it
            if tensor.name in given:
                continue
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            small.graph.input.append(value)
        else:
            small.graph.initializer.append(tensor)
    return small
