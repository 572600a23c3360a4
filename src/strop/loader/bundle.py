"""An open bundle: a mapped file whose members are handed out only after their bytes were found right."""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from strop.errors import BundleError, FileError, NotSupportedError, UsageError
from strop.loader import cpu, stamps
from strop.loader.digest import sha256
from strop.loader.format import CODE, MANIFEST, MODEL, REPORT, WEIGHTS, Entry, Index, damaged, parse_index
from strop.loader.json_reader import read_json
from strop.loader.manifest import Manifest, parse_manifest

if TYPE_CHECKING:
    from pathlib import Path

_POPULATE_READ = 22  # MADV_POPULATE_READ of Linux, which Python's mmap does not name


def open_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Returns the bundle in the file at `path`, mapped into memory; index and manifest are checked now.

    Nothing in a bundle is executed or unpacked; arrays are read without pickle. The file must not be shortened in place
    while it is open (writing a new one over it, as Strop does, is fine).

    Raises:
        FileError: `file.read`, the file is not there or may not be read.
        BundleError: `bundle.not-a-bundle`, `bundle.damaged`, `bundle.version`.
    """
    path = os.fspath(path)
    try:
        # Asked before opening, since opening a pipe would wait for its writer.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise BundleError(
                "bundle.not-a-bundle",
                "this is a folder or a device, not a Strop bundle",
                where=path,
                expected="a file written by `strop optimize -o NAME.strop`",
                hint="give the .strop file itself",
            )
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if status.st_size else None
    except OSError as error:
        raise FileError(
            "file.read",
            "the bundle could not be read",
            where=path,
            got=error.strerror,
            hint="check the path and the file's rights",
        ) from error
    try:
        view = memoryview(mapping or b"")
        index = parse_index(view, path)
        bundle = Bundle(path, view, index, status)
        bundle._manifest = parse_manifest(bundle.member(MANIFEST), index.entries, path)
    except BaseException:
        view.release()
        raise
    return bundle


class Bundle:
    """A checked, mapped `.strop` file. Made by `open_bundle`; safe to use from several threads.

    `file`: where it lies, `status` that file's; `index`: its table; `manifest`: what it is (see `manifest.py`).
    """

    def __init__(self, path: str, view: memoryview, index: Index, status: os.stat_result) -> None:
        self.file = path
        self.index = index
        self.status = status
        self._view = view
        self._entries = {entry.name: entry for entry in index.entries}
        self._hashed: set[str] = set()
        self._manifest: Manifest = {}

    @property
    def path(self) -> Path:
        """Where it lies."""
        from pathlib import Path  # takes a fresh process longer to import than everything here

        return Path(self.file)

    @property
    def manifest(self) -> Manifest:
        """What the bundle is and needs."""
        return self._manifest

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its members, in the order in which they lie in the file."""
        return tuple(self._entries)

    @property
    def code_level(self) -> str | None:
        """The best ISA level of this CPU that the bundle holds machine code for, None where it holds none."""
        return next((level for level in cpu.isa_levels() if CODE + level in self._entries), None)

    def member(self, name: str) -> memoryview:
        """Returns a member's bytes, read-only and mapped, not copied.

        Its hash is checked when it is first asked for; for the model and packed weights a stamp in the cache folder
        saves that after the first load of an unchanged file. Raises BundleError `bundle.damaged`.
        """
        if name not in self._entries:
            raise UsageError(
                "usage.bad-option",
                f"the bundle has no member {name!r}",
                where=self.file,
                expected=", ".join(self._entries),
                hint="ask for one of these",
            )
        if name not in self._hashed:
            self._check(self._entries[name])
        return self._bytes(self._entries[name])

    def offset(self, name: str) -> int:
        """Returns where in the file a member's content begins."""
        return self._entries[name].offset

    def populate(self, name: str) -> None:
        """Maps all pages of a member at once, where the system can: quicker than one by one when they are read."""
        entry, mapping = self._entries[name], self._view.obj
        if isinstance(mapping, mmap.mmap) and hasattr(mapping, "madvise"):
            start = entry.offset // mmap.PAGESIZE * mmap.PAGESIZE
            with contextlib.suppress(OSError):  # Linux before 5.14
                mapping.madvise(_POPULATE_READ, start, entry.end - start)

    def array(self, name: str) -> np.ndarray:
        """Returns the array in the `.npy` member `name`, read-only and mapped."""
        from strop.loader.arrays import read_npy

        data = self.member(name)
        try:
            return read_npy(data)
        except Exception as error:  # numpy's parser raises many things on crafted headers
            raise damaged(self.file, f"member {name!r} is no array", got=error) from error

    def report(self) -> Any:
        """Returns what was measured when the bundle was made, None where nothing was stored."""
        if REPORT not in self._entries:
            return None
        try:
            return read_json(self.member(REPORT))
        except (ValueError, RecursionError) as error:
            raise damaged(self.file, "its report is not JSON", got=error) from error

    def check_cpu(self) -> None:
        """Raises NotSupportedError `bundle.needs` where the bundle holds code, but none that this CPU can run."""
        needed = self.manifest["needs"]["isa"]
        if needed and self.code_level is None:
            raise NotSupportedError(
                "bundle.needs",
                "the bundle holds no code for this CPU",
                where=self.file,
                got=cpu.isa_level(),
                expected=" or ".join(needed),
                hint="load it with fallback=True to run the ONNX model inside on ONNX Runtime, or optimize on this CPU",
            )

    def verify(self) -> None:
        """Hashes every member and compares every other byte; raises BundleError `bundle.damaged` where one is off."""
        import zlib

        from strop.loader.zip_view import gaps

        checksums = []
        for entry in self.index.entries:
            self._check(entry, trust_stamp=False)
            checksums.append(zlib.crc32(self._bytes(entry)))
        before, behind = gaps(self.index.entries, checksums, self.index.length)
        start = self.index.length
        for entry, gap in zip(self.index.entries, before, strict=True):
            if self._view[start : entry.offset] != gap:
                raise damaged(self.file, f"the bytes before member {entry.name!r} were changed")
            start = entry.end
        if self._view[start:] != behind:
            raise damaged(self.file, "the bytes behind the last member were changed")

    def close(self) -> None:
        """Gives the mapping back; arrays and views taken from it before stay good and keep it alive."""
        self._view.release()

    def __enter__(self) -> Bundle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _bytes(self, entry: Entry) -> memoryview:
        try:
            return self._view[entry.offset : entry.end]
        except ValueError:  # the view was released
            raise UsageError(
                "usage.closed", "the bundle was closed", where=self.file, hint="open it again with open_bundle"
            ) from None

    def _check(self, entry: Entry, *, trust_stamp: bool = True) -> None:
        lasting = entry.name == MODEL or entry.name.startswith(WEIGHTS)
        if not (trust_stamp and lasting and stamps.is_stamped(self.status, entry.sha256)):
            if sha256(self._bytes(entry)) != entry.sha256:
                raise damaged(self.file, f"the content of member {entry.name!r} was changed")
            if lasting:
                stamps.set_stamp(self.status, entry.sha256)
        self._hashed.add(entry.name)


def is_fully_native(bundle: Bundle) -> bool:
    """Whether the bundle's own machine code runs every node of it here, so that no engine is needed."""
    return bool(bundle.manifest["native"]) and bundle.code_level is not None
