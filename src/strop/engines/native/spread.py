"""Keeps the streams of a model on cores of their own, without pinning them.

A system may wake a thread on the core of the thread that wakes it, although another core is idle, and leave both
there: two streams of DeiT then gave 1.1 times the inferences of one. A request that is about to run looks which core
it is on; where another stream of the model runs on it, its thread moves to a core that none of them is on. It may be
moved again by the system at once, as with no pinning it yields where other processes need that core.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Spread:
    """Where the streams of a model run now. Calling it runs a request of one of them.

    core_of_thread: says which core the calling thread is on; move: moves it to one of some cores, then lets it free.
    """

    def __init__(
        self,
        core_of_thread: Callable[[], int] | None = None,
        move: Callable[[set[int]], int | None] | None = None,
    ) -> None:
        self._core_of_thread = core_of_thread or _core_of_thread()
        self._move = move or _move
        self._cores: dict[int, int] = {}  # by thread

    def __call__(self, call: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
        """Returns what `call` gives, on a core that no other stream's request is on, where there is one."""
        thread = threading.get_ident()
        core = self._core_of_thread()
        busy = set(self._cores.copy().values())
        if core in busy:
            moved = self._move(busy)
            core = core if moved is None else moved
        self._cores[thread] = core
        try:
            return call(*given, **named)
        finally:
            self._cores.pop(thread, None)


def can_spread() -> bool:
    """Whether threads can be moved here: on Linux."""
    return hasattr(os, "sched_setaffinity") and hasattr(ctypes.PyDLL(None), "sched_getcpu")


def _core_of_thread() -> Callable[[], int]:
    function: Callable[[], int] = ctypes.PyDLL(None).sched_getcpu  # keeps the interpreter: it takes 50 ns
    return function


def _move(busy: set[int]) -> int | None:
    """Moves this thread to an allowed core outside `busy` and lets it free again; None where there is none."""
    allowed = os.sched_getaffinity(0)
    free = allowed - busy
    if not free:
        return None
    core = min(free)
    try:
        os.sched_setaffinity(0, {core})
        os.sched_setaffinity(0, allowed)
    except OSError:  # the mask of the process has just become another
        return None
    return core
