"""The door for ONNX models: read, check, raise the opset, set shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import onnx_ir

from strop.errors import ModelError, UsageError
from strop.model import read
from strop.model.model import Model, opset_of
from strop.model.opset import raise_opset

Source = str | Path | bytes | onnx.ModelProto | onnx_ir.Model | Model


def load_model(source: Source, *, shapes: Mapping[str, Sequence[int]] | None = None) -> Model:
    """Returns the model in `source`, checked and at a working opset.

    source: a path, a file's bytes, an `onnx.ModelProto`, an `onnx_ir.Model`, or a Model (returned as it is).
    shapes: sizes to fix, by input name, as `shapes.with_shapes` takes them.
    Raises ModelError for what is no usable ONNX model, UsageError `usage.refused-file` for files that can run code.
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
    _check(proto, where)
    raised, warnings = raise_opset(proto)
    model = Model(
        raised,
        name=path.stem if path else proto.graph.name or "model",
        path=path,
        source_opset=opset_of(proto),
        warnings=warnings,
    )
    assert model.inputs is not None and model.outputs is not None  # reads the types now, so that a bad one fails here
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
        return onnx_ir.to_proto(source)
    raise UsageError(
        "usage.bad-option",
        "this is no model that can be loaded",
        got=type(source).__name__,
        expected="a path, bytes, onnx.ModelProto, onnx_ir.Model or Model",
        hint="for a PyTorch module use strop.compile(module, inputs=...) or export it to ONNX",
    )


def _check(proto: onnx.ModelProto, where: str) -> None:
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise ModelError(
            "model.invalid",
            "the model breaks the rules of ONNX",
            where=where,
            got=str(error).strip().splitlines()[0],
            hint="export it again with a newer exporter; `python -m onnx.checker` shows the whole complaint",
        ) from error
