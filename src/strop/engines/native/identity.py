"""Which model a file holds, told without reading it as ONNX: what was loaded before is known again.

Images are kept by `Model.sha256`, the hash of the model as it is after loading. A note in the cache folder says which
that was for a file, found by the file's place, size and times (no byte of it is read), else by its content's hash. A
note of the first kind counts only when it is clearly younger than the file's last change, as `loader.stamps` explains.
A model whose weights lie in other files is always loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

import strop
from strop.engines.contract import ModelSource
from strop.engines.source import ModelFile, StoredModel
from strop.machine import cache_directory

_SETTLED_NANOSECONDS: Final = 2_000_000_000  # as loader.stamps has it
_CHUNK: Final = 2**20
_WORD: Final = b"location"  # the key under which ONNX says where weights lie that are not in the file
_NOTE: Final = re.compile(r"([0-9a-f]{64}) (f32|int8)")


class Known(NamedTuple):
    """What is known of a model before it is loaded: its `Model.sha256`, and the precision it is there in."""

    sha256: str
    precision: str


class Identity:
    """A model source, and where notes about it lie.

    Args:
        source: what is to be compiled; only `ModelFile` and `StoredModel` can be known without being loaded.
        folder: of the notes, by default the cache folder's.
    """

    def __init__(self, source: ModelSource, folder: Path | None = None):
        self._file = source.path if isinstance(source, ModelFile) else None
        self._content_of = None
        if isinstance(source, StoredModel):
            self._file, self._content_of = source.file, source.read
        shapes = source.shapes if isinstance(source, ModelFile) else {}
        self._shapes = repr(sorted((name, tuple(shape)) for name, shape in shapes.items()))
        self._folder = (cache_directory() / "stamps") if folder is None else folder
        self._content: _Content | None = None
        self._stamp = self._by_status()

    def find(self) -> Known | None:
        """Returns what loading the source would tell, None where only loading can."""
        if self._stamp is not None and self._stamp.counts and (found := _read(self._stamp.path)):
            return found
        by_content = self._by_content()
        found = None if by_content is None else _read(by_content)
        if found is not None:
            self._set_stamp(found)
        return found

    def note(self, known: Known) -> None:
        """Remembers what loading the source told; does nothing where that cannot be written."""
        by_content = self._by_content()
        if by_content is None or self._content is None or self._content.may_refer:
            return  # it is no file, or its weights may lie in files that may change without it
        _write(by_content, known)
        self._set_stamp(known)

    def _set_stamp(self, known: Known) -> None:
        if self._stamp is not None and self._by_status() == self._stamp:  # else it changed while it was read
            _write(self._stamp.path, known)

    def _by_status(self) -> _Stamp | None:
        if self._file is None:
            return None
        try:
            status = self._file.stat()
        except OSError:
            return None
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, str(self._file.absolute()))
        return _Stamp(self._path(repr(key)), max(status.st_mtime_ns, status.st_ctime_ns))

    def _by_content(self) -> Path | None:
        if self._content is None:
            try:
                if self._file is not None:
                    with self._file.open("rb") as stream:
                        self._content = _Content.of(iter(lambda: stream.read(_CHUNK), b""))
                elif self._content_of is not None:
                    self._content = _Content.of([self._content_of()])
            except OSError:
                return None
        return None if self._content is None else self._path(self._content.sha256)

    def _path(self, key: str) -> Path:
        whole = repr((strop.__version__, self._shapes, key))
        return self._folder / f"{hashlib.sha256(whole.encode()).hexdigest()[:32]}.model"


class _Content(NamedTuple):
    """What is kept of a file's bytes: their hash, and whether they may say that weights lie in other files."""

    sha256: str
    may_refer: bool

    @classmethod
    def of(cls, pieces: Iterable[bytes]) -> _Content:
        """Reads the pieces of the content in order."""
        digest, end, may_refer = hashlib.sha256(), b"", False
        for piece in pieces:
            digest.update(piece)
            may_refer = may_refer or _WORD in piece or _WORD in end + piece[: len(_WORD)]
            end = piece[-len(_WORD) :]
        return cls(digest.hexdigest(), may_refer)


class _Stamp(NamedTuple):
    """Where the note of a file's status lies, and when the file last changed."""

    path: Path
    changed: int

    @property
    def counts(self) -> bool:
        """Whether the note is there and clearly younger than that."""
        try:
            return self.path.stat().st_mtime_ns > self.changed + _SETTLED_NANOSECONDS
        except OSError:
            return False


def _read(path: Path) -> Known | None:
    try:
        note = _NOTE.fullmatch(path.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError):
        return None
    return None if note is None else Known(note[1], note[2])


def _write(path: Path, known: Known) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.write_text(f"{known.sha256} {known.precision}", encoding="ascii")
        part.replace(path)
