"""Writes shapes into a proto, unchecked: what shapes.py and batch.py build on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from strop.model.model import shape_of
from strop.model.walk import walk_nodes

Size = int | str | None


def set_input_shapes(proto: onnx.ModelProto, shapes: Mapping[str, Sequence[Size]]) -> onnx.ModelProto:
    """Returns a copy of `proto` with these input shapes and without the shapes that stood on other values."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    known: dict[str, int] = {}
    for value in copy.graph.input:
        if value.name in shapes:
            before = shape_of(value.type.tensor_type) or ()
            for old, new in zip(before, shapes[value.name], strict=False):
                if isinstance(old, str) and isinstance(new, int):
                    known[old] = new
            set_shape(value, shapes[value.name])
    del copy.graph.value_info[:]
    for output in copy.graph.output:
        sizes = shape_of(output.type.tensor_type)
        if sizes is not None:
            # What an output's fixed size becomes is known only to the model: it is left open here.
            set_shape(output, [known.get(size, size) if isinstance(size, str) else None for size in sizes])
    return copy


_DATA_DEPENDENT = frozenset(["NonZero", "NonMaxSuppression", "Unique", "Compress", "Loop", "Scan", "If", "StringSplit"])


def has_data_dependent_shapes(proto: onnx.ModelProto) -> bool:
    """Returns whether an output's shape may depend on the inputs' values, not on their shapes alone."""
    return any(node.op_type in _DATA_DEPENDENT for node in walk_nodes(proto.graph))


def set_shape(value: onnx.ValueInfoProto, shape: Sequence[Size]) -> None:
    """Writes the shape of an input or output, in place."""
    value.type.tensor_type.shape.Clear()
    value.type.tensor_type.shape.SetInParent()
    for size in shape:
        dimension = value.type.tensor_type.shape.dim.add()
        if isinstance(size, int):
            dimension.dim_value = size
        elif size is not None:
            dimension.dim_param = size
