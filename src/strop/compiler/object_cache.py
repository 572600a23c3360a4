"""Keeps object files between runs, one file a module of IR, in a folder that several processes use at once.

An entry is a line that says what it is, the SHA-256 of the rest with its key, and the object. It is written under
another name and renamed, so that nobody ever sees half of one; it is read only when everything in it fits and it is a
plain file of this user (or of root) that nobody else may write: what lies here is executed. Anything else is ignored
with a warning, as is a folder that cannot be written: a cache never makes anything fail.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from pathlib import Path
from typing import Final

from strop.compiler.cache_folder import check_own, count, mark_used, trim
from strop.machine import cache_directory

_log = logging.getLogger(__name__)

_MAGIC: Final = b"strop object 1\n"
_HEAD: Final = len(_MAGIC) + hashlib.sha256().digest_size
FOLDER: Final = "objects"


class ObjectCache:
    """Objects by key; folder: None for the one in `strop.machine.cache_directory()`, which need not exist yet."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = cache_directory() / FOLDER if folder is None else folder
        self._can_write = True
        self._added = 0

    def get(self, key: str) -> bytes | None:
        """Returns the object, None where there is none that may be used."""
        path = self._path(key)
        try:
            data = _read_own(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("ignored a cached object that cannot be read: %s: %s", path, error)
            return None
        payload = data[_HEAD:]
        if data[:_HEAD] != _MAGIC + _digest(key, payload):
            _log.warning("ignored a cached object that is damaged or of another version: %s", path)
            return None
        mark_used(path)
        return payload

    def put(self, key: str, data: bytes) -> None:
        """Keeps an object; where that cannot be done, says so once and goes on."""
        if not self._can_write:
            return
        path = self._path(key)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, hidden = tempfile.mkstemp(suffix=".part", dir=self.folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(_MAGIC + _digest(key, data) + data)
                Path(hidden).replace(path)
                self._added += len(data)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(hidden).unlink()
                raise
        except OSError as error:
            self._can_write = False
            _log.warning("objects are not cached: %s: %s", self.folder, error)

    def finish(self, *, hits: int, misses: int) -> None:
        """Notes how often the cache helped, and keeps the whole cache within its limit after something was added."""
        if not self._can_write:
            return
        count(self.folder, hits=hits, misses=misses)
        if misses:
            trim(self.folder.parent, added=self._added)
            self._added = 0

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.object"


def _digest(key: str, payload: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\n" + payload).digest()


def _read_own(path: Path) -> bytes:
    """Returns the bytes of a plain file that only this user, or root, can have written."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        check_own(os.fstat(file.fileno()))
        return file.read()
