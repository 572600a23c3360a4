from __future__ import annotations

import hashlib
import threading
import time

import pytest

from strop.errors import MeasurementError
from strop.measure import compare
from strop.measure.blocks import block
from strop.measure.clock import SYSTEM
from strop.measure.turns import LocalTurn, wait_until_idle
from strop.measure.worker import Worker
from strop.testing.clock import FakeClock


def spin(cpu_seconds: float) -> threading.Thread:
    def run() -> None:
        start = time.thread_time()
        while time.thread_time() - start < cpu_seconds:
            pass

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_one_pause_is_enough_where_nothing_runs() -> None:
    clock = FakeClock()
    assert wait_until_idle([], clock=clock) == clock.slept == pytest.approx(0.005)


def test_it_waits_until_a_spinning_pool_has_come_to_rest() -> None:
    clock = FakeClock()
    clock.spin(0.1)
    assert wait_until_idle([], clock=clock) == pytest.approx(0.105, abs=0.006)


def test_a_thread_that_waits_for_a_core_is_not_at_rest() -> None:
    class Overloaded(FakeClock):
        def cpu_seconds(self) -> float:
            return 0.0  # others have all the cores

    clock = Overloaded()
    clock.spin(0.1)
    assert wait_until_idle([], clock=clock) == pytest.approx(0.1, abs=0.006)


def test_ready_threads_are_seen_here_and_in_children() -> None:
    # Hashing leaves Python's lock alone, as an engine's threads do; one that waits for the lock is not ready.
    wait_until_idle([])
    thread = threading.Thread(target=hashlib.sha256, args=(bytes(300_000_000),))
    thread.start()
    assert any(SYSTEM.ready_threads() >= 1 for _ in range(20))
    thread.join()
    wait_until_idle([])
    with Worker("hosted_examples:example") as worker:
        worker.call("spin", seconds=0.2)
        assert any(SYSTEM.ready_threads() >= 1 for _ in range(500))


def test_a_pool_that_never_rests_is_refused() -> None:
    clock = FakeClock()
    clock.spin(60.0)
    with pytest.raises(MeasurementError) as caught:
        wait_until_idle([], clock=clock)
    assert caught.value.code == "measure.not-idle"
    assert clock.slept == pytest.approx(1.0, abs=0.02)


def test_the_calling_threads_own_work_is_not_mistaken_for_a_pool() -> None:
    clock = FakeClock(cost_per_reading=0.01)  # reading the clock costs as much as a pause
    clock.advance(5.0)
    assert wait_until_idle([], clock=clock) < 0.05


def test_another_process_that_is_busy_is_waited_for() -> None:
    clock = FakeClock()

    class Remote:
        def block(self, n: int) -> list[float]:
            return [0.001] * n

        def cpu_seconds(self) -> float:
            return min(clock.now(), 0.3)

    assert wait_until_idle([Remote()], clock=clock) == pytest.approx(0.305, abs=0.006)


def test_real_threads_use_no_processor_once_they_were_seen_at_rest() -> None:
    turn = LocalTurn(block(lambda: None))
    before = turn.cpu_seconds()
    thread = spin(0.1)
    wait_until_idle([turn])
    at_rest = turn.cpu_seconds()
    assert at_rest - before >= 0.09  # all of the spinning is over ...
    time.sleep(0.03)
    assert turn.cpu_seconds() - at_rest < 0.003  # ... and nothing follows
    thread.join()


def test_a_real_worker_is_waited_for() -> None:
    with Worker("hosted_examples:example") as worker:
        wait_until_idle([worker])
        before = worker.cpu_seconds()
        worker.call("spin", seconds=0.1)
        wait_until_idle([worker])
        at_rest = worker.cpu_seconds()
        assert at_rest - before >= 0.09
        time.sleep(0.03)
        assert worker.cpu_seconds() - at_rest < 0.003


def test_a_neighbour_that_spins_after_its_block_does_not_slow_the_other() -> None:
    clock = FakeClock()
    spinning_until = 0.0

    def spinner() -> None:
        nonlocal spinning_until
        clock.advance(0.002)
        clock.spin(0.06)
        spinning_until = clock.now() + 0.06

    def quiet() -> None:
        clock.advance(0.003 if clock.now() < spinning_until else 0.002)

    result = compare({"quiet": quiet, "spinner": spinner}, seconds=5.0, clock=clock)
    assert result["quiet"].samples.max() == pytest.approx(0.002)
    assert result["spinner"].verdict == "same"
