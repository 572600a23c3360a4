"""Pools of streams, and the native threads of their teams.

A team is the thread that calls and threads-1 workers, native threads that know nothing of Python and take no signals
but those of their own faults. Programs with the same number of threads and streams share one pool, so that the models
of a pipeline, or the segments of a model, hand the same waiting workers from one to the next, and a process never runs
more threads at once than it was asked for. Workers are made at the first request that needs them, also in a forked
child, where no thread but the forking one lives on; they end when the last program that shares them is gone, and
before Python ends.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import weakref
from _thread import allocate_lock  # threading.Lock, without a millisecond of imports in a fresh process
from collections.abc import Callable
from typing import Final

from strop.errors import EngineError
from strop.loader.functions import Functions
from strop.loader.memory import Words
from strop.loader.structs import MASK_BYTES, Seat, Team
from strop.loader.structs import Pool as PoolWords

STREAMS_LIMIT: Final = 64
_IDLE_TICKS: Final = 90_000  # 50 us at most, from 1.8 GHz on
_BARRIER_TICKS: Final = 400_000
"""How long a thread looks at a barrier before it sleeps: 130 to 200 us.

Longer than sleeping and being woken takes, as the system may wake the caller on the core of the worker that wakes it,
where it stays until the next request sends the worker to another (`strop_worker`).
"""
_STACK_BYTES: Final = 1 << 20
_ATTRIBUTES_BYTES: Final = 256  # at least sizeof(pthread_attr_t) anywhere
_FAULTS: Final = "SIGSEGV SIGBUS SIGFPE SIGILL SIGTRAP SIGABRT SIGSYS".split()


class Pool:
    """Streams of `threads` threads each, and whose turn it is; made by `get_pool`."""

    def __init__(self, threads: int, streams: int, cores: int | None = None) -> None:
        self.threads, self.streams = threads, streams
        self.words = Words(PoolWords.SIZE)
        self.teams = tuple(Words(Team.SIZE) for _ in range(streams))
        self._cores = cores
        self._workers: list[list[int]] = [[] for _ in range(streams)]  # pthread_t
        self._seats: list[list[Words]] = [[] for _ in range(streams)]
        self._functions: Functions | None = None  # of the image whose code the workers run
        self._leases: set[object] = set()
        self._ended = False
        self.reset()
        _pools.add(self)

    def reset(self) -> None:
        """Makes every stream free and every team without workers, as it is at first and in a forked child."""
        self._starting = allocate_lock()
        self.words.clear()
        self.words.put(PoolWords.FREE, -1 if self.streams == STREAMS_LIMIT else (1 << self.streams) - 1)
        spins = self.threads * self.streams <= (self._cores or _usable_cores())
        for workers, seats, team in zip(self._workers, self._seats, self.teams, strict=True):
            workers.clear()
            seats.clear()
            team.clear()
            team.put(Team.THREADS, self.threads)
            team.put(Team.IDLE_TICKS, _IDLE_TICKS if spins else 0)
            team.put(Team.BARRIER_TICKS, _BARRIER_TICKS if spins else 0)
            team.put(Team.STARTED, int(self.threads == 1))

    def take(self) -> Callable[[], None]:
        """Counts a program that shares the pool; returns what it calls when done. The last one ends the workers."""
        lease = object()
        self._leases.add(lease)

        def give_back() -> None:
            self._leases.discard(lease)
            if not self._leases:
                self.stop()

        return give_back

    @property
    def is_running(self) -> bool:
        """Whether there are worker threads."""
        return any(self._workers)

    def start(self, functions: Functions) -> None:
        """Makes the workers of every team that has none, to run these functions; the pool keeps their code.

        Raises EngineError `engine.run` where the system refuses, or Python is ending.
        """
        with self._starting:
            if self._ended:
                raise EngineError("engine.run", "Python is ending", hint="run models before atexit handlers run")
            for number, team in enumerate(self.teams):
                if not team.get(Team.STARTED):
                    self._functions = self._functions or functions
                    self._start_team(number, self._functions)

    def stop(self, *, for_good: bool = False) -> None:
        """Ends the workers of every team, after the request they serve; the next request makes new ones.

        for_good: the next request fails.
        """
        with self._starting:
            self._ended = self._ended or for_good
            functions = self._functions
            if functions is None:
                return
            for number, team in enumerate(self.teams):
                if self._workers[number]:
                    functions.acquire(self.words.address, 1 << number, 1)
                    team.put(Team.STARTED, 0)
                    self._stop_team(number, functions)
                    functions.release(self.words.address, number)
            self._functions = None

    def _start_team(self, number: int, functions: Functions) -> None:
        import signal

        team = self.teams[number]
        seats = self._seats[number] = [Words(Seat.SIZE) for _ in range(self.threads - 1)]
        workers = (ctypes.c_ulong * len(seats))()  # filled in by the system, so that none is lost to an interruption
        pthread = _pthread()
        attributes = ctypes.create_string_buffer(_ATTRIBUTES_BYTES)
        pthread.pthread_attr_init(attributes)
        pthread.pthread_attr_setstacksize(attributes, ctypes.c_size_t(_STACK_BYTES))
        # A thread takes its signal mask from the one that makes it. Faults stay, so that faulthandler can report them.
        faults = {getattr(signal, name) for name in _FAULTS if hasattr(signal, name)}
        usual = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)
        try:
            for place, seat in enumerate(seats):
                seat.put(Seat.TEAM, team.address)
                seat.put(Seat.NUMBER, place + 1)
                seat.put(Seat.SEEN, team.get(Team.GENERATION))
                for place_of_word, mask in _allowed_cores():
                    seat.put(Seat.ALLOWED + place_of_word, mask)
                handle = ctypes.byref(workers, place * ctypes.sizeof(ctypes.c_ulong))
                worker, record = ctypes.c_void_p(functions.worker), ctypes.c_void_p(seat.address)
                status = pthread.pthread_create(handle, attributes, worker, record)
                if status:
                    raise self._refused(status)
            self._workers[number] = list(workers)
        except BaseException:
            self._workers[number] = [worker for worker in workers if worker]
            self._stop_team(number, functions)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, usual)
            pthread.pthread_attr_destroy(attributes)
        team.put(Team.STARTED, 1)

    def _stop_team(self, number: int, functions: Functions) -> None:
        """Ends the workers of a team while none of them serves a request and none can come."""
        team, workers = self.teams[number], self._workers[number]
        team.put(Team.STOP, 1)
        functions.wake(team.address + Team.GENERATION, team.address + Team.SLEEPERS)
        while workers:
            _pthread().pthread_join(ctypes.c_ulong(workers.pop()), None)
        self._seats[number].clear()
        team.put(Team.STOP, 0)

    def _refused(self, status: int) -> EngineError:
        return EngineError(
            "engine.run",
            "the system refuses to make more threads",
            got=os.strerror(status),
            expected=f"{self.threads * self.streams} threads",
            hint="use fewer threads, or raise the limit (ulimit -u, or the container's limit of processes)",
        )


def get_pool(threads: int, streams: int, cores: int | None = None) -> Pool:
    """Returns the pool of this shape: with one thread a stream a new one, else the one that all programs share.

    cores: how many this process may use, as far as the caller knows better than the affinity mask; with more threads
    than that, nobody waits by looking.
    """
    if threads == 1:
        return Pool(threads, streams, cores)
    with _lock:
        pool = _shared.get((threads, streams))
        if pool is None:
            pool = _shared[threads, streams] = Pool(threads, streams, cores)
        return pool


def has_teams() -> bool:
    """Whether worker threads can be made here: on Linux on x86-64, whose way to sleep the emitted code knows."""
    return sys.platform == "linux" and os.uname().machine == "x86_64"


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
_shared: weakref.WeakValueDictionary[tuple[int, int], Pool] = weakref.WeakValueDictionary()
_lock = allocate_lock()


def _allowed_cores() -> list[tuple[int, int]]:
    """Returns the words of the mask of cores that this thread may run on: byte offset and signed value."""
    cores = os.sched_getaffinity(0)
    words = [sum(1 << bit for bit in range(64) if 8 * word + bit in cores) for word in range(0, MASK_BYTES, 8)]
    return [(8 * place, mask - (mask >> 63 << 64)) for place, mask in enumerate(words) if mask]


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pthread() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _after_fork() -> None:
    """In a forked child only the thread that forked lives on: whoever held a stream or a lock is gone."""
    global _lock
    _lock = allocate_lock()
    for pool in list(_pools):
        pool.reset()


def _at_exit() -> None:
    """Ends all workers while the memory and code they use are still there."""
    for pool in list(_pools):
        pool.stop(for_good=True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
