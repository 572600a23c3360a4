"""The distance between what a model gives and what it gave."""

from __future__ import annotations

import numpy as np
import pytest

from strop.runtime.self_test import distance

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("found", "expected", "result"),
    [
        (np.float32([3, 4]), np.float32([3, 4]), 0.0),
        (np.float32([3, 4.5]), np.float32([3, 4]), 0.1),
        (np.float32([NAN, INF, 1]), np.float32([NAN, INF, 1]), 0.0),
        (np.float32([1, INF, 1]), np.float32([NAN, INF, 1]), INF),
        (np.float32([NAN, 2]), np.float32([1, 2]), INF),
        (np.float32([-INF]), np.float32([INF]), INF),
        (np.float32([1, 2]), np.float32([[1, 2]]), INF),
        (np.float64([1, 2]), np.float32([1, 2]), INF),
        (np.int64([1, 2, 3, 5]), np.int64([1, 2, 3, 4]), 0.25),
        (np.array([True]), np.array([False]), 1.0),
        (np.array(["a", "b"], dtype=object), np.array(["a", "b"]), 0.0),
        (np.array(["a", "c"], dtype=object), np.array(["a", "b"]), 0.5),
        (np.float32([]), np.float32([]), 0.0),
        (np.int8([]), np.int8([]), 0.0),
        (np.float32(2), np.float32(2), 0.0),
        (np.float32([1e-9]), np.float32([0]), 1e-3),
    ],
)
def test_distance_is_relative_for_floats_and_a_share_for_the_rest(
    found: np.ndarray, expected: np.ndarray, result: float
) -> None:
    assert distance(np.asarray(found), np.asarray(expected)) == pytest.approx(result)


def test_large_float16_values_do_not_overflow() -> None:
    large = np.full(100, 60000, np.float16)
    assert distance(large, large) == 0.0
