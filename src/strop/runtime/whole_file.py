"""Writes a file whole or not at all: under a hidden name in the same folder, then renamed over the old one."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from strop.errors import FileError


def write_whole(path: str | os.PathLike[str], pieces: Iterable[bytes | memoryview]) -> Path:
    """Writes the pieces, one after the other, to the file at `path`, and returns the path.

    Until the last byte is on the disk, `path` is what it was before; an interruption or error removes the hidden file.
    Raises FileError `file.write`.
    """
    path = Path(path)
    try:
        target = path.resolve() if path.is_symlink() else path
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        hidden = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            # Not tempfile: its files can be read by their owner only, and would stay so.
            with hidden.open("xb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            hidden.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                hidden.unlink()
            raise
        _sync_folder(target.parent)
    except OSError as error:
        raise FileError(
            "file.write",
            "the file could not be written; what was there before is unchanged",
            where=str(path),
            got=error.strerror or str(error),
            hint=_hint(error, path),
        ) from error
    return path


def _sync_folder(folder: Path) -> None:
    """Makes the new name last through a power cut, where the system lets folders be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _hint(error: OSError, path: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free some space, or write to another disk"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"make the folder first: mkdir -p {path.parent}"
    if error.errno == errno.EISDIR:
        return f"this is a folder: write to a file in it, such as {path / 'NAME'}"
    return "write to a folder where you may create files"
