"""Brings weights that lie in other files into the model; a model may only name files in its own folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx

from strop.errors import ModelError
from strop.model.walk import walk_graphs


def load_external_data(proto: onnx.ModelProto, folder: Path | None, *, where: str) -> None:
    """Replaces every reference to another file by its bytes, in place.

    folder: where the model file lies; None where the model came as bytes or as a proto.
    Raises ModelError `model.external-data` for a file that is missing, too short, or outside `folder`.
    """
    for tensor in _tensors(proto):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entry = {pair.key: pair.value for pair in tensor.external_data}
        tensor.raw_data = _read(tensor.name, entry, folder, where)
        tensor.ClearField("data_location")
        del tensor.external_data[:]


def _read(name: str, entry: dict[str, str], folder: Path | None, where: str) -> bytes:
    location = entry.get("location", "")
    if folder is None:
        raise _refusal(name, where, "no folder to look in", f"load the model by its path, beside {location!r}")
    path = folder / location
    inside = path.resolve().is_relative_to(folder.resolve())
    if not location or Path(location).is_absolute() or not inside:
        raise _refusal(
            name, where, f"{location!r}, outside the model's folder", "only open models whose weights lie beside them"
        )
    if not path.is_file():
        raise _refusal(name, where, f"no file {location!r}", f"copy {location} beside the model, it belongs to it")
    try:
        offset, size = int(entry.get("offset", "0")), path.stat().st_size
        length = int(entry["length"]) if "length" in entry else size - offset
    except ValueError as error:
        raise _refusal(name, where, f"offset or length is no number: {entry}", "export the model again") from error
    if offset < 0 or length < 0 or offset + length > size:
        got = f"{location!r} of {size} bytes, needed {offset} + {length}"
        raise _refusal(name, where, got, f"copy or download {location} again")
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _refusal(tensor: str, where: str, got: str, hint: str) -> ModelError:
    return ModelError(
        "model.external-data", f"the weights of {tensor!r} cannot be read", where=where, got=got, hint=hint
    )


def _tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    graphs = list(walk_graphs(proto.graph))
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    nodes = [node for graph in graphs for node in graph.node]
    for node in [*nodes, *(node for function in proto.functions for node in function.node)]:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t
            yield from attribute.tensors
