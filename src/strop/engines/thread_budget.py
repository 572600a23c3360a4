"""How the open models of one process share its cores.

The rule: requests that run at once never keep more threads busy than the process may use cores. Every model may use all
of them while it is alone (a detector and a classifier that are called one after the other both get the whole machine),
and requests of different models that would not fit side by side take turns, first come, first served. So two models of
2 threads on 2 cores are no slower, called from two threads, than called by turns, where without the rule each would
wait at its barriers for threads that the system has set aside. With one open model nothing is counted.

`share_cores=False` takes a model out of the rule: its requests wait for nobody, and nobody for them. Dividing the cores
for good is what `threads=` does: two models of one thread each run side by side. A model's share is free when it is
closed, or when nobody holds it any more.
"""

from __future__ import annotations

import os
import weakref
from _thread import LockType, RLock, allocate_lock
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

WORTH_A_WARNING_SECONDS = 5.0
"""How long requests must have waited for one another before that is told, once a process."""


class Lease:
    """A model's place in the budget: a context in which one of its requests runs.

    threads: of the model altogether; cost: how many of them one request keeps busy.
    """

    __slots__ = ("__weakref__", "_budget", "cost", "engine", "threads")

    def __init__(self, budget: Budget, engine: str, threads: int, cost: int):
        self._budget, self.engine, self.threads, self.cost = budget, engine, threads, cost

    @property
    def must_share(self) -> bool:
        """Whether another model is open, so that requests have to be counted."""
        return self._budget.is_shared

    def __enter__(self) -> None:
        self._budget.acquire(self.cost)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget.release(self.cost)

    def close(self) -> None:
        """Gives the place back; twice is fine."""
        self._budget.forget(id(self))


class Budget:
    """The cores of a process, and whose turn it is.

    cores: how many there are; None finds out when a second model comes.
    """

    def __init__(self, cores: int | None = None):
        self._cores = cores
        self._open: dict[int, tuple[str, int, int]] = {}  # engine, threads, cost of each model, by its lease's id
        self.is_shared = False
        self.reset()

    def reset(self) -> None:
        """Forgets who runs and who waits, as in a forked child, where those threads are not."""
        self._lock = RLock()  # a finalizer may come while this thread holds it
        self._running = 0
        self._line: deque[tuple[int, LockType]] = deque()
        self.requests = self.waited_requests = 0
        self.waited_seconds = 0.0
        self._is_told = False

    @property
    def cores(self) -> int:
        """How many cores the requests share."""
        if self._cores is None:
            from strop.machine import usable_cores  # a process with one model does without its imports

            self._cores = usable_cores()
        return self._cores

    def take(self, engine: str, *, threads: int, streams: int) -> Lease:
        """Returns the place of a model that was opened; it is given back by `close`, or when the lease is let go."""
        lease = Lease(self, engine, threads, max(1, threads // max(streams, 1)))
        weakref.finalize(lease, self.forget, id(lease)).atexit = False
        with self._lock:
            self._open[id(lease)] = (engine, threads, lease.cost)
            self.is_shared = len(self._open) > 1
        return lease

    def forget(self, lease_id: int) -> None:
        """Counts a model as closed."""
        with self._lock:
            self._open.pop(lease_id, None)
            self.is_shared = len(self._open) > 1

    def acquire(self, cost: int) -> None:
        """Waits until a request that keeps `cost` threads busy fits beside those that run."""
        cost = min(cost, self.cores)
        with self._lock:
            self.requests += 1
            if not self._line and self._running + cost <= self.cores:
                self._running += cost
                return
            mine = allocate_lock()
            mine.acquire()
            self._line.append((cost, mine))
        from strop.measure.clock import now

        began = now()
        try:
            mine.acquire()  # until a request that ends hands it over
        except BaseException:
            with self._lock:
                if (cost, mine) in self._line:
                    self._line.remove((cost, mine))
                else:
                    self._give_back(cost)
            raise
        with self._lock:
            self.waited_requests += 1
            self.waited_seconds += now() - began

    def release(self, cost: int) -> None:
        """Ends a request, and lets those begin, in their order, that fit now."""
        with self._lock:
            self._give_back(min(cost, self.cores))
            tell = not self._is_told and self.waited_seconds >= WORTH_A_WARNING_SECONDS
            self._is_told = self._is_told or tell
        if tell:
            import warnings

            warnings.warn(self.in_words(), stacklevel=4)

    def in_words(self) -> str:
        """Returns the sentence that says how models of this process get in one another's way."""
        held = sum(threads for _, threads, _ in self._open.values())
        return (
            f"{len(self._open)} open models hold {held} threads on {self.cores} cores: {self.waited_requests} of "
            f"{self.requests} requests waited {self.waited_seconds:.1f} s for one another; give each fewer threads "
            "(threads=1), or call them from one thread"
        )

    def report(self) -> dict[str, Any]:
        """Returns who is open, and how often and how long requests waited, as a JSON object."""
        opened = list(self._open.values())
        models = [{"engine": engine, "threads": threads, "a_request": cost} for engine, threads, cost in opened]
        return {
            "cores": self.cores,
            "models": models,
            "threads": sum(threads for _, threads, _ in opened),
            "requests": self.requests,
            "waited_requests": self.waited_requests,
            "waited_seconds": self.waited_seconds,
        }

    def _give_back(self, cost: int) -> None:
        self._running = max(0, self._running - cost)
        while self._line and self._running + self._line[0][0] <= self.cores:
            next_cost, ticket = self._line.popleft()
            self._running += next_cost
            ticket.release()


BUDGET = Budget()
"""The budget of this process."""


def lease_of(settings: Mapping[str, Any]) -> Lease | None:
    """Returns the place of a model with these settings.

    None where it does not share the cores of this process: on another device, by its owner's wish, or where an engine
    does not say how many threads it has.
    """
    on_cpu = str(settings.get("device", "CPU")).upper() == "CPU"
    if not on_cpu or not settings.get("share_cores", True) or "threads" not in settings:
        return None
    threads, streams = int(settings["threads"]), int(settings.get("streams", 1))
    return BUDGET.take(str(settings["engine"]), threads=threads, streams=streams)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=BUDGET.reset)
