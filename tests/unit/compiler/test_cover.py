"""Covering a length with tiles of at most two sizes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strop.compiler.kernels.cover import cover


@given(length=st.integers(1, 5000), largest=st.integers(1, 30))
def test_tiles_cover_the_length_exactly_with_sizes_one_apart(length: int, largest: int) -> None:
    got = cover(length, largest)
    assert got.many * got.size + got.rest * (got.size - 1) == length
    assert got.many >= 1 and got.size <= largest and (got.rest == 0 or got.size > 1)
    assert got.count == -(-length // largest)  # no fewer would do
    assert set(got.sizes) == {got.size} | ({got.size - 1} if got.rest else set())
