"""Load: throughput with several requests in flight, and latency under a given rate of arrivals."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any

import numpy as np

from strop.errors import UsageError
from strop.measure.clock import SYSTEM, Clock
from strop.measure.estimate import Estimate
from strop.measure.statistics import Percentile, mean_estimate, median_estimate, percentile

Submit = Callable[[int], "Future[Any]"]
"""Starts request number i and returns its future."""

WINDOWS = 20
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True)
class Throughput:
    """Inputs per second (requests times batch) of the whole run, and each request's latency in seconds.

    per_second.point is all inputs over all time; the interval comes from windows of the run.
    """

    per_second: Estimate
    completed: int
    seconds: float
    latencies: np.ndarray = field(repr=False)


@dataclass(frozen=True, slots=True)
class RateLimited:
    """Latency from the scheduled arrival to the answer, so that queueing shows, at a given rate of requests.

    asked, achieved: requests per second; unserved: arrivals that found no free place before the run's end: their
    wait so far stands among the latencies.
    """

    asked: float
    achieved: float
    completed: int
    unserved: int
    latencies: np.ndarray = field(repr=False)
    estimate: Estimate
    percentiles: tuple[Percentile, ...]
    warnings: tuple[str, ...] = ()


def measure_throughput(
    submit: Submit, *, requests: int, seconds: float, batch: int = 1, clock: Clock = SYSTEM
) -> Throughput:
    """Returns the throughput with `requests` in flight all the time, each of `batch` inputs.

    One round of requests warms up; then time runs from the first request to the last answer. An exception of a
    request is raised here, after the others in flight have ended.
    """
    _check(requests=requests, seconds=seconds, batch=batch)
    keep_in_flight(submit, requests, lambda number: number < requests, clock=clock)
    start = clock.now()
    finished = keep_in_flight(
        lambda number: submit(requests + number), requests, lambda _: clock.now() - start < seconds, clock=clock
    )
    elapsed = finished[-1][1] - start
    rate = len(finished) * batch / elapsed
    latencies = np.array([end - begin for begin, end in finished])
    return Throughput(_windowed(finished, start, elapsed, rate, batch), len(finished), elapsed, latencies)


def keep_in_flight(
    submit: Submit, requests: int, goes_on: Callable[[int], bool], *, clock: Clock = SYSTEM
) -> list[tuple[float, float]]:
    """Keeps `requests` requests in flight; returns when each began and ended, in the order of their ends.

    The thread that ends a request starts the next one, as servers of asynchronous requests do: waking another thread
    for it takes some 50 us of a core that a stream could use. goes_on: is asked for each number, from 0 on, whether
    that request is still to be started. An exception of a request is raised here, after the others have ended.
    """
    return _ClosedLoop(submit, goes_on, clock).run(requests)


class _ClosedLoop:
    """Chains of requests: each starts when the one before it in its chain has ended."""

    def __init__(self, submit: Submit, goes_on: Callable[[int], bool], clock: Clock):
        self._submit, self._goes_on, self._now = submit, goes_on, clock.now
        self._numbers = itertools.count()
        self._finished: list[tuple[float, float]] = []
        self._ended: SimpleQueue[BaseException | None] = SimpleQueue()
        self._failed = False

    def run(self, chains: int) -> list[tuple[float, float]]:
        for _ in range(chains):
            self._go_on()
        errors = [error for error in [self._ended.get() for _ in range(chains)] if error is not None]
        if errors:
            raise errors[0]
        return sorted(self._finished, key=lambda times: times[1])

    def _go_on(self) -> None:
        while not self._failed and self._goes_on(number := next(self._numbers)):
            begin = self._now()
            try:
                future = self._submit(number)
            except BaseException as error:  # it may be another thread's turn, which has nobody to tell
                self._fail(error)
                return
            if not future.done():
                future.add_done_callback(partial(self._finish, begin))
                return
            if not self._note(begin, future):
                return
        self._ended.put(None)

    def _finish(self, begin: float, future: Future[Any]) -> None:
        if self._note(begin, future):
            self._go_on()

    def _note(self, begin: float, future: Future[Any]) -> bool:
        end = self._now()
        error = future.exception()
        if error is not None:
            self._fail(error)
            return False
        self._finished.append((begin, end))
        return True

    def _fail(self, error: BaseException) -> None:
        self._failed = True
        self._ended.put(error)


def rate_limited(
    submit: Submit,
    *,
    rate: float,
    seconds: float,
    requests: int = 1,
    poisson: bool = False,
    seed: int = 0,
    clock: Clock = SYSTEM,
) -> RateLimited:
    """Returns the latency at `rate` requests per second, evenly spaced or as a Poisson process, `requests` in flight.

    An arrival that finds no free place waits, and its latency counts from when it was due. What has not found one when
    the run's time is over stays unserved.
    """
    _check(requests=requests, seconds=seconds, rate=rate)
    due = _arrivals(rate, seconds, np.random.default_rng(seed) if poisson else None)
    flight = _Flight(submit, clock)
    start = clock.now()
    served = 0
    for number, arrival in enumerate(due):
        while len(flight.started) >= requests:
            flight.wait_for_one()
        late = clock.now() - start - arrival
        if late > 0 and clock.now() - start >= seconds:
            break
        clock.sleep(-late)
        flight.start(number, start + arrival)
        served += 1
    flight.wait_for_all()
    stop = max([start + seconds, *(end for _, end in flight.finished)])
    waits = [end - begin for begin, end in flight.finished] + [stop - start - arrival for arrival in due[served:]]
    unserved = len(due) - served
    warnings = []
    if unserved:
        warnings.append(
            f"{unserved} of {len(due)} arrivals were not served in time: the rate is above what it can take, and "
            "latencies grow with the length of the run"
        )
    return RateLimited(
        rate,
        served / (stop - start),
        served,
        unserved,
        np.array(waits),
        median_estimate(waits),
        tuple(percentile(waits, q) for q in PERCENTILES),
        tuple(warnings),
    )


class _Flight:
    """The requests in flight, and when each began and ended."""

    def __init__(self, submit: Submit, clock: Clock):
        self.started: dict[int, float] = {}
        self.finished: list[tuple[float, float]] = []
        self._submit, self._clock = submit, clock
        self._ended: SimpleQueue[tuple[int, float, Future[Any]]] = SimpleQueue()

    def start(self, number: int, begin: float) -> None:
        """Starts a request that counts from `begin`; the moment of its end is taken in the thread that ends it."""
        self.started[number] = begin
        future = self._submit(number)
        future.add_done_callback(lambda done: self._ended.put((number, self._clock.now(), done)))

    def wait_for_one(self) -> None:
        number, end, future = self._ended.get()
        begin = self.started.pop(number)
        error = future.exception()
        if error is not None:
            while self.started:
                self.started.pop(self._ended.get()[0])
            raise error
        self.finished.append((begin, end))

    def wait_for_all(self) -> None:
        while self.started:
            self.wait_for_one()


def _arrivals(rate: float, seconds: float, generator: np.random.Generator | None) -> list[float]:
    if generator is None:
        return [number / rate for number in range(max(1, round(rate * seconds)))]
    count = round(rate * seconds + 10 * (rate * seconds) ** 0.5) + 10
    times = np.cumsum(generator.exponential(1 / rate, count))
    return [float(time) for time in times[times < seconds]] or [0.0]


def _windowed(
    finished: Sequence[tuple[float, float]], start: float, elapsed: float, rate: float, batch: int
) -> Estimate:
    ends = np.array([end - start for _, end in finished])
    windows = max(2, min(WINDOWS, len(ends) // 5))
    counts, _ = np.histogram(ends, bins=windows, range=(0.0, elapsed))
    spread = mean_estimate(counts * batch * windows / elapsed)
    return Estimate(rate, max(spread.low, 0.0), spread.high, spread.level, windows, "total")


def _check(**options: float) -> None:
    for name, value in options.items():
        if not value > 0:
            raise UsageError(
                "usage.bad-option", f"{name} must be above 0", got=value, hint=f"give {name} a positive value"
            )
