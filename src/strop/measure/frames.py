"""Messages between a worker and its parent: a JSON object and named arrays, framed by length, without pickle.

A frame is the length of its head (8 bytes, little endian), the head as JSON, then each array as an .npy file; the head
lists name and length of each.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np

LENGTH = struct.Struct("<Q")


def write_frame(stream: BinaryIO, value: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> None:
    """Writes one message; raises TypeError for a value that is not JSON and ValueError for arrays of objects."""
    packed = {name: _pack(array) for name, array in (arrays or {}).items()}
    head = {"value": value, "arrays": [[name, len(content)] for name, content in packed.items()]}
    text = json.dumps(head).encode()
    stream.write(LENGTH.pack(len(text)))
    stream.write(text)
    for content in packed.values():
        stream.write(content)
    stream.flush()


def read_frame(stream: BinaryIO) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns the next message; raises EOFError where the stream ends."""
    (length,) = LENGTH.unpack(_read(stream, LENGTH.size))
    head = json.loads(_read(stream, length))
    return head["value"], {name: _unpack(_read(stream, size)) for name, size in head["arrays"]}


def _pack(array: np.ndarray) -> memoryview:
    array = np.asarray(array)
    if array.dtype == object and all(isinstance(item, str) for item in array.flat):
        array = array.astype(str)  # ONNX string tensors come as arrays of objects
    content = BytesIO()
    np.lib.format.write_array(content, array, allow_pickle=False)
    return content.getbuffer()


def _unpack(content: bytes) -> np.ndarray:
    array: np.ndarray = np.lib.format.read_array(BytesIO(content), allow_pickle=False)
    return array


def _read(stream: BinaryIO, length: int) -> bytes:
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content
