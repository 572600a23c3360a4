from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from strop.engines.native.spread import Spread, can_spread

Result = TypeVar("Result")


class Cores:
    """Four cores; threads wake where they are put, and moving takes the lowest that is free."""

    def __init__(self) -> None:
        self.of_thread: dict[int, int] = {}
        self.moves = 0

    def core_of_thread(self) -> int:
        return self.of_thread.get(threading.get_ident(), 0)

    def move(self, busy: set[int]) -> int | None:
        free = {0, 1, 2, 3} - busy
        if not free:
            return None
        self.moves += 1
        self.of_thread[threading.get_ident()] = min(free)
        return min(free)


def beside(spread: Spread, request: Callable[[], Result]) -> Result:
    """Returns what `request` gives in a thread of its own while another request of the model runs."""
    with ThreadPoolExecutor(1) as pool:
        return spread(lambda: pool.submit(spread, request).result())


def test_streams_that_wake_on_one_core_run_on_cores_of_their_own() -> None:
    cores = Cores()
    spread = Spread(cores.core_of_thread, cores.move)
    together = threading.Barrier(4)

    def request() -> int:
        together.wait(timeout=30)
        return cores.core_of_thread()

    with ThreadPoolExecutor(4) as pool:
        found = [future.result() for future in [pool.submit(spread, request) for _ in range(4)]]
    assert sorted(found) == [0, 1, 2, 3]


def test_a_stream_alone_is_left_where_it_is() -> None:
    cores = Cores()
    spread = Spread(cores.core_of_thread, cores.move)
    assert [spread(lambda: 5) for _ in range(3)] == [5, 5, 5]
    assert cores.moves == 0


def test_more_streams_than_cores_stay() -> None:
    spread = Spread(lambda: 0, lambda busy: None)
    assert beside(spread, lambda: 7) == 7


def test_a_failing_request_leaves_its_core() -> None:
    cores = Cores()
    spread = Spread(cores.core_of_thread, cores.move)
    with pytest.raises(ValueError, match="bad"):
        spread(int, "bad")
    assert spread(lambda: 1) == 1
    assert cores.moves == 0


@pytest.mark.skipif(not can_spread() or len(os.sched_getaffinity(0)) < 2, reason="needs Linux and two cores")
def test_threads_are_moved_and_left_free() -> None:
    spread = Spread()
    allowed = os.sched_getaffinity(0)
    seen = beside(spread, lambda: os.sched_getaffinity(0))
    assert seen == allowed
