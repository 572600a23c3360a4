"""Code is mapped to be executed, never to be written, from bytes or from a file."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import sys
from pathlib import Path

import pytest

from strop.errors import FileError
from strop.loader.code import MappedCode, map_code

PAGE = mmap.ALLOCATIONGRANULARITY
RETURN_41, RETURN_42 = (bytes([0xB8, number, 0, 0, 0, 0xC3]).ljust(PAGE, b"\xcc") for number in (41, 42))
runs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="runs x86-64 code")


def call(code: MappedCode, offset: int = 0) -> int:
    return int(ctypes.CFUNCTYPE(ctypes.c_int)(code.address_of(offset))())


@runs_x86
@pytest.mark.parametrize("memory", ["allowed", "refused", "unknown"])
def test_bytes_are_executed(monkeypatch: pytest.MonkeyPatch, memory: str) -> None:
    def refuse(name: str, flags: int) -> int:
        raise PermissionError(name)

    if memory == "refused":
        monkeypatch.setattr(os, "memfd_create", refuse, raising=False)
    if memory == "unknown":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    with map_code(RETURN_41 + RETURN_42) as code:
        assert (code.length, call(code), call(code, PAGE)) == (2 * PAGE, 41, 42)
    with map_code(memoryview(RETURN_41 + RETURN_42), PAGE, PAGE) as code:
        assert (code.length, call(code)) == (PAGE, 42)


@runs_x86
def test_a_part_of_a_file_is_executed(tmp_path: Path) -> None:
    path = tmp_path / "code"
    path.write_bytes(b"head".ljust(PAGE) + RETURN_41 + RETURN_42)
    with map_code(path, PAGE) as code:
        assert (code.length, call(code), call(code, PAGE)) == (2 * PAGE, 41, 42)
    with map_code(str(path), 2 * PAGE, PAGE) as code:
        path.unlink()
        assert call(code) == 42


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_code_is_never_writable(tmp_path: Path) -> None:
    path = tmp_path / "code"
    path.write_bytes(RETURN_41)
    for source in (RETURN_41, path):
        with map_code(source) as code:
            lines = Path("/proc/self/maps").read_text().splitlines()
            assert [line.split()[1] for line in lines if line.startswith(f"{code.address:x}-")] == ["r-xp"]


def test_a_place_outside_has_no_address() -> None:
    with map_code(RETURN_41) as code:
        for offset in (-1, PAGE):
            with pytest.raises(ValueError, match="not inside"):
                code.address_of(offset)


def test_closing_twice_is_no_mistake() -> None:
    code = map_code(RETURN_41)
    code.close()
    code.close()


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 2 * PAGE), (PAGE, PAGE), (1, 10), (2 * PAGE, None), (-PAGE, None)],
    ids=["too long", "behind the end", "between pages", "far behind", "before"],
)
def test_what_is_not_in_the_file_is_not_mapped(tmp_path: Path, offset: int, length: int | None) -> None:
    path = tmp_path / "code"
    path.write_bytes(RETURN_41)
    with pytest.raises(FileError) as raised:
        map_code(path, offset, length)
    assert (raised.value.code, raised.value.where) == ("file.read", str(path))


def test_a_file_that_is_not_there_and_no_bytes_are_errors(tmp_path: Path) -> None:
    with pytest.raises(FileError) as raised:
        map_code(tmp_path / "none")
    assert raised.value.code == "file.read"
    with pytest.raises(FileError):
        map_code(b"")
