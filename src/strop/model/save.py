"""Writes a model whole or not at all, with its weights in a second file where one message cannot hold them."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx

from strop.errors import FileError
from strop.model.walk import walk_graphs

PROTO_LIMIT_BYTES = 2**31 - 2**20
"""What one protobuf message can hold (2 GiB), less room for the graph itself."""


def weight_bytes(proto: onnx.ModelProto) -> int:
    """Returns the bytes of the initializers' raw data; unlike ByteSize it works above 2 GB."""
    return sum(len(tensor.raw_data) for graph in walk_graphs(proto.graph) for tensor in graph.initializer)


def content(proto: onnx.ModelProto) -> Iterator[bytes]:
    """Yields bytes that determine the model, weights included, tensor by tensor: none is above 2 GB."""
    for tensor in proto.graph.initializer:
        yield tensor.SerializeToString(deterministic=True)
    yield without(proto, "initializer").SerializeToString(deterministic=True)


def without(proto: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Returns a copy that lacks this field of the graph."""
    small = onnx.ModelProto()
    for field, value in proto.ListFields():
        if field.name != "graph":
            _copy_field(small, field.name, value)
    for field, value in proto.graph.ListFields():
        if field.name != name:
            _copy_field(small.graph, field.name, value)
    return small


def _copy_field(message: object, name: str, value: object) -> None:
    target = getattr(message, name)
    if hasattr(target, "extend"):
        target.extend(value)
    elif hasattr(target, "CopyFrom"):
        target.CopyFrom(value)
    else:
        setattr(message, name, value)


def save_proto(proto: onnx.ModelProto, path: Path, *, external_data: bool | None = None) -> Path:
    """Writes `proto` to `path` and returns it; a failure leaves what was there before.

    external_data: weights go to `<name>.data` beside it; None means where they do not fit one message.
    """
    if external_data is None:
        external_data = weight_bytes(proto) > PROTO_LIMIT_BYTES
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            written = Path(folder) / path.name
            if external_data:
                separated = onnx.ModelProto()
                separated.CopyFrom(proto)
                onnx.save_model(separated, written, save_as_external_data=True, location=f"{path.name}.data")
                if (Path(folder) / f"{path.name}.data").exists():
                    (Path(folder) / f"{path.name}.data").replace(path.parent / f"{path.name}.data")
            else:
                written.write_bytes(proto.SerializeToString(deterministic=True))
            written.replace(path)
    except OSError as error:
        raise FileError(
            "file.write",
            "the model could not be written",
            where=str(path),
            got=f"{os.strerror(error.errno) if error.errno else error}",
            hint=_hint(error, path),
        ) from error
    return path


def _hint(error: OSError, path: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space, or write to another disk"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"make the folder first: mkdir -p {path.parent}"
    return "write to a folder where you may create files"
