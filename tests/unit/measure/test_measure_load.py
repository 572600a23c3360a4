from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from strop.measure.load import keep_in_flight, measure_throughput, rate_limited
from strop.testing.clock import FakeClock


class Server:
    """Serves one request after the other; each takes `service` seconds of the fake clock."""

    def __init__(self, clock: FakeClock, service: float):
        self.clock, self.service, self.numbers = clock, service, list[int]()

    def submit(self, number: int) -> Future[None]:
        self.numbers.append(number)
        self.clock.advance(self.service)
        done: Future[None] = Future()
        done.set_result(None)
        return done


def test_throughput_counts_inputs_not_batches() -> None:
    clock = FakeClock()
    server = Server(clock, 0.01)
    result = measure_throughput(server.submit, requests=1, seconds=2.0, batch=4, clock=clock)
    assert result.completed == pytest.approx(200, abs=1)
    assert result.seconds == pytest.approx(2.0, abs=0.02)
    assert result.per_second.point == pytest.approx(4 * result.completed / result.seconds)
    assert result.per_second.low <= 400 <= result.per_second.high


def test_all_requests_are_in_flight_and_none_is_lost() -> None:
    running, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(3)
    numbers: list[int] = []

    def work(number: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            numbers.append(number)
        if number < 3:
            together.wait(10)  # passes only if three are in flight at once
        with lock:
            running -= 1

    with ThreadPoolExecutor(8) as pool:
        result = measure_throughput(lambda number: pool.submit(work, number), requests=3, seconds=0.05)
    assert most == 3
    assert sorted(numbers) == list(range(result.completed + 3))


def test_an_exception_of_a_request_is_raised_once_the_others_have_ended() -> None:
    def work(number: int) -> None:
        if number == 5:
            raise ValueError("request 5")

    with ThreadPoolExecutor(2) as pool, pytest.raises(ValueError, match="request 5"):
        measure_throughput(lambda number: pool.submit(work, number), requests=2, seconds=5.0)


@pytest.mark.parametrize("poisson", [False, True])
def test_the_rate_is_held(poisson: bool) -> None:
    clock = FakeClock()
    result = rate_limited(Server(clock, 0.001).submit, rate=100.0, seconds=50.0, poisson=poisson, clock=clock)
    assert result.achieved == pytest.approx(100.0, rel=0.02 if not poisson else 0.05)
    assert (result.unserved, result.warnings) == (0, ())
    assert result.estimate.point == pytest.approx(0.001, rel=0.01)


def test_latency_counts_from_the_scheduled_arrival() -> None:
    clock = FakeClock()
    stall = [0.0] * 100
    stall[20] = 0.5  # one request stops the server for half a second

    def submit(number: int) -> Future[None]:
        return Server(clock, 0.001 + stall[number]).submit(number)

    result = rate_limited(submit, rate=100.0, seconds=1.0, clock=clock)
    assert result.completed == 100
    assert np.sum(result.latencies > 0.1) > 35  # those behind it waited too
    assert result.latencies.max() == pytest.approx(0.501)


def test_poisson_arrivals_queue_as_theory_says() -> None:
    clock = FakeClock()
    result = rate_limited(Server(clock, 0.005).submit, rate=100.0, seconds=300.0, poisson=True, seed=1, clock=clock)
    expected = 0.005 + 0.5 * 0.005 / (2 * (1 - 0.5))  # Pollaczek and Khinchine, half loaded, fixed service time
    assert result.latencies.mean() == pytest.approx(expected, rel=0.05)


def test_a_rate_above_what_it_can_take_is_reported() -> None:
    clock = FakeClock()
    result = rate_limited(Server(clock, 0.02).submit, rate=100.0, seconds=2.0, clock=clock)
    assert result.achieved == pytest.approx(50.0, rel=0.02)
    assert result.completed + result.unserved == len(result.latencies) == 200
    assert "not served in time" in result.warnings[0]
    assert result.latencies.max() == pytest.approx(1.0, rel=0.05)


def test_requests_in_flight_are_limited_under_a_rate_too() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work(number: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.005)
        with lock:
            running -= 1

    with ThreadPoolExecutor(8) as pool:
        rate_limited(lambda number: pool.submit(work, number), rate=2000.0, seconds=0.1, requests=2)
    assert most == 2


def test_a_request_that_cannot_be_started_ends_the_run() -> None:
    def submit(number: int) -> Future[None]:
        if number == 7:
            raise RuntimeError("closed")
        return pool.submit(lambda: None)

    with ThreadPoolExecutor(2) as pool, pytest.raises(RuntimeError, match="closed"):
        keep_in_flight(submit, 3, lambda number: True)


def test_requests_that_end_at_once_do_not_pile_up_calls() -> None:
    clock = FakeClock()
    finished = keep_in_flight(Server(clock, 0.5).submit, 2, lambda number: number < 5000, clock=clock)
    assert len(finished) == 5000
    assert finished[-1] == (2499.5, 2500.0)
