"""What is made per shape is made once, kept in bounds, and closed only when nobody uses it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from strop.engines.native.shapes import PerShapes, Shapes


class Maker:
    def __init__(self, limit: int = 2):
        self.made: list[Shapes] = []
        self.closed: list[str] = []
        self.per_shapes = PerShapes(self.make, self.closed.append, limit=limit)

    def make(self, shapes: Shapes) -> str:
        self.made.append(shapes)
        return str(shapes)


def shapes(size: int) -> Shapes:
    return ((size, 3),)


def test_each_is_made_once() -> None:
    maker = Maker()
    for size in (1, 2, 1, 2, 1):
        with maker.per_shapes.use(shapes(size)) as made:
            assert made == str(shapes(size))
    assert maker.made == [shapes(1), shapes(2)]


def test_what_was_not_used_for_longest_goes_first() -> None:
    maker = Maker(limit=2)
    for size in (1, 2, 1, 3, 1, 2):
        with maker.per_shapes.use(shapes(size)):
            pass
    assert maker.closed == [str(shapes(2)), str(shapes(3))]
    assert maker.made == [shapes(1), shapes(2), shapes(3), shapes(2)]


def test_what_is_in_use_is_closed_when_it_no_longer_is() -> None:
    maker = Maker(limit=1)
    with maker.per_shapes.use(shapes(1)):
        with maker.per_shapes.use(shapes(2)):
            assert maker.closed == []
        assert maker.closed == []
    assert maker.closed == [str(shapes(1))]
    maker.per_shapes.close()
    assert maker.closed == [str(shapes(1)), str(shapes(2))]


def test_a_failure_is_the_callers_and_leaves_nothing() -> None:
    calls = []

    def fail_first(wanted: Shapes) -> str:
        calls.append(wanted)
        if len(calls) == 1:
            raise ValueError("no")
        return "made"

    per_shapes = PerShapes(fail_first, lambda made: None, limit=2)
    with pytest.raises(ValueError, match="no"), per_shapes.use(shapes(1)):
        pass
    with per_shapes.use(shapes(1)) as made:
        assert made == "made"


def test_many_threads_share_what_one_of_them_made() -> None:
    maker = Maker(limit=3)
    start = threading.Barrier(8)

    def use(number: int) -> None:
        start.wait()
        for step in range(300):
            size = (number + step) % 5
            with maker.per_shapes.use(shapes(size)) as made:
                assert made == str(shapes(size))
                assert maker.closed.count(made) < maker.made.count(shapes(size))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))
    maker.per_shapes.close()
    assert sorted(maker.closed) == sorted(map(str, maker.made))
