"""The cache folder as a whole: what lies in it, its size limit, and clearing it.

Below it every kind of entry has a folder: objects (machine code by IR), images (compiled models), records (what tuning
measured), stamps (which bundles' weights were checked, which files hold which models). Only files named as entries are:
16 hexadecimal digits or more, and a suffix. Files of other kinds are never counted, evicted or cleared.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from strop.errors import UsageError
from strop.machine import cache_directory
from strop.measure.clock import seconds_since_epoch

SCHEMA: Final = "strop.cache/1"
KINDS: Final = ("images", "objects", "records", "stamps")
_EVICTED: Final = ("images", "objects")  # the others take no room to speak of
_LIMIT: Final = 1 << 30
_ROOM: Final = 0.9  # eviction goes on down to this share of the limit, so that it is not needed at every entry
_ENTRY: Final = re.compile(r"[0-9a-f]{16,64}(\.[a-z]+)?")
_PART: Final = re.compile(r".*\.part")
_HOUR: Final = 3600.0
_LOOKED: Final = "looked"
_LOOK_SECONDS: Final = 60.0
"""For so long nobody looks again at a cache that is less than half full by what was noted."""
_COUNTS: Final = "counts"
_COUNTS_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    size: int
    used: float


def describe_cache() -> dict[str, Any]:
    """Returns the document `strop.cache/1`: the folder, its limit, and for each kind entries, bytes, hits, misses."""
    folder = cache_directory()
    kinds: list[dict[str, Any]] = []
    for kind in KINDS:
        entries = list(_entries(folder / kind))
        hits, misses = counts(folder / kind)
        size = sum(entry.size for entry in entries)
        found = sum(_records(entry.path) for entry in entries) if kind == "records" else len(entries)
        kinds.append({"kind": kind, "entries": found, "bytes": size, "hits": hits, "misses": misses})
    total = sum(kind["bytes"] for kind in kinds)
    return {"schema": SCHEMA, "folder": str(folder), "limit_bytes": limit_bytes(), "bytes": total, "kinds": kinds}


def clear_cache() -> dict[str, int]:
    """Removes every entry, the counts and what interrupted writers left; returns entries and bytes removed."""
    removed = size = 0
    for kind in KINDS:
        folder = cache_directory() / kind
        for entry in _entries(folder):
            with contextlib.suppress(FileNotFoundError):
                entry.path.unlink()
                removed, size = removed + 1, size + entry.size
        for path in [*_named(folder, _PART), folder / _COUNTS]:
            path.unlink(missing_ok=True)
    (cache_directory() / _LOOKED).unlink(missing_ok=True)
    return {"entries": removed, "bytes": size}


def limit_bytes() -> int:
    """Returns how large the cache may grow: `STROP_CACHE_SIZE` ("512M", "2G", bytes), else 1 GiB.

    Raises UsageError `usage.bad-option` where the variable is no size.
    """
    text = os.environ.get("STROP_CACHE_SIZE", "").strip()
    if not text:
        return _LIMIT
    match = re.fullmatch(r"([0-9]{1,15})\s*([KMG]?)(i?B)?", text, re.IGNORECASE)
    if match is None:
        raise UsageError(
            "usage.bad-option",
            "STROP_CACHE_SIZE is no size",
            got=text,
            expected="bytes, or a number with K, M or G",
            hint="STROP_CACHE_SIZE=2G, or leave it unset for 1G",
        )
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2].upper()]


def trim(folder: Path | None = None, *, added: int = 0) -> None:
    """Removes the entries of a cache folder that were not used for longest while it is larger than its limit.

    added: bytes that the caller has just put there; they tell whether looking through the folder is needed.
    Parts of files that interrupted writers left an hour ago or more go, too. Where something cannot be removed, it
    stays: another process may have been quicker, or the folder may be read-only.
    """
    folder = cache_directory() if folder is None else folder
    limit = limit_bytes()
    if _is_half_empty(folder / _LOOKED, added, limit):
        return
    for kind in KINDS:
        for path in _named(folder / kind, _PART):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < seconds_since_epoch() - _HOUR:
                    path.unlink()
    entries = sorted((entry for kind in _EVICTED for entry in _entries(folder / kind)), key=lambda entry: entry.used)
    size = sum(entry.size for entry in entries)
    if size <= limit:
        with contextlib.suppress(OSError):
            (folder / _LOOKED).write_text(str(size), encoding="ascii")
        return
    for entry in entries:
        if size <= limit * _ROOM:
            return
        with contextlib.suppress(OSError):
            entry.path.unlink()
            size -= entry.size


def _is_half_empty(note: Path, added: int, limit: int) -> bool:
    """Whether the cache is less than half full by a note of a moment ago and what was added since, which is noted.

    Looking takes ten microseconds an entry: of thousands, longer than compiling a small kernel.
    """
    try:
        looked = note.stat().st_mtime
        size = int(note.read_text(encoding="ascii")) + added
        if not 0 <= seconds_since_epoch() - looked < _LOOK_SECONDS or size >= limit // 2:
            return False
        note.write_text(str(size), encoding="ascii")
        os.utime(note, (looked, looked))
    except (OSError, ValueError):
        return False
    return True


def mark_used(path: Path, *, step: float = _HOUR) -> None:
    """Notes that an entry was used: its time of modification is that of its last use, to `step` seconds."""
    with contextlib.suppress(OSError):
        if path.stat().st_mtime < seconds_since_epoch() - step:
            os.utime(path)


def check_own(status: os.stat_result) -> None:
    """Raises PermissionError unless this is a plain file that only this user, or root, can have written."""
    if not stat.S_ISREG(status.st_mode):
        raise PermissionError("it is no plain file")
    if hasattr(os, "geteuid") and (status.st_uid not in (os.geteuid(), 0) or status.st_mode & 0o022):
        raise PermissionError("others may have written it")


def count(folder: Path, *, hits: int, misses: int) -> None:
    """Adds to the counts of a kind; a line appended at once is safe for two processes, and nothing depends on it."""
    if not hits and not misses:
        return
    path = folder / _COUNTS
    with contextlib.suppress(OSError):
        if path.exists() and path.stat().st_size > _COUNTS_BYTES:
            sums = counts(folder)
            path.unlink()
            hits, misses = hits + sums[0], misses + sums[1]
        with path.open("ab", buffering=0) as file:
            file.write(b"%d %d\n" % (hits, misses))


def counts(folder: Path) -> tuple[int, int]:
    """Returns the hits and misses noted for a kind since it was cleared."""
    try:
        lines = re.findall(rb"^(\d+) (\d+)$", (folder / _COUNTS).read_bytes(), re.MULTILINE)
    except OSError:
        return 0, 0
    return sum(int(hit) for hit, _ in lines), sum(int(miss) for _, miss in lines)


def _records(path: Path) -> int:
    """Returns how many problems a file of records knows: a line each, after the first."""
    try:
        return max(0, path.read_bytes().count(b"\n") - 1)
    except OSError:
        return 0


def _entries(folder: Path) -> Iterator[_Entry]:
    for path in _named(folder, _ENTRY):
        with contextlib.suppress(OSError):
            status = path.stat(follow_symlinks=False)
            yield _Entry(path, status.st_size, status.st_mtime)


def _named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    try:
        with os.scandir(folder) as found:
            return [Path(item.path) for item in found if pattern.fullmatch(item.name) and not item.is_dir()]
    except OSError:
        return []
