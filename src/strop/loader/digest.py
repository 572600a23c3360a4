"""SHA-256, without OpenSSL where little is hashed.

`hashlib` loads OpenSSL, which takes a fresh process longer than hashing a whole network's plan and code with the
SHA-256 that is built into the interpreter; from some 256 KiB on OpenSSL's speed pays for that.
"""

from __future__ import annotations

import sys
from typing import Final

try:
    if sys.version_info >= (3, 12):
        from _sha2 import sha256 as _built_in  # type: ignore[import-not-found, unused-ignore]
    else:
        from _sha256 import sha256 as _built_in  # type: ignore[import-not-found, unused-ignore]
except ImportError:  # an interpreter without one of its own
    from hashlib import sha256 as _built_in

_SMALL_BYTES: Final = 256 << 10
_BLOCK_BYTES: Final = 16 << 20  # hashed at a time, so that Ctrl-C is heard


def sha256(data: bytes | memoryview) -> bytes:
    """Returns the SHA-256 of `data`.

    Example:
        >>> sha256(b"").hex()[:8]
        'e3b0c442'
    """
    if len(data) <= _SMALL_BYTES:
        return bytes(_built_in(data).digest())
    import hashlib

    view, digest = memoryview(data), hashlib.sha256()
    for start in range(0, len(view), _BLOCK_BYTES):
        digest.update(view[start : start + _BLOCK_BYTES])
    return digest.digest()
