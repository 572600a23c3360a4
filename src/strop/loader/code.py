"""Maps machine code into this process, readable and executable, never writable as well: from a file, or from bytes."""

from __future__ import annotations

import mmap
import os
from types import TracebackType

import numpy as np

from strop.errors import FileError


class MappedCode:
    """Machine code at an address; it stays there until `close`, after which nothing may run in it.

    Example:
        >>> code = map_code(bytes(4096))
        >>> code.address % 4096
        0
        >>> code.close()
    """

    def __init__(self, mapping: mmap.mmap) -> None:
        self._mapping = mapping
        self.address = int(np.frombuffer(mapping, np.uint8).ctypes.data)
        self.length = len(mapping)

    def address_of(self, offset: int) -> int:
        """Returns the address of the code at `offset`."""
        if not 0 <= offset < self.length:
            raise ValueError(f"offset {offset} is not inside {self.length} bytes of code")
        return self.address + offset

    def close(self) -> None:
        """Unmaps the code; may be called twice."""
        self._mapping.close()

    def __enter__(self) -> MappedCode:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def map_code(
    source: bytes | memoryview | str | os.PathLike[str], offset: int = 0, length: int | None = None
) -> MappedCode:
    """Returns the code in `source`, mapped: bytes, or the path of a file; offset: a multiple of the page size.

    length: bytes to map, by default to the end. Bytes are written to a file without a name first, since memory that
    was ever writable need not be executable where the system is strict. Raises FileError `file.read` where the system
    refuses to map it.
    """
    path: str | None = None
    try:
        if isinstance(source, (bytes, memoryview)):
            piece = memoryview(source)[offset : None if length is None else offset + length]
            descriptor = _nameless(piece)
            try:
                return MappedCode(_map(descriptor, 0, len(piece)))
            finally:
                os.close(descriptor)
        path = os.fspath(source)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return MappedCode(
                _map(descriptor, offset, os.fstat(descriptor).st_size - offset if length is None else length)
            )
        finally:
            os.close(descriptor)
    except (OSError, ValueError, OverflowError) as error:
        raise FileError(
            "file.read",
            "machine code cannot be mapped as executable",
            where=path,
            got=error,
            hint="let files there be executed (a mount option noexec forbids it), or use engine onnxruntime",
        ) from error


def _map(descriptor: int, offset: int, length: int) -> mmap.mmap:
    return mmap.mmap(descriptor, length, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC, offset=offset)


def _nameless(data: memoryview) -> int:
    """Returns the descriptor of a file that holds `data` and has no name anybody could open it by."""
    descriptor = _nameless_file()
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        try:
            return os.memfd_create("strop-code", os.MFD_CLOEXEC)
        except OSError:  # some systems forbid files in memory that may be executed
            pass
    import tempfile  # takes longer to import than all of this room together

    descriptor, path = tempfile.mkstemp(prefix="strop-code-")
    os.remove(path)
    return descriptor
