"""The layout of a `.strop` file, format version 1. All numbers are little-endian.

    offset 0        header, 64 bytes: magic, format version, smallest reader version, page size, length of the index,
                    number of members, length of the file; the rest is zero
    offset 64       the table, 128 bytes a member: name, offset, length, alignment, SHA-256 of the content
                    zeros up to a whole page (one page holds 31 members), save for the last 32 bytes of the index:
                    the SHA-256 of everything before them
    then            the members in the table's order, stored as they are, each at a multiple of its alignment, so that
                    it can be mapped into memory; the bytes between them are a zip archive's headers (`zip_view.py`)

Header, table and the place of the hash keep their meaning in every version. A reader ignores members it does not
know. Those of version 1:

    manifest.json       what the bundle is (`manifest.py`); always the first member
    model.onnx          the optimized model, one ONNX message without external data
    tests/...npy        inputs of the self-test and the outputs they gave
    report.json         what was measured when the bundle was made
    plan/<level>        what the code for an ISA level (`cpu.LEVELS`) is to be called with, task by task: JSON
    code/<level>        that code: position-independent, mapped read and execute
    weights/<level>     weights packed for that code
    plan/<level>/<n>    of a model with free sizes: the same for some sizes; the manifest says which belong together,
                        and code/<level>/<n>, weights/<level>/<n> may serve several plans
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from strop.errors import BundleError
from strop.loader.digest import sha256
from strop.loader.record import Record

MAGIC: Final = b"\x89STROP\r\n"  # as PNG's: not text, and spoiled by whoever rewrites line ends
FORMAT_VERSION: Final = 1
READER_VERSION: Final = 1
PAGE: Final = 4096
WIDE_PAGE: Final = 65536  # what Windows, and arm64 kernels with large pages, ask of a mapping's offset

MANIFEST: Final = "manifest.json"
MODEL: Final = "model.onnx"
REPORT: Final = "report.json"
TESTS: Final = "tests/"
PLAN: Final = "plan/"
CODE: Final = "code/"
WEIGHTS: Final = "weights/"

_HEADER: Final = struct.Struct("<8sHHIIIQ32x")
_ENTRY: Final = struct.Struct("<64sQQI12x32s")
_HASH_BYTES: Final = 32
_INDEX_LIMIT: Final = 1 << 20
_ALIGNMENT_LIMIT: Final = 1 << 21
_NAME_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._+-/")


class Entry(Record):
    """One member: where its content lies in the file, and the hash it must have."""

    name: str
    offset: int
    length: int
    alignment: int
    sha256: bytes

    @property
    def end(self) -> int:
        """The offset of the first byte behind it."""
        return self.offset + self.length


class Index(Record):
    """What the first page says: versions, and the members in the order in which they lie in the file."""

    format_version: int
    smallest_reader: int
    length: int
    file_length: int
    entries: tuple[Entry, ...]


def damaged(path: object, what: str, *, got: object = None, expected: object = None) -> BundleError:
    """Returns the error for a bundle that was cut or changed."""
    return BundleError(
        "bundle.damaged",
        f"the bundle is damaged: {what}",
        where=str(path),
        got=got,
        expected=expected,
        hint="copy or download it again, or make it again with `strop optimize`",
    )


def alignment_of(name: str) -> int:
    """Returns the alignment that a member of this name is written with."""
    return WIDE_PAGE if name.startswith((CODE, WEIGHTS)) else PAGE


def is_valid_name(name: str) -> bool:
    """Whether a member may be called this: lower-case words and slashes, no way out of a folder, at most 64 bytes."""
    words = name.split("/")
    return len(name) <= 64 and _NAME_LETTERS.issuperset(name) and all(word[:1].isalnum() for word in words)


def index_length(members: int) -> int:
    """Returns the length of an index of this many members: whole pages."""
    used = _HEADER.size + members * _ENTRY.size + _HASH_BYTES
    return -(-used // PAGE) * PAGE


def pack_index(entries: Iterable[Entry], file_length: int) -> bytes:
    """Returns the bytes a bundle of these members begins with."""
    rows = [_ENTRY.pack(e.name.encode("ascii"), e.offset, e.length, e.alignment, e.sha256) for e in entries]
    length = index_length(len(rows))
    header = _HEADER.pack(MAGIC, FORMAT_VERSION, READER_VERSION, PAGE, length, len(rows), file_length)
    body = (header + b"".join(rows)).ljust(length - _HASH_BYTES, b"\0")
    return body + sha256(body)


def parse_index(data: memoryview, path: object) -> Index:
    """Returns the index of the file whose bytes are `data`, everything in it checked against the file's length.

    Raises BundleError: `bundle.not-a-bundle`, `bundle.damaged`, `bundle.version`.
    """
    if bytes(data[: len(MAGIC)]) != MAGIC:
        raise _not_a_bundle(path, bytes(data[: len(MAGIC)]))
    if len(data) < PAGE:
        raise damaged(path, "it ends inside its first page", got=f"{len(data)} bytes")
    _, version, reader, page, length, count, file_length = _HEADER.unpack_from(data)
    if (
        not (PAGE <= length <= min(_INDEX_LIMIT, len(data)))
        or _HEADER.size + count * _ENTRY.size + _HASH_BYTES > length
    ):
        raise damaged(path, "the length of its index is impossible", got=f"{length} bytes for {count} members")
    body = data[: length - _HASH_BYTES]
    if sha256(body) != bytes(data[length - _HASH_BYTES : length]):
        raise damaged(path, "its index was changed")
    if reader > READER_VERSION:
        raise BundleError(
            "bundle.version",
            "the bundle was written for a newer version of Strop",
            where=str(path),
            got=f"format {version}, for readers from version {reader} on",
            expected=f"a format that reader version {READER_VERSION} can read",
            hint="update Strop: pip install --upgrade strop",
        )
    if file_length != len(data):
        raise damaged(path, "the file has the wrong length", got=f"{len(data)} bytes", expected=f"{file_length} bytes")
    if page < PAGE or page & (page - 1):
        raise damaged(path, "its page size is impossible", got=page)
    entries = tuple(_entry(_ENTRY.unpack_from(data, _HEADER.size + i * _ENTRY.size), path) for i in range(count))
    _check_places(entries, length, file_length, path)
    return Index(version, reader, length, file_length, entries)


def _entry(row: tuple[bytes, int, int, int, bytes], path: object) -> Entry:
    name, offset, length, alignment, sha256 = row
    text = name.rstrip(b"\0").decode("ascii", errors="replace")
    if not is_valid_name(text):
        raise damaged(path, "a member's name is not allowed", got=repr(text))
    if not 0 < alignment <= _ALIGNMENT_LIMIT or alignment & (alignment - 1) or offset % alignment:
        raise damaged(path, f"member {text!r} lies at no multiple of its alignment", got=f"{offset}, {alignment}")
    return Entry(text, offset, length, alignment, sha256)


def _check_places(entries: tuple[Entry, ...], start: int, file_length: int, path: object) -> None:
    if not entries or entries[0].name != MANIFEST:
        raise damaged(path, "its first member is not the manifest")
    if len({entry.name for entry in entries}) != len(entries):
        raise damaged(path, "two members have the same name")
    for entry in entries:
        if entry.offset < start or entry.end > file_length:
            raise damaged(
                path,
                f"member {entry.name!r} lies outside the file or over another member",
                got=f"bytes {entry.offset} to {entry.end}",
                expected=f"between {start} and {file_length}",
            )
        start = entry.end


def _not_a_bundle(path: object, begin: bytes) -> BundleError:
    return BundleError(
        "bundle.not-a-bundle",
        "the file is not a Strop bundle",
        where=str(path),
        got=f"a file that begins with {begin!r}" if begin else "an empty file",
        expected="a file written by `strop optimize -o NAME.strop`",
        hint="give the .strop file; an ONNX model is run with strop.compile(path)",
    )
