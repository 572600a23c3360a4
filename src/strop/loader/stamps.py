"""Remembers which large members of which file were hashed already, so that only the first load pays for it.

A stamp is an empty file in the cache folder, named for the bundle's device, inode, size and modification time and for
the member's hash. It counts only when it is clearly younger than the file's last change of any kind: a change within
the file system's time step keeps the modification time, and that time can be set back; the change time cannot. Where
nothing can be written, there are no stamps, and every load hashes.
"""

from __future__ import annotations

import hashlib
import os
import sys
from typing import Final

_SETTLED_NANOSECONDS: Final = 2_000_000_000  # the coarsest time step of a common file system (FAT)


def cache_directory() -> str | None:
    """Returns the folder for caches, None where there is no home: `STROP_CACHE_DIR`, else the user's cache folder.

    On Linux and macOS it is the folder that `strop.machine.cache_directory()` gives (which this room may not import).
    """
    named = os.environ.get("STROP_CACHE_DIR")
    if named:
        return named
    home = os.path.expanduser("~")
    if home == "~":
        return None
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Caches", "strop")
    shared = os.environ.get("XDG_CACHE_HOME", "").strip()
    return os.path.join(shared or os.path.join(home, ".cache"), "strop")


def is_stamped(status: os.stat_result, sha256: bytes) -> bool:
    """Whether the member with this hash, in the file of this status, was hashed before and found right."""
    stamp = _stamp(status, sha256)
    try:
        changed = max(status.st_mtime_ns, status.st_ctime_ns)
        return stamp is not None and os.stat(stamp).st_mtime_ns > changed + _SETTLED_NANOSECONDS
    except OSError:
        return False


def set_stamp(status: os.stat_result, sha256: bytes) -> None:
    """Notes that the member was hashed and found right; does nothing where that cannot be written."""
    stamp = _stamp(status, sha256)
    if stamp is None:
        return
    from pathlib import Path

    try:
        Path(stamp).parent.mkdir(parents=True, exist_ok=True)
        Path(stamp).touch()
    except OSError:
        pass


def _stamp(status: os.stat_result, sha256: bytes) -> str | None:
    folder = cache_directory()
    if folder is None:
        return None
    key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, sha256.hex())
    return os.path.join(folder, "stamps", hashlib.sha256(repr(key).encode()).hexdigest()[:32])
