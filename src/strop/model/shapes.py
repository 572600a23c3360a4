"""Shapes: read from text, set on a model, inferred for every value.

Does: fix free sizes or change fixed ones, checked by running the model. Does not: change the batch of a model whose
rows must stay apart (batch.py). Start reading at: `with_shapes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import onnx

from strop.errors import InputError, ModelError, StropError, UsageError
from strop.model.model import Model, dtype_of, shape_of, walk_nodes
from strop.model.oracle import Unoptimized, custom_operators
from strop.model.random_inputs import make_inputs, runnable_inputs
from strop.model.specs import TensorSpec

Size = int | str | None


class ValueType(NamedTuple):
    """What is known of a value: numpy dtype name (None: unknown), shape (None: not even the rank)."""

    dtype: str | None
    shape: tuple[Size, ...] | None


def parse_shapes(texts: str | Iterable[str]) -> dict[str, tuple[int | None, ...]]:
    """Returns shapes by input name from texts such as `x=1,3,48,320`; `?` or `-1` leaves a size free.

    The name may be left out for a model of one input (the key is then "").

    Example:
        >>> parse_shapes(["x=1,3,?,320", "state=[2,1,128]"])
        {'x': (1, 3, None, 320), 'state': (2, 1, 128)}
    """
    shapes: dict[str, tuple[int | None, ...]] = {}
    for text in [texts] if isinstance(texts, str) else texts:
        name, _, sizes = text.strip().rpartition("=")
        parts = sizes.strip().strip("[]()").split(",") if sizes.strip().strip("[]()") else []
        try:
            shapes[name.strip()] = tuple(None if part.strip() in ("?", "-1") else _positive(part) for part in parts)
        except ValueError as error:
            raise UsageError(
                "usage.bad-option",
                "a shape cannot be read",
                got=text,
                expected="name=size,size,... with whole numbers above 0, or ? for a free size",
                hint="write it as --shape x=1,3,48,320",
            ) from error
    return shapes


def shapes_from(inputs: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """Returns the shapes that the arrays have, by input name."""
    return {name: tuple(array.shape) for name, array in inputs.items()}


def with_shapes(model: Model, shapes: Mapping[str, Sequence[int | None]]) -> Model:
    """Returns the model with these input shapes; the sizes of a symbol follow wherever it stands.

    Fixed sizes may be changed too. The result is run once, so that a shape the model cannot take is refused here:
    ModelError `model.shape` names the node where it is known; InputError `input.unknown` for no input of the model.
    """
    wanted = _complete(model, shapes)
    if all(spec.shape == wanted[spec.name] for spec in model.inputs):
        return model
    changed = model.with_proto(set_input_shapes(model.to_proto(), wanted))
    if custom_operators(model.to_proto()):
        return changed  # nothing here can run it
    try:
        run = Unoptimized(changed.to_proto(), where=model.name)
        is_static = all(spec.is_static for spec in changed.inputs)
        outputs = run(make_inputs(changed) if is_static else runnable_inputs(changed, run=run))
    except StropError as error:
        raise ModelError(
            "model.shape",
            "the model cannot take these shapes",
            where=f"{model.name} at {', '.join(spec.name + spec.describe_shape() for spec in changed.inputs)}",
            got=error.got,
            hint="give shapes that the model was made for; sizes often have to be multiples of 32",
        ) from error
    follows_inputs = is_static and not has_data_dependent_shapes(changed.to_proto())
    for spec, value in zip(model.outputs, changed.to_proto().graph.output, strict=True):
        shape = outputs[spec.name].shape
        if follows_inputs:
            set_shape(value, shape)
        elif len(shape) == len(spec.shape):
            pairs = zip(shape_of(value.type.tensor_type) or (), spec.shape, shape, strict=True)
            set_shape(value, [new or (old if old == seen else None) for new, old, seen in pairs])
    return model.with_proto(changed.to_proto())


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
            set_shape(output, [known.get(size) if isinstance(size, str) and size in known else None for size in sizes])
    return copy


_DATA_DEPENDENT = frozenset(["NonZero", "NonMaxSuppression", "Unique", "Compress", "Loop", "Scan", "If", "StringSplit"])


def has_data_dependent_shapes(proto: onnx.ModelProto) -> bool:
    """Returns whether an output's shape may depend on the inputs' values, not on their shapes alone."""
    return any(node.op_type in _DATA_DEPENDENT for node in walk_nodes(proto.graph))


def infer_shapes(model: Model, inputs: Mapping[str, np.ndarray] | None = None) -> dict[str, ValueType]:
    """Returns type and shape of every value of the main graph, weights included, as far as they can be known.

    By ONNX's shape inference (with data propagation, and surviving its failures); where `inputs` are given, by running
    the model on them, unoptimized: then every shape is a fact, for these inputs.
    """
    proto = model.to_proto()
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


def without_weights(proto: onnx.ModelProto, *, above_bytes: int = 1024) -> onnx.ModelProto:
    """Returns a copy whose weights above this size are graph inputs: small enough to be passed around."""
    small = onnx.ModelProto()
    for field, value in proto.ListFields():
        if field.name != "graph":
            _copy_field(small, field.name, value)
    for field, value in proto.graph.ListFields():
        if field.name != "initializer":
            _copy_field(small.graph, field.name, value)
    for tensor in proto.graph.initializer:
        if len(tensor.raw_data) > above_bytes:
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            small.graph.input.append(value)
        else:
            small.graph.initializer.append(tensor)
    return small


def _copy_field(message: object, name: str, value: object) -> None:
    target = getattr(message, name)
    if hasattr(target, "extend"):
        target.extend(value)
    elif hasattr(target, "CopyFrom"):
        target.CopyFrom(value)
    else:
        setattr(message, name, value)


def _complete(model: Model, shapes: Mapping[str, Sequence[int | None]]) -> dict[str, tuple[Size, ...]]:
    """Returns every input's shape: as wanted, with symbols that were given a number replaced on all inputs."""
    specs = {spec.name: spec for spec in model.inputs}
    named = {(next(iter(specs)) if not name and len(specs) == 1 else name): s for name, s in shapes.items()}
    symbols: dict[str, int] = {}
    for name, shape in named.items():
        if name not in specs:
            raise InputError(
                "input.unknown",
                f"the model has no input {name!r}",
                where=model.name,
                expected=", ".join(specs),
                hint=f"write --shape {next(iter(specs), 'x')}=...",
            )
        _check_rank(specs[name], shape, model.name)
        for size, number in zip(specs[name].shape, shape, strict=True):
            if isinstance(size, str) and number is not None and symbols.setdefault(size, number) != number:
                raise ModelError(
                    "model.shape",
                    f"{size!r} is one size of the model, and cannot have two values",
                    where=model.name,
                    got=f"{symbols[size]} and {number}",
                    hint="give the same number wherever this symbol stands (strop inspect shows them)",
                )
    complete: dict[str, tuple[Size, ...]] = {}
    for name, spec in specs.items():
        wanted = named.get(name, (None,) * len(spec.shape))
        complete[name] = tuple(
            number if number is not None else symbols.get(size, size) if isinstance(size, str) else size
            for size, number in zip(spec.shape, wanted, strict=True)
        )
    return complete


def _check_rank(spec: TensorSpec, shape: Sequence[int | None], where: str) -> None:
    if len(shape) != len(spec.shape):
        raise ModelError(
            "model.shape",
            f"the shape for input {spec.name!r} has the wrong number of dimensions",
            where=where,
            got=f"{len(shape)} {list(shape)}",
            expected=f"{len(spec.shape)} {spec.describe_shape()}",
            hint="give one number for each dimension, the batch first where there is one",
        )


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


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
