"""Reads an ONNX model from a file or from bytes, and says what is wrong where it is none."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from strop.errors import FileError, ModelError, UsageError
from strop.model.save import PROTO_LIMIT_BYTES

_REFUSED = (".pt", ".pth", ".pt2", ".pkl", ".pickle", ".ckpt", ".joblib")
_FOREIGN = {
    ".tflite": "convert it with tf2onnx: python -m tf2onnx.convert --tflite MODEL --output MODEL.onnx",
    ".pb": "convert it with tf2onnx",
    ".h5": "convert it with tf2onnx",
    ".keras": "convert it with tf2onnx",
    ".xml": "give the ONNX file from which this OpenVINO model was made",
    ".safetensors": "these are weights without a graph: export the model to ONNX",
}


def read_file(path: Path) -> onnx.ModelProto:
    """Returns the proto in the file, its external data not loaded yet."""
    if path.suffix.lower() in _REFUSED:
        raise UsageError(
            "usage.refused-file",
            f"{path.suffix} files are not read: loading one can run code that is hidden in it",
            where=str(path),
            expected="an ONNX file",
            hint="export the model to ONNX: torch.onnx.export(module, inputs, 'model.onnx')",
        )
    if not path.exists():
        raise ModelError("model.missing-file", "the model file is not there", where=str(path), hint=_neighbours(path))
    if path.is_dir():
        raise ModelError("model.not-onnx", "this is a folder", where=str(path), hint=_neighbours(path / "x"))
    size = path.stat().st_size
    if size > PROTO_LIMIT_BYTES:
        raise ModelError(
            "model.too-large",
            "an ONNX file cannot hold more than 2 GB",
            where=str(path),
            got=f"{size} bytes",
            hint="save the weights as external data: onnx.save(model, path, save_as_external_data=True)",
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileError(
            "file.read",
            "the model file could not be read",
            where=str(path),
            got=error.strerror,
            hint="check its rights",
        ) from error
    return read_bytes(data, where=str(path))


def read_bytes(data: bytes, *, where: str = "bytes") -> onnx.ModelProto:
    """Returns the proto that `data` encodes; raises ModelError `model.not-onnx` or `model.truncated`."""
    if not data:
        raise ModelError("model.truncated", "the model file is empty", where=where, hint="copy or download it again")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        if _looks_like_onnx(data):
            raise _truncated(where, len(data)) from error
        raise _not_onnx(data, where) from error
    if proto.ir_version == 0 or not proto.HasField("graph"):
        raise _truncated(where, len(data)) if _looks_like_onnx(data) else _not_onnx(data, where)
    if not proto.opset_import:
        raise _truncated(where, len(data))
    return proto


def _looks_like_onnx(data: bytes) -> bool:
    # Field 1, the IR version, comes first in what every known exporter writes: the tag 0x08, then a small number.
    return data[0] == 0x08 and len(data) > 1 and 0 < data[1] < 0x20


def _truncated(where: str, size: int) -> ModelError:
    return ModelError(
        "model.truncated",
        "the model file ends too early or is damaged",
        where=where,
        got=f"{size} bytes",
        hint="copy or download it again, and compare its size or checksum",
    )


def _not_onnx(data: bytes, where: str) -> ModelError:
    suffix = Path(where).suffix.lower()
    kind, hint = "binary data", "give an ONNX file"
    if data.startswith(b"version https://git-lfs"):
        kind, hint = "a Git LFS pointer, not the model itself", "fetch the content: git lfs pull"
    elif data.startswith(b"PK\x03\x04"):
        kind, hint = "a zip archive", "unpack it, or, if it is a PyTorch file, export the model to ONNX"
    elif data.startswith(b"\x80"):
        kind, hint = "a pickle", "export the model to ONNX: torch.onnx.export(module, inputs, 'model.onnx')"
    elif data[:512].isascii() and b"\0" not in data[:512]:
        kind = f"text that begins {data[:40].decode('ascii')!r}"
    return ModelError(
        "model.not-onnx",
        "this is not an ONNX model",
        where=where,
        got=kind,
        expected="a serialized onnx.ModelProto",
        hint=_FOREIGN.get(suffix, hint),
    )


def _neighbours(path: Path) -> str:
    found = sorted(entry.name for entry in path.parent.glob("*.onnx")) if path.parent.is_dir() else []
    if found:
        return f"the folder holds {', '.join(found[:5])}{' ...' if len(found) > 5 else ''}"
    return f"check the path; {path.parent} holds no .onnx file"
