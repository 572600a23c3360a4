"""Remembers which large members of which file were hashed already, so that only the first load pays for it.

A stamp is an empty file in the cache folder, named for the bundle's device, inode, size and modification time and for
the member's hash. It counts only when it is clearly younger than the file's last change of any kind: a change within
the file system's time step keeps the modification time, and that time can be set back; the change time cannot. Where
nothing can be written, there are no stamps, and every load hashes.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from strop.loader import digest

_SETTLED_NANOSECONDS: Final = 2_000_000_000  # the coarsest time step of a common file system (FAT)
_NAME_LENGTH: Final = 32
_LIMIT: Final = 4096
"""How many stamps are kept, those of models (`engines.native.identity`) among them."""


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
    folder = os.path.dirname(stamp)
    try:
        os.makedirs(folder, exist_ok=True)
        with open(stamp, "ab"):
            os.utime(stamp)
        _prune(folder)
    except OSError:
        pass


def _prune(folder: str) -> None:
    """Removes the older half of the folder's stamps once there are too many: those files are hashed once more."""
    with os.scandir(folder) as found:
        stamps = [item for item in found if len(item.name.partition(".")[0]) == _NAME_LENGTH]
    if len(stamps) > _LIMIT:
        for item in sorted(stamps, key=lambda item: item.stat().st_mtime)[: len(stamps) - _LIMIT // 2]:
            os.remove(item.path)


def _stamp(status: os.stat_result, sha256: bytes) -> str | None:
    folder = cache_directory()
    if folder is None:
        return None
    key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, sha256.hex())
    return os.path.join(folder, "stamps", digest.sha256(repr(key).encode()).hex()[:_NAME_LENGTH])
