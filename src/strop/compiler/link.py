"""Links objects into a blob: code, then constants, in one run of bytes that works at any page-aligned address.

A blob needs nothing from outside and nothing written into it: no undefined symbol, no absolute address, no writable
data. So it is mapped read and execute, straight from a file, and shared between processes. Calls and constants are
reached relative to the program counter; those distances are what is filled in here.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from strop.compiler.elf import (
    AARCH64,
    ALLOCATED,
    EXECUTABLE,
    MERGEABLE,
    WRITABLE,
    X86_64,
    ElfObject,
    Relocation,
    read_object,
)
from strop.compiler.isa.table import Isa
from strop.errors import EngineError

PAGE: Final = 4096
_LINE: Final = 64  # objects begin on a cache line, so that code runs alike whatever stands before it

_NAMES: Final = {1: "R_X86_64_64", 9: "R_X86_64_GOTPCREL", 10: "R_X86_64_32", 11: "R_X86_64_32S"}
_NEAR: Final = (2, 4)  # R_X86_64_PC32, R_X86_64_PLT32
_FAR: Final = 24  # R_X86_64_PC64
_THROUGH_TABLE: Final = (41, 42)  # R_X86_64_GOTPCRELX, R_X86_64_REX_GOTPCRELX


@dataclass(frozen=True, slots=True)
class Blob:
    """Linked machine code: whole pages to be mapped read and execute, and where each symbol lies in them."""

    data: bytes
    symbols: dict[str, int]
    level: str


def link(objects: Sequence[bytes], isa: Isa) -> Blob:
    """Returns the blob of these objects; the same object given twice counts once.

    Raises EngineError `engine.machine-code` where a symbol is defined nowhere or in two ways, an address is absolute,
    a section is writable, or the objects are not for x86-64.
    """
    parts = [_checked(data) for data in dict.fromkeys(objects)]
    if any(part.machine != X86_64 for part in parts):
        raise _refused("only x86-64 code is linked so far", got=isa.level)
    defined = _definitions(parts)
    places, size = _place(parts)
    blob = bytearray(b"\xcc" * size)  # between functions: traps, so that running off the end of one is noticed
    for number, part in enumerate(parts):
        for index, section in enumerate(part.sections):
            if (number, index) in places:
                start = places[number, index]
                blob[start : start + len(section.data)] = section.data
    for number, part in enumerate(parts):
        for relocation in part.relocations:
            if (number, relocation.section) not in places:
                continue  # of unwind tables, which are dropped
            symbol = part.symbols[relocation.symbol]
            home, index, value = (
                (number, symbol.section, symbol.value) if symbol.section is not None else defined[symbol.name]
            )
            _apply(blob, relocation, places[number, relocation.section], places[home, index] + value, symbol.name)
    symbols = {name: places[home, index] + value for name, (home, index, value) in sorted(defined.items())}
    return Blob(bytes(blob), symbols, isa.level)


def check_closed(objects: Sequence[bytes]) -> None:
    """Raises EngineError `engine.machine-code` where the objects together need a symbol they lack, or writable data."""
    _definitions([_checked(data) for data in dict.fromkeys(objects)])


def _checked(data: bytes) -> ElfObject:
    try:
        part = read_object(data)
    except ValueError as error:
        raise _refused(str(error)) from error
    if part.machine not in (X86_64, AARCH64):
        raise _refused("an object is for another architecture", got=part.machine)
    for section in part.sections:
        if section.flags & WRITABLE and section.flags & ALLOCATED and section.data:
            raise _refused("an object has writable data", got=f"{len(section.data)} bytes in {section.name}")
    return part


def _definitions(parts: Sequence[ElfObject]) -> dict[str, tuple[int, int, int]]:
    """Returns the object, section and offset of every global symbol, all that are used being defined."""
    defined: dict[str, tuple[int, int, int]] = {}
    for number, part in enumerate(parts):
        for symbol in part.symbols:
            if symbol.section is None or symbol.local:
                continue
            if symbol.name in defined:
                raise _refused("two objects define the same symbol differently", got=symbol.name)
            defined[symbol.name] = (number, symbol.section, symbol.value)
    for part in parts:
        for symbol in part.symbols:
            if symbol.section is None and not symbol.local and symbol.name not in defined:
                raise _refused("a symbol is defined nowhere", got=symbol.name, expected="no symbol from outside")
    return defined


def _place(parts: Sequence[ElfObject]) -> tuple[dict[tuple[int, int], int], int]:
    """Returns the offset of each section that is kept, and the size of all, in whole pages: code, then constants."""
    places: dict[tuple[int, int], int] = {}
    end = 0
    for executable in (True, False):
        end = _up(end, PAGE if not executable and end else _LINE)
        known: dict[tuple[int, bytes], int] = {}
        for number, part in enumerate(parts):
            moved = {relocation.section for relocation in part.relocations}
            for index, section in enumerate(part.sections):
                if not _is_kept(part, index) or bool(section.flags & EXECUTABLE) != executable:
                    continue
                key = (section.alignment, section.data)
                is_shared = bool(section.flags & MERGEABLE) and index not in moved
                if is_shared and key in known:
                    places[number, index] = known[key]
                    continue
                start = _up(end, max(section.alignment, _LINE if executable else 1))
                places[number, index] = start
                end = start + len(section.data)
                if is_shared:
                    known[key] = start
    return places, _up(max(end, 1), PAGE)


def _is_kept(part: ElfObject, index: int) -> bool:
    section = part.sections[index]
    return bool(section.flags & ALLOCATED and section.data) and section.name != ".eh_frame"


def _apply(blob: bytearray, relocation: Relocation, start: int, target: int, name: str) -> None:
    """Fills in one distance; start: of the section it lies in, target: of the symbol."""
    place = start + relocation.offset
    distance = target + relocation.addend - place
    if relocation.kind in _THROUGH_TABLE and blob[place - 2] == 0x8B:  # mov reg, [table entry] becomes lea reg, [it]
        blob[place - 2] = 0x8D
    elif relocation.kind == _FAR:
        struct.pack_into("<q", blob, place, distance)
        return
    elif relocation.kind not in _NEAR:
        kind = _NAMES.get(relocation.kind, f"type {relocation.kind}")
        raise _refused("an address is not relative to the program counter", got=f"{kind} of {name or 'a section'}")
    struct.pack_into("<i", blob, place, distance)


def _up(number: int, to: int) -> int:
    return -(-number // to) * to


def _refused(what: str, *, got: object = None, expected: object = None) -> EngineError:
    return EngineError(
        "engine.machine-code",
        what,
        got=got,
        expected=expected,
        hint="this is a mistake in Strop: report it with the model; engine onnxruntime runs it meanwhile",
    )
