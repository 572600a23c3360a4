"""Runs an application over items: one after the other, or several at once as a pipeline would, its stages recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from strop.errors import DataError
from strop.measure.clock import SYSTEM, Clock
from strop.measure.stage_times import StageTimes, divide
from strop.measure.stages import Recorder, listening

Application = Callable[[object], object]
NEXT = "next item"
"""The stage in which the next item is fetched."""

WARM_UP = 2
MOST_ONE_SHOT = 10_000


class Supply:
    """Items without end: what makes them is asked again when they have run out. One thread at a time may ask.

    Raises DataError (`data.empty`) where there are none.
    """

    def __init__(self, source: Callable[[], Iterable[object]] | Iterable[object], where: str):
        self._where = where
        if callable(source):
            self._make: Callable[[], Iterable[object]] = source
        elif isinstance(source, Iterator):  # a generator that was started has no beginning to go back to
            kept = [item for item, _ in zip(source, range(MOST_ONE_SHOT), strict=False)]
            self._make = lambda: kept
        else:
            self._make = lambda: source
        self._items: Iterator[object] | None = None

    def __next__(self) -> object:
        for _ in range(2):
            if self._items is None:
                self._items = iter(self._make())
            for item in self._items:
                return item
            self._items = None
        raise DataError(
            "data.empty", "there are no items", where=self._where, hint="let items() yield at least one, or give --data"
        )


@dataclass(slots=True)
class Failures:
    """How many items an application raised an exception for, and the first of these exceptions."""

    count: int = 0
    first: BaseException | None = None

    def add(self, error: BaseException) -> None:
        """Counts one."""
        self.count += 1
        self.first = self.first or error


@dataclass(frozen=True, slots=True)
class InTurn:
    """One item after the other: where the time went, over how many items, and what came before it was warm.

    first_seconds: the first item; cpu_seconds: of all threads of this process while `times` ran.
    """

    times: StageTimes
    items: int
    first_seconds: float
    cpu_seconds: float
    failures: Failures
    interrupted: bool

    @property
    def seconds_per_item(self) -> float:
        """Wall time over items."""
        return self.times.seconds / self.items


@dataclass(slots=True)
class Overlapped:
    """Several items at once: completed items, their rate once the pipeline was full, and its stages."""

    workers: int
    completed: int = 0
    per_second: float | None = None
    times: StageTimes | None = None
    failures: Failures = field(default_factory=Failures)
    interrupted: bool = False


def run_in_turn(
    application: Application, supply: Supply, *, seconds: float, items: int | None = None, clock: Clock = SYSTEM
) -> InTurn:
    """Returns what running `application(item)` for item after item takes, for `seconds`, or for so many `items`.

    The first items warm up. An exception of the application is counted, and raised where it comes in the warm-up or
    in more than half of the items. Ctrl-C ends it early; what was measured by then is returned.
    """
    recorder = Recorder(clock=clock)
    failures = Failures()
    first = clock.now()
    application(next(supply))
    first_seconds = clock.now() - first
    for _ in range(WARM_UP - 1):
        application(next(supply))
    done, interrupted = 0, False
    with listening(recorder):
        cpu, begin = clock.cpu_seconds(), clock.now()
        end = begin
        try:
            while (done < items) if items else (end - begin < seconds or not done):
                with recorder.mark(NEXT):
                    item = next(supply)
                try:
                    application(item)
                except Exception as error:
                    failures.add(error)
                done += 1
                end = clock.now()
        except KeyboardInterrupt:
            if not done:
                raise
            interrupted = True
        cpu = clock.cpu_seconds() - cpu
    if failures.first is not None and failures.count > done / 2:
        raise failures.first
    times = divide(recorder.spans, begin=begin, end=end, thread=threading.get_ident())
    return InTurn(times, done, first_seconds, cpu, failures, interrupted)


def run_overlapped(
    application: Application,
    supply: Supply,
    *,
    workers: int,
    turns: Mapping[str, int],
    seconds: float,
    items: int | None = None,
    clock: Clock = SYSTEM,
) -> Overlapped:
    """Returns what `workers` threads get done, each taking item after item, when each stage serves one at a time.

    turns: how many a stage serves at once, where that is more. So a stage's code is never run by two threads, as in a
    pipeline with a thread a stage; code outside of stages may be. The rate counts from when the pipeline was full.
    """
    recorder = Recorder(clock=clock, turns=turns)
    found = Overlapped(workers)
    ends: list[float] = []
    stop, lock = threading.Event(), threading.Lock()
    begin = clock.now()

    def work() -> None:
        recorder.take_turns()
        while not stop.is_set():
            with recorder.mark(NEXT):
                if stop.is_set() or (clock.now() - begin >= seconds and items is None):
                    return
                try:
                    item = next(supply)
                except BaseException as error:  # told to whoever waits for the threads
                    with lock:
                        found.failures.add(error)
                    stop.set()
                    return
            try:
                application(item)
            except BaseException as error:
                with lock:
                    found.failures.add(error)
            else:
                with lock:
                    ends.append(clock.now())
            with lock:
                if items is not None and len(ends) + found.failures.count >= items:
                    stop.set()

    with listening(recorder):
        threads = [threading.Thread(target=work, name=f"strop-pipeline-{number}") for number in range(workers)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            found.interrupted = True
            stop.set()
            for thread in threads:
                thread.join()
    found.completed = len(ends)
    ends.sort()
    if len(ends) > 2 * workers:
        full = ends[workers - 1 :]
        found.per_second = (len(full) - 1) / (full[-1] - full[0]) if full[-1] > full[0] else None
        found.times = divide(recorder.spans, begin=full[0], end=full[-1], thread=0)
    return found
