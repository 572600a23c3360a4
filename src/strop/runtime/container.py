"""Writes members into the `.strop` format that `strop.loader.format` describes."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from strop.errors import UsageError
from strop.loader.format import Entry, alignment_of, index_length, is_valid_name, pack_index
from strop.loader.zip_view import gaps, place
from strop.runtime.whole_file import write_whole

Content = bytes | memoryview


def write_container(path: str | os.PathLike[str], members: Mapping[str, Content]) -> Path:
    """Writes `members`, the manifest first, whole or not at all, and returns the path; same members, same bytes."""
    for name in members:
        if not is_valid_name(name):
            raise UsageError(
                "usage.bad-option",
                "a member of a bundle cannot have this name",
                got=name,
                hint="use at most 64 lower-case letters, digits, dots, dashes and slashes",
            )
    start = index_length(len(members))
    rows = [(name, len(data), hashlib.sha256(data).digest(), alignment_of(name)) for name, data in members.items()]
    entries = place(rows, start)
    before, behind = gaps(entries, [zlib.crc32(data) for data in members.values()], start)
    return write_whole(path, _pieces(entries, list(members.values()), before, behind))


def _pieces(
    entries: Sequence[Entry], contents: Sequence[Content], before: list[bytes], behind: bytes
) -> Iterator[Content]:
    yield pack_index(entries, entries[-1].end + len(behind))
    for gap, content in zip(before, contents, strict=True):
        yield gap
        yield content
    yield behind
