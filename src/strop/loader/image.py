"""An image: plan, code and packed weights of a compiled model; in a bundle three members, in the cache one file.

    offset 0      header, 512 bytes: magic, version, then offset, length and SHA-256 of plan, code and weights; its own
                  SHA-256 at the end
    then          the plan (`plan.py`), the code and the weights, each from a multiple of PAGE on

Numbers are little-endian. Nothing of a file is used before it was found right: header, plan and code are hashed at
every load, weights at the first (a stamp in the cache folder saves it later), and every offset of the plan is checked.
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import Final

from strop.loader import stamps
from strop.loader.code import MappedCode, map_code
from strop.loader.digest import sha256
from strop.loader.plan import Plan, parse_plan
from strop.loader.record import Record

MAGIC: Final = b"\x89STROPI\n"
VERSION: Final = 1
PAGE: Final = 4096
HEADER_BYTES: Final = 512

_HEADER: Final = struct.Struct("<8sQQ")
_PART: Final = struct.Struct("<QQ32s")
_PARTS: Final = ("plan", "code", "weights")


class CodeFile(Record):
    """Where code lies in a file; offset is a multiple of PAGE."""

    path: str
    offset: int
    length: int


class Image(Record):
    """A compiled model, ready to be run: the plan, the code (bytes or where they lie), the weights and their slack."""

    plan: Plan
    code: bytes | memoryview | CodeFile
    weights: memoryview

    def map_code(self) -> MappedCode:
        """Returns the code mapped anew: each program has its own, since each writes to its own page of data."""
        if isinstance(self.code, CodeFile):
            return map_code(self.code.path, self.code.offset, self.code.length)
        return map_code(self.code)

    def read_code(self) -> bytes | memoryview:
        """Returns the code's bytes; raises OSError where the file is gone or shorter."""
        if not isinstance(self.code, CodeFile):
            return self.code
        with open(self.code.path, "rb") as file:
            file.seek(self.code.offset)
            return file.read(self.code.length)


def image_of(plan: bytes | memoryview, code: bytes | memoryview | CodeFile, weights: memoryview | bytes) -> Image:
    """Returns the image of these parts; raises ValueError where plan, code and weights do not fit each other."""
    length = code.length if isinstance(code, CodeFile) else len(code)
    if not length or length % PAGE:
        raise ValueError(f"the code has {length} bytes, not whole pages")
    view = memoryview(weights)
    return Image(parse_plan(plan, code_bytes=length, weights_bytes=len(view)), code, view)


def open_image(path: str | os.PathLike[str]) -> Image:
    """Returns the image in the file at `path`; code and weights stay there, mapped.

    Raises OSError where it cannot be read, ValueError where it is no image or was changed.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_size < HEADER_BYTES:
            raise ValueError(f"the image has {status.st_size} bytes")
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    parts = _read_header(view)
    for name, (offset, length, digest) in parts.items():
        lasting = name == "weights"
        if lasting and stamps.is_stamped(status, digest):
            continue
        if sha256(view[offset : offset + length]) != digest:
            raise ValueError(f"the {name} of the image changed")
        if lasting:
            stamps.set_stamp(status, digest)
    plan, code, weights = (parts[name] for name in _PARTS)
    return image_of(
        view[plan[0] : plan[0] + plan[1]],
        CodeFile(path, code[0], code[1]),
        view[weights[0] : weights[0] + weights[1]],
    )


def pack_header(parts: dict[str, tuple[int, int, bytes]]) -> bytes:
    """Returns the header of an image whose parts ("plan", "code", "weights") have these offsets, lengths and hashes."""
    end = max(offset + length for offset, length, _ in parts.values())
    body = _HEADER.pack(MAGIC, VERSION, end) + b"".join(_PART.pack(*parts[name]) for name in _PARTS)
    body = body.ljust(HEADER_BYTES - 32, b"\0")
    return body + sha256(body)


def _read_header(view: memoryview) -> dict[str, tuple[int, int, bytes]]:
    """Returns offset, length and hash of each part, all of them inside the file."""
    magic, version, end = _HEADER.unpack_from(view)
    if magic != MAGIC:
        raise ValueError("the file is no image")
    if sha256(view[: HEADER_BYTES - 32]) != bytes(view[HEADER_BYTES - 32 : HEADER_BYTES]):
        raise ValueError("the header of the image changed")
    if version != VERSION:
        raise ValueError(f"the image has version {version}, this Strop reads version {VERSION}")
    if end != len(view):
        raise ValueError(f"the image has {len(view)} bytes, not {end}")
    parts = {}
    for index, name in enumerate(_PARTS):
        offset, length, digest = _PART.unpack_from(view, _HEADER.size + index * _PART.size)
        if offset % PAGE or offset < PAGE or offset + length > end:
            raise ValueError(f"the {name} of the image lie outside the file")
        parts[name] = (offset, length, digest)
    return parts
