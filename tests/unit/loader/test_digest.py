"""The SHA-256 of the loader is SHA-256, whoever computes it."""

from __future__ import annotations

import hashlib

import pytest

from strop.loader import digest


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 1000, digest._SMALL_BYTES, digest._SMALL_BYTES + 1, 40 << 20])
def test_it_is_what_hashlib_says(length: int) -> None:
    data = (bytes(range(251)) * (length // 251 + 1))[:length]
    expected = hashlib.sha256(data).digest()
    assert digest.sha256(data) == digest.sha256(memoryview(data)) == expected
