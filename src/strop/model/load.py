"""The door for ONNX models: read, check, raise the opset, set shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir

from strop.errors import ModelError, UsageError
from strop.model import read
from strop.model.complete import complete_outputs
from strop.model.external import load_external_data
from strop.model.infer import without_weights
from strop.model.model import Model, dtype_of, opset_of
from strop.model.normalize import normalize
from strop.model.opset import raise_opset

Source = str | Path | bytes | onnx.ModelProto | onnx_ir.Model | Model


def load_model(source: Source, *, shapes: Mapping[str, Sequence[int | None]] | None = None) -> Model:
    """Returns the model in `source`, checked and at a working opset.

    source: a path, a file's bytes, an `onnx.ModelProto`, an `onnx_ir.Model`, or a Model (returned as it is).
    shapes: sizes to fix, by input name, as `shapes.with_shapes` takes them.
    Raises ModelError for what is no usable ONNX model, UsageError `usage.refused-file` for files that can run code.

    Example:
        >>> from strop.testing.models import multilayer_perceptron
        >>> load_model(multilayer_perceptron(opset=11), shapes={"x": (8, 16)}).outputs[0].shape
        (8, 4)
    """
    model = source if isinstance(source, Model) else _load(source)
    if shapes:
        from strop.model.shapes import with_shapes

        model = with_shapes(model, shapes)
    return model


def _load(source: str | Path | bytes | onnx.ModelProto | onnx_ir.Model) -> Model:
    path = Path(source) if isinstance(source, (str, Path)) else None
    proto = _proto(source, path)
    where = str(path) if path else "the model"
    load_external_data(proto, path.parent if path else None, where=where)
    _check_weights(proto, where)
    _check_names(proto.graph, where)
    try:
        proto = normalize(proto)
        complete_outputs(proto)
    except Exception as error:  # onnx-ir raises whatever a broken graph leads it to
        _check(proto, where)
        raise _invalid(where, str(error) or type(error).__name__) from error
    _check(proto, where)
    raised, warnings = raise_opset(proto)
    model = Model(
        normalize(raised),
        name=path.stem if path else proto.graph.name or "model",
        path=path,
        source_opset=opset_of(proto),
        warnings=warnings,
    )
    model.check_types()
    return model


def _proto(source: object, path: Path | None) -> onnx.ModelProto:
    if path is not None:
        return read.read_file(path)
    if isinstance(source, bytes):
        return read.read_bytes(source)
    if isinstance(source, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(source)
        return copy
    if isinstance(source, onnx_ir.Model):
        return _from_ir(source)
    raise UsageError(
        "usage.bad-option",
        "this is no model that can be loaded",
        got=type(source).__name__,
        expected="a path, bytes, onnx.ModelProto, onnx_ir.Model or Model",
        hint="give a PyTorch module to strop.compile with example inputs, or export it to ONNX",
    )


def _from_ir(source: onnx_ir.Model) -> onnx.ModelProto:
    proto = onnx_ir.to_proto(source)
    for tensor in proto.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            value = source.graph.initializers[tensor.name].const_value
            try:
                tensor.raw_data = value.tobytes() if value else b""
            except (OSError, ValueError) as error:
                raise ModelError(
                    "model.external-data",
                    f"the weights of {tensor.name!r} cannot be read",
                    got=str(error),
                    hint="put the file back, or load the model anew",
                ) from error
            tensor.ClearField("data_location")
            del tensor.external_data[:]
    return proto


def _check_weights(proto: onnx.ModelProto, where: str) -> None:
    """Raises where a tensor holds fewer or more bytes than its shape says; the ONNX checker does not look."""
    for tensor in proto.graph.initializer:
        if not tensor.HasField("raw_data"):
            continue
        count = int(np.prod(tensor.dims, dtype=np.int64))
        bits = np.dtype(dtype_of(tensor.data_type)).itemsize * 8
        packed = 4 if tensor.data_type in _FOUR_BITS else bits
        if len(tensor.raw_data) != (count * packed + 7) // 8:
            raise ModelError(
                "model.truncated",
                f"the weights of {tensor.name!r} are not as long as their shape says",
                where=where,
                got=f"{len(tensor.raw_data)} bytes",
                expected=f"{(count * packed + 7) // 8} bytes for {list(tensor.dims)}",
                hint="copy or download the model again, or export it again",
            )


_FOUR_BITS = (onnx.TensorProto.INT4, onnx.TensorProto.UINT4, onnx.TensorProto.FLOAT4E2M1)


def _check_names(graph: onnx.GraphProto, where: str) -> None:
    """Raises where a node uses what nothing makes (the checker wants the nodes sorted first), or an output is twice."""
    made = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer} | {""}
    made |= {tensor.values.name for tensor in graph.sparse_initializer}
    made.update(name for node in graph.node for name in node.output)
    for node in graph.node:
        for name in node.input:
            if name not in made:
                user = f"node {node.name!r} ({node.op_type}) uses {name!r}"
                raise _invalid(where, f"{user}, which nothing makes")
    outputs = [value.name for value in graph.output]
    for name in outputs:
        if outputs.count(name) > 1:
            raise _invalid(where, f"the output {name!r} is listed {outputs.count(name)} times")


def _check(proto: onnx.ModelProto, where: str) -> None:
    try:
        # The checker reads nothing of big weights that `_check_weights` has not read, but it would copy them twice.
        onnx.checker.check_model(without_weights(proto))
    except Exception as error:  # besides its ValidationError it lets text that is no text through
        raise _invalid(where, str(error) or type(error).__name__) from error


def _invalid(where: str, reason: str) -> ModelError:
    return ModelError(
        "model.invalid",
        "the model breaks the rules of ONNX",
        where=where,
        got=reason.strip().splitlines()[0],
        hint="export it again with a newer exporter, or ask its author for another file",
    )
