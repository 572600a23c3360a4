"""The only place that reads clocks: wall time, CPU time of this process and of others, time stamps."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """What measuring needs to know about time; `strop.testing.clock.FakeClock` is the one for tests."""

    def now(self) -> float:
        """Returns seconds on a clock that only goes forward; only differences mean something."""

    def sleep(self, seconds: float) -> None:
        """Waits without using the processor."""

    def cpu_seconds(self) -> float:
        """Returns the CPU seconds all threads of this process have used."""

    def own_cpu_seconds(self) -> float:
        """Returns the CPU seconds the calling thread has used."""

    def ready_threads(self) -> int:
        """Returns how many other threads, its children's included, run or wait for a core."""


class SystemClock:
    """The machine's clocks."""

    now: Callable[[], float] = staticmethod(time.perf_counter)
    cpu_seconds: Callable[[], float] = staticmethod(time.process_time)
    own_cpu_seconds: Callable[[], float] = staticmethod(time.thread_time)

    def sleep(self, seconds: float) -> None:
        """Waits without using the processor; a time in the past is no wait."""
        if seconds > 0:
            time.sleep(seconds)

    def ready_threads(self) -> int:
        """Returns how many other threads, its children's included, run or wait for a core (0 if unknown)."""
        ready, own = 0, threading.get_native_id()
        for process in ["self", *_children()]:
            for task in Path(f"/proc/{process}/task").glob("*/stat"):
                # A thread may end while it is looked at. Its name, in brackets, may hold anything.
                with contextlib.suppress(OSError):
                    state = task.read_bytes().rpartition(b") ")[2][:1]
                    ready += state == b"R" and task.parent.name != str(own)
        return ready


def _children() -> list[str]:
    children: list[str] = []
    for task in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            children += task.read_text().split()
    return children


SYSTEM = SystemClock()

now = SYSTEM.now
sleep = SYSTEM.sleep


def timestamp() -> str:
    """Returns the date and time in UTC as ISO text, for records.

    Example:
        >>> timestamp().endswith("+00:00")
        True
    """
    return datetime.now(UTC).isoformat(timespec="seconds")


def seconds_since_epoch() -> float:
    """Returns the time of day as files carry it, to be compared with their times of modification."""
    return time.time()


def process_started() -> float:
    """Returns when this process began, on the clock of `now`: a budget covers interpreter and imports too."""
    import psutil

    return now() - (time.time() - psutil.Process().create_time())


def cpu_seconds_of(process_id: int) -> float | None:
    """Returns the CPU seconds of another process to the nanosecond, or None where the system cannot say.

    Linux names a CPU clock after every process (clock_getcpuclockid(3)); /proc counts in steps of 10 ms, too coarse
    to see within a pause of 5 ms whether a thread pool still spins.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        return time.clock_gettime((~process_id << 3) | 2)
    except OSError:
        return None
