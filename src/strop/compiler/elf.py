"""Reads relocatable ELF64 objects, as LLVM writes them: sections, symbols, relocations. Little endian only."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

WRITABLE: Final = 1
ALLOCATED: Final = 2
EXECUTABLE: Final = 4
MERGEABLE: Final = 16

X86_64: Final = 62
AARCH64: Final = 183

_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_RELOCATION: Final = struct.Struct("<QQq")

_RELOCATABLE_FILE: Final = 1
_SYMBOL_TABLE: Final = 2
_RELOCATIONS: Final = 4
_NO_BITS: Final = 8
_LOCAL: Final = 0
_ORDINARY_SECTIONS: Final = 0xFF00  # indices from here on mean something else: absolute, common, ...


@dataclass(frozen=True, slots=True)
class Section:
    """A section: its flags (WRITABLE, ALLOCATED, ...), the alignment it needs and its bytes."""

    name: str
    flags: int
    alignment: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Symbol:
    """A symbol; section None: it is defined elsewhere. A local one is seen by its own object only."""

    name: str
    section: int | None
    value: int
    local: bool


@dataclass(frozen=True, slots=True)
class Relocation:
    """A place in a section that is to hold an address: of the symbol of this index, plus the addend."""

    section: int
    offset: int
    kind: int
    symbol: int
    addend: int


@dataclass(frozen=True, slots=True)
class ElfObject:
    """One relocatable object; machine: X86_64 or AARCH64."""

    machine: int
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    relocations: tuple[Relocation, ...]


def read_object(data: bytes) -> ElfObject:
    """Returns the object in `data`; raises ValueError where it is none, or cut off."""
    try:
        return _read(data)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"the object file is damaged: {error}") from error


def _read(data: bytes) -> ElfObject:
    ident, kind, machine, _, _, _, start, _, _, _, _, size, count, names_index = _HEADER.unpack_from(data)
    if ident[:6] != b"\x7fELF\x02\x01" or kind != _RELOCATABLE_FILE:
        raise ValueError("this is no relocatable ELF64 file")
    headers = [_SECTION.unpack_from(data, start + i * size) for i in range(count)]
    contents = [
        b"" if kind == _NO_BITS else _slice(data, offset, length) for _, kind, _, _, offset, length, *_ in headers
    ]
    # What has no bytes in the file still takes room in memory; it is zero there.
    contents = [
        bytes(header[5]) if header[1] == _NO_BITS else content
        for header, content in zip(headers, contents, strict=True)
    ]
    sections = tuple(
        Section(_text(contents[names_index], header[0]), header[2], max(header[8], 1), content)
        for header, content in zip(headers, contents, strict=True)
    )
    symbols: list[Symbol] = []
    relocations: list[Relocation] = []
    for header, content in zip(headers, contents, strict=True):
        if header[1] == _SYMBOL_TABLE:
            names = contents[header[6]]
            for name, info, _, section, value, _ in _SYMBOL.iter_unpack(content):
                if section >= _ORDINARY_SECTIONS and info & 15 != 4:  # 4: the name of the source file
                    raise ValueError(f"symbol {_text(names, name)!r} lies in no section (index {section:#x})")
                place = section if 0 < section < _ORDINARY_SECTIONS else None
                symbols.append(Symbol(_text(names, name), place, value, info >> 4 == _LOCAL))
        elif header[1] == _RELOCATIONS:
            for offset, info, addend in _RELOCATION.iter_unpack(content):
                relocations.append(Relocation(header[7], offset, info & 0xFFFFFFFF, info >> 32, addend))
    return ElfObject(machine, sections, tuple(symbols), tuple(relocations))


def _slice(data: bytes, offset: int, length: int) -> bytes:
    if offset + length > len(data):
        raise ValueError("the object file is damaged: it ends too early")
    return data[offset : offset + length]


def _text(table: bytes, offset: int) -> str:
    return table[offset : table.index(b"\0", offset)].decode("ascii")
