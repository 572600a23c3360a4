"""Stages of an application: `with strop.stage("decode"):` marks one; a recorder that listens learns when it ran.

While nobody listens, a mark costs a function call and a comparison. Stages may be nested, and used in any thread;
one that ends by an exception is recorded like every other, and the exception goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple

from strop.errors import UsageError
from strop.measure.clock import SYSTEM, Clock

Path = tuple[str, ...]
"""The names of a stage and of those it lies in, outermost first."""


def stage(name: str) -> AbstractContextManager[None]:
    """Returns a context that marks its body as the stage `name` of an application, for `strop breakdown` to time.

    It changes nothing of what the body does, and costs next to nothing while no breakdown runs. Stages may be nested
    (the time of an inner one is not counted to the outer one again) and may run in several threads at once. What no
    stage marks counts as Python overhead.

    Example:
        >>> import strop
        >>> def app(item):
        ...     with strop.stage("decode"):
        ...         numbers = [int(word) for word in item.split()]
        ...     with strop.stage("run"):
        ...         return sum(numbers)
        >>> app("1 2 3")
        6
    """
    recorder = _listening
    return _NOTHING if recorder is None else Mark(recorder, name)


class _Nothing:
    """What a mark is while nobody listens."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


_NOTHING = _Nothing()
_listening: Recorder | None = None


class Span(NamedTuple):
    """One time that a stage ran; `waited`: how long it stood in line before; `failed`: whether it ended by an error."""

    path: Path
    thread: int
    start: float
    end: float
    waited: float
    failed: bool


@dataclass(slots=True)
class _Lane:
    """What one thread has open, innermost last; `takes_turns`: whether its outermost stages stand in line."""

    open: list[Mark]
    takes_turns: bool = False


class Recorder:
    """Keeps the spans of all threads.

    turns: how many threads may be in an outermost stage at once, by its name, for threads that take turns (`lane`): a
    pipeline with that many workers a stage. A stage that is not named there has one worker.
    """

    def __init__(self, *, clock: Clock = SYSTEM, turns: Mapping[str, int] | None = None):
        self.spans: list[Span] = []
        self.now = clock.now
        self._workers = dict(turns or {})
        self._lines: dict[str, threading.Semaphore] = {}
        self._lock = threading.Lock()
        self._lanes = threading.local()

    def mark(self, name: str) -> Mark:
        """Returns the context that `stage(name)` gives while this recorder listens."""
        return Mark(self, name)

    @property
    def lane(self) -> _Lane:
        """What this thread has open."""
        lane: _Lane | None = getattr(self._lanes, "lane", None)
        if lane is None:
            lane = self._lanes.lane = _Lane([])
        return lane

    def take_turns(self) -> None:
        """Has the outermost stages of this thread stand in line, each behind those of the same name."""
        self.lane.takes_turns = True

    def line(self, name: str) -> threading.Semaphore:
        """Returns what the outermost stage `name` must be given before it begins."""
        with self._lock:
            line = self._lines.get(name)
            if line is None:
                line = self._lines[name] = threading.Semaphore(self._workers.get(name, 1))
            return line


class Mark:
    """A stage that is being recorded."""

    __slots__ = ("_lane", "_line", "_name", "_path", "_recorder", "_start", "_waited")

    def __init__(self, recorder: Recorder, name: str):
        if not isinstance(name, str) or not name:
            raise UsageError(
                "usage.bad-option", "a stage needs a name", got=repr(name), hint='with strop.stage("decode"):'
            )
        self._recorder, self._name = recorder, name

    def __enter__(self) -> None:
        lane = self._lane = self._recorder.lane
        outer: Path = lane.open[-1]._path if lane.open else ()
        self._path: Path = (*outer, self._name)
        self._line = self._recorder.line(self._name) if lane.takes_turns and not outer else None
        began = self._recorder.now()
        if self._line is not None:
            self._line.acquire()
            self._waited = (start := self._recorder.now()) - began
            began = start
        else:
            self._waited = 0.0
        lane.open.append(self)
        self._start = began

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end = self._recorder.now()
        # Two tasks of one event loop may end their stages in another order than that of nesting.
        self._lane.open.remove(self)
        if self._line is not None:
            self._line.release()
        self._recorder.spans.append(
            Span(self._path, threading.get_ident(), self._start, end, self._waited, kind is not None)
        )


@contextmanager
def listening(recorder: Recorder) -> Iterator[Recorder]:
    """Has `recorder` hear every stage of this process while the body runs.

    Raises UsageError where another one listens.

    Example:
        >>> with listening(Recorder()) as recorder:
        ...     with stage("a"), stage("b"):
        ...         pass
        >>> [span.path for span in recorder.spans]
        [('a', 'b'), ('a',)]
    """
    global _listening
    if _listening is not None:
        raise UsageError("usage.bad-option", "a breakdown runs already", hint="run one after the other")
    _listening = recorder
    try:
        yield recorder
    finally:
        _listening = None
