"""A process of its own for what is measured: spawned, never forked; it ends with its parent, whatever happens."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import IO, Any, cast

import numpy as np

from strop import errors
from strop.errors import StropError, UsageError, WorkerError
from strop.measure.clock import cpu_seconds_of
from strop.measure.frames import read_frame, write_frame
from strop.measure.memory import Memory, memory_of

DEFAULT_TIMEOUT = 600.0
CLOSING_SECONDS = 5.0
Timeout = float | Callable[[], float]
"""Seconds that a call may take, or a function that says how many are left when it begins."""
STDERR_TAIL_BYTES = 2000

_living: weakref.WeakSet[Worker] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a hosted method gave back: a JSON value and named arrays."""

    value: Any
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


class Worker:
    """Hosts the object that `factory` makes in a fresh process, and calls its methods there.

    factory: "package.module:function", our own code, never a name from a user; it gets `arguments`, a JSON object.
    environment: variables to set over this process's own; cores: which cores the process stays on, set before it
    imports anything; timeout: seconds a call may take, 600 at most, or a function that gives them anew for each.

    A Worker is a `strop.measure.turns.Turn` if the hosted object has `block(n)`. It is a context manager. Every
    failure that leaves the process in an unknown state (no answer in time, Ctrl-C during a call) ends it.

    Raises what the factory raises if that is a StropError, and WorkerError otherwise: `worker.died` when the process
    ends by itself, `worker.timeout` when it does not answer, `worker.failed` when its code raises anything else.
    """

    def __init__(
        self,
        factory: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        cores: Sequence[int] | None = None,
        timeout: Timeout = DEFAULT_TIMEOUT,
    ):
        self._timeout = timeout
        self._lock = Lock()
        self._frames: SimpleQueue[tuple[dict[str, Any], dict[str, np.ndarray]] | None] = SimpleQueue()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        try:
            self._process = subprocess.Popen(
                # -P keeps the current folder, and so a user's numpy.py, off the path.
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "strop.measure.worker_process",
                    *([",".join(map(str, cores))] if cores else []),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env={**os.environ, "PYTHONPATH": _search_path(), **(environment or {})},
                start_new_session=True,
            )
        except OSError as error:
            self._stderr.close()
            raise WorkerError(
                "worker.failed",
                "a worker process could not be started",
                where=sys.executable,
                got=error.strerror,
                hint="see that this Python may be run, and that memory and processes are left (ulimit -u)",
            ) from error
        _living.add(self)
        Thread(target=_receive, args=(self._process.stdout, self._frames), daemon=True).start()
        try:
            self._request({"method": "host", "factory": factory, "arguments": dict(arguments or {})})
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return not self._stderr.closed and self._process.poll() is None

    def call(
        self,
        method: str,
        *,
        arrays: Mapping[str, np.ndarray] | None = None,
        timeout: float | None = None,
        **arguments: Any,
    ) -> Reply:
        """Calls the hosted object's method with JSON arguments (and `arrays` where its signature has them)."""
        return self._request({"method": method, "arguments": arguments}, arrays, timeout)

    def block(self, n: int) -> list[float]:
        """Returns n samples in seconds from the hosted object's `block`."""
        return cast("list[float]", self.call("block", n=n).value)

    def cpu_seconds(self) -> float:
        """Returns the CPU seconds the process has used."""
        self._check_open()
        if self._process.poll() is not None:
            raise self._death("cpu_seconds")
        seconds = cpu_seconds_of(self.pid)
        if seconds is None:
            import psutil

            times = psutil.Process(self.pid).cpu_times()
            seconds = times.user + times.system
        return seconds

    def keep_on(self, cores: Collection[int]) -> None:
        """Keeps every thread of the process on these cores, where the system can."""
        if not hasattr(os, "sched_setaffinity"):
            return
        with contextlib.suppress(OSError):  # it ended, or these are not its to choose
            for thread in Path(f"/proc/{self.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cores)

    def memory(self) -> Memory:
        """Returns the peak and present resident memory of the process."""
        self._check_open()
        try:
            return memory_of(self.pid)
        except (OSError, KeyError):  # a process that has ended has no memory, even before it is waited for
            raise self._death("memory") from None

    def close(self) -> None:
        """Ends the process: asks first, so that the engine can let go, then kills its whole group."""
        if self._process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                write_frame(cast("Any", self._process.stdin), {"method": "close"})
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(CLOSING_SECONDS)
        self._kill()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _request(
        self, request: dict[str, Any], arrays: Mapping[str, np.ndarray] | None = None, timeout: float | None = None
    ) -> Reply:
        limit = self._limit() if timeout is None else timeout
        with self._lock:
            self._check_open()
            try:
                with contextlib.suppress(OSError):  # a dead process is told apart below
                    write_frame(cast("Any", self._process.stdin), request, arrays)
                frame = self._frames.get(timeout=limit)
            except Empty:
                self._kill()
                raise WorkerError(
                    "worker.timeout",
                    f"a worker process did not answer {request['method']!r} in time and was stopped",
                    got=f"nothing for {limit:g} s",
                    hint="give it more time, or a smaller model",
                ) from None
            except (TypeError, ValueError):
                raise  # not JSON: nothing was sent, the worker is as it was
            except BaseException:
                self._kill()
                raise
            if frame is None:
                raise self._death(request["method"])
        answer, results = frame
        if "error" in answer:
            raise _raised(answer["error"])
        return Reply(answer["value"], results)

    def _death(self, method: str) -> WorkerError:
        try:
            code = self._process.wait(CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            code = None  # it closed its pipe and lives on
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - STDERR_TAIL_BYTES))
        tail = self._stderr.read().decode(errors="replace").strip()
        self._kill()
        if code is None:
            got = "it closed its pipe"
        elif code < 0:
            got = f"signal {-code} ({signal.Signals(-code).name})"
        else:
            got = f"exit code {code}"
        return WorkerError(
            "worker.died",
            f"a worker process ended by itself during {method!r}",
            got=f"{got}; it said: {tail}" if tail else got,
            hint="SIGKILL is mostly a lack of memory, SIGSEGV and SIGILL an error in the engine: try another engine",
        )

    def _limit(self) -> float:
        return min(self._timeout() if callable(self._timeout) else self._timeout, DEFAULT_TIMEOUT)

    def _check_open(self) -> None:
        if self._stderr.closed:
            raise UsageError("usage.closed", "the worker is closed", hint="make a new one")

    def _kill(self) -> None:
        if self._stderr.closed:
            return  # done before; by now its number may be another process's
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)  # its group outlives it if it left children behind
            else:
                self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._stderr):
            with contextlib.suppress(OSError, ValueError):
                cast("Any", stream).close()
        _living.discard(self)


def _receive(stream: Any, frames: SimpleQueue[Any]) -> None:
    """Hands frames on until the process is gone, which is told by None."""
    with stream:
        try:
            while True:
                frames.put(read_frame(stream))
        except (EOFError, OSError, ValueError):
            frames.put(None)


def _raised(error: dict[str, Any]) -> StropError:
    if error["class"] is None:
        failure = WorkerError(
            "worker.failed",
            "code in a worker process raised an exception",
            got=error["what"],
            hint="this should not happen: report it, with the traceback",
        )
        failure.add_note(error["trace"])
        return failure
    kind = getattr(errors, error["class"], StropError)
    fields = {name: error[name] for name in ("where", "got", "expected", "hint")}
    return cast("StropError", kind(error["code"], error["what"], **fields))


def _search_path() -> str:
    """Returns this process's module path, without the entries that mean the current folder."""
    return os.pathsep.join(entry for entry in sys.path if entry)


@atexit.register
def _close_all() -> None:
    for worker in list(_living):
        worker._kill()
