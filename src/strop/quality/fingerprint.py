"""Hashes that identify data in records: of the content, or of names, sizes and times where there is too much of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

CONTENT_LIMIT = 200 * 2**20
"""Files above this many bytes in total are identified by name, size and time of change instead of content."""

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""In the repr of an object without one of its own; another in each process."""


class Fingerprint:
    """A hash that grows; `text` is its 32 hexadecimal digits so far."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    @property
    def text(self) -> str:
        """The hash of all that was added."""
        return self._hash.hexdigest()[:32]

    def add(self, value: object) -> Fingerprint:
        """Adds arrays by content, mappings by sorted name, sequences in order, the rest by its repr."""
        if isinstance(value, np.ndarray) and value.dtype != object:
            self._label(f"array {value.dtype.str} {value.shape}")
            for part in value if value.ndim > 1 and value.nbytes > 2**24 else (value,):  # bounds the copy
                self._hash.update(np.ascontiguousarray(part).tobytes())
        elif isinstance(value, Mapping):
            self._label(f"mapping {len(value)}")
            for name in sorted(value, key=str):
                self._label(str(name))
                self.add(value[name])
        elif isinstance(value, (list, tuple)):
            self._label(f"sequence {len(value)}")
            for item in value:
                self.add(item)
        else:
            self._label(f"{type(value).__name__} {_ADDRESS.sub('', repr(value))}")
        return self

    def add_file(self, path: Path) -> Fingerprint:
        """Adds a file's content."""
        self._label(f"file {path.stat().st_size}")
        with path.open("rb") as stream:
            while chunk := stream.read(2**20):
                self._hash.update(chunk)
        return self

    def _label(self, text: str) -> None:
        encoded = text.encode("utf-8", "surrogatepass")
        self._hash.update(len(encoded).to_bytes(8, "little"))
        self._hash.update(encoded)


def fingerprint_of(*values: object) -> str:
    """Returns the hash of values: arrays, names, labels."""
    return Fingerprint().add(values).text


def fingerprint_of_files(paths: Sequence[Path], names: Iterable[str]) -> str:
    """Returns the hash of files under the given names: content up to CONTENT_LIMIT in total, else size and time."""
    fingerprint = Fingerprint()
    states = [path.stat() for path in paths]
    by_content = sum(state.st_size for state in states) <= CONTENT_LIMIT
    for path, name, state in zip(paths, names, states, strict=True):
        fingerprint.add(name)
        if by_content:
            fingerprint.add_file(path)
        else:
            fingerprint.add((state.st_size, state.st_mtime_ns))
    return fingerprint.text
