"""Dividing samples among purposes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.errors import UsageError
from strop.model.specs import TensorSpec
from strop.quality.data import Data, open_data
from strop.quality.split import split


def _data(n: int) -> Data:
    return open_data(np.zeros((n, 1), np.float32), inputs=(TensorSpec("x", "float32", (None, 1)),))


def _keys(data) -> list[int]:
    return [int(sample.key) for sample in data]


@given(st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 8)), st.integers(0, 5), st.integers(0, 3))
def test_parts_are_disjoint_of_the_right_size_and_the_same_every_time(sizes, spare, seed) -> None:
    data = _data(sum(sizes) + spare + 1)
    parts = split(data, calibration=sizes[0], choosing=sizes[1], confirmation=sizes[2], seed=seed)
    again = split(data, calibration=sizes[0], choosing=sizes[1], confirmation=sizes[2], seed=seed)
    keys = [_keys(part) for part in parts]
    assert keys == [_keys(part) for part in again]
    assert tuple(map(len, keys)) == sizes == tuple(parts.sizes.values())
    assert len({key for part in keys for key in part}) == sum(sizes)
    assert all(part == sorted(part) for part in keys)


def test_seeds_differ_and_more_confirmation_leaves_choosing_alone() -> None:
    data = _data(100)
    first = split(data, calibration=20, choosing=20, confirmation=20)
    assert _keys(first.choosing) != _keys(split(data, calibration=20, choosing=20, confirmation=20, seed=1).choosing)
    assert _keys(first.choosing) == _keys(split(data, calibration=20, choosing=20, confirmation=60).choosing)


def test_overlap_lets_a_small_set_serve_every_purpose() -> None:
    parts = split(_data(4), calibration=4, choosing=4, confirmation=4, overlap=True)
    assert [_keys(part) for part in parts] == [[0, 1, 2, 3]] * 3


def test_parts_larger_than_the_data_are_refused() -> None:
    with pytest.raises(UsageError, match="at most 4 samples together"):
        split(_data(4), calibration=2, choosing=2, confirmation=1)
    with pytest.raises(UsageError, match="at most 4 samples each"):
        split(_data(4), calibration=5, choosing=2, confirmation=1, overlap=True)
