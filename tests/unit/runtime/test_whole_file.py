"""A file is written whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from strop.errors import FileError
from strop.runtime.whole_file import write_whole


def interrupted(error: BaseException) -> Iterator[bytes]:
    yield b"half of it"
    raise error


@pytest.mark.parametrize("old", [b"the old one", None])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device"), ValueError()])
def test_a_failure_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, old: bytes | None, error: BaseException
) -> None:
    path = tmp_path / "a.strop"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises((type(error), FileError)):
        write_whole(path, interrupted(error))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == ({} if old is None else {"a.strop": old})


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        write_whole(tmp_path / "a.strop", interrupted(OSError(errno.ENOSPC, "No space left on device")))
    assert caught.value.got == "No space left on device"
    assert "free some space" in caught.value.hint


def test_an_error_at_the_last_moment_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.strop"
    path.write_bytes(b"old")

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(FileError):
        write_whole(path, [b"new"])
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_the_new_file_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        path = write_whole(tmp_path / "a", [b"1", memoryview(b"2")])
    finally:
        os.umask(mask)
    assert path.read_bytes() == b"12"
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(target)
    write_whole(link, [b"new"])
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("place", "hint"), [("none/a.strop", "mkdir -p"), ("", "this is a folder"), ("file/a.strop", "make the folder")]
)
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, place: str, hint: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError) as caught:
        write_whole(tmp_path / place, [b"x"])
    assert caught.value.code == "file.write"
    assert hint in caught.value.hint
