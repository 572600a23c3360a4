"""The bytes between the members: the headers that make a bundle a valid zip archive of stored files as well.

The reader never looks at them; they are there so that `unzip -l` and file managers can look inside. They follow from
the table alone, so `Bundle.verify` can tell that nobody hid another content behind them. A bundle of 4 GiB or more has
zeros there instead.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from strop.loader.format import Entry

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_VERSION: Final = 10  # stored files need no more than zip 1.0
_DATE: Final = (1 << 5) | 1  # 1 January 1980: the same bundle has the same bytes whenever it is written
_SIZE_LIMIT: Final = (1 << 32) - (1 << 24)


def place(members: Sequence[tuple[str, int, bytes, int]], start: int) -> tuple[Entry, ...]:
    """Returns where members (name, length, SHA-256, alignment) lie in a file whose index ends at `start`."""
    entries = []
    for name, length, sha256, alignment in members:
        offset = -(-(start + _LOCAL.size + len(name)) // alignment) * alignment
        entries.append(Entry(name, offset, length, alignment, sha256))
        start = offset + length
    return tuple(entries)


def gaps(entries: Sequence[Entry], checksums: Sequence[int], start: int) -> tuple[list[bytes], bytes]:
    """Returns the bytes before each member and those behind the last.

    checksums: the CRC-32 of each member; start: where the index ends.
    """
    if entries[-1].end >= _SIZE_LIMIT or len(entries) >= 0xFFFF:
        ends = [start, *(entry.end for entry in entries)]
        return [bytes(entry.offset - end) for entry, end in zip(entries, ends, strict=False)], b""
    before, directory = [], []
    for entry, checksum in zip(entries, checksums, strict=True):
        name = entry.name.encode("ascii")
        sizes = (checksum, entry.length, entry.length, len(name))
        local = _LOCAL.pack(b"PK\3\4", _VERSION, 0, 0, 0, _DATE, *sizes, 0) + name
        before.append(local.rjust(entry.offset - start, b"\0"))
        directory += [
            _CENTRAL.pack(b"PK\1\2", _VERSION, _VERSION, 0, 0, 0, _DATE, *sizes, *[0] * 5, entry.offset - len(local)),
            name,
        ]
        start = entry.end
    central = b"".join(directory)
    return before, central + _END.pack(b"PK\5\6", 0, 0, len(entries), len(entries), len(central), start, 0)
