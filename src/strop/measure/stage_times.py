"""Where wall time went: every moment belongs to one stage, to several that share it, or to none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from strop.measure.stages import Path, Span


@dataclass(slots=True)
class StageTimes:
    """How the seconds from `begin` to `end` divide.

    wall: seconds by stage; with `unmarked` they sum to end - begin. busy: seconds of work by stage, those of several
    threads added up. calls, waited, failed: how often a stage ran, how long it stood in line, how often it failed.
    """

    begin: float
    end: float
    wall: dict[Path, float] = field(default_factory=dict)
    busy: dict[Path, float] = field(default_factory=dict)
    calls: dict[Path, int] = field(default_factory=dict)
    waited: dict[Path, float] = field(default_factory=dict)
    failed: dict[Path, int] = field(default_factory=dict)
    unmarked: float = 0.0

    @property
    def seconds(self) -> float:
        """From begin to end."""
        return self.end - self.begin


def divide(spans: Sequence[Span], *, begin: float, end: float, thread: int) -> StageTimes:
    """Returns where the time from `begin` to `end` went, as the thread `thread` met it.

    A moment counts to the innermost stage that `thread` is in. Where it is in none (it waits for others, say), the
    innermost stages of the other threads share the moment; where there are none either, it is unmarked.

    Example:
        >>> spans = [Span(("a", "b"), 1, 2.0, 3.0, 0.0, False), Span(("a",), 1, 1.0, 4.0, 0.0, False)]
        >>> found = divide(spans, begin=0.0, end=5.0, thread=1)
        >>> found.wall, found.unmarked
        ({('a',): 2.0, ('a', 'b'): 1.0}, 2.0)
    """
    found = StageTimes(begin, end)
    kept = [span for span in spans if span.end > begin and span.start < end]
    for span in sorted(kept, key=lambda one: one.start):
        found.wall.setdefault(span.path, 0.0)
        found.busy.setdefault(span.path, 0.0)
        found.calls[span.path] = found.calls.get(span.path, 0) + 1
        found.waited[span.path] = found.waited.get(span.path, 0.0) + span.waited
        found.failed[span.path] = found.failed.get(span.path, 0) + span.failed
    kept = [span for span in kept if span.end > span.start]
    # At one moment ends come first, and of stages that begin, the outer one.
    edges = [(max(span.start, begin), 1, len(span.path), index) for index, span in enumerate(kept)]
    edges += [(min(span.end, end), 0, -len(span.path), index) for index, span in enumerate(kept)]
    edges.sort()
    active: dict[int, list[int]] = {}
    moment = begin
    for time, kind, _, index in edges:
        _count(found, kept, active, time - moment, thread)
        moment = time
        lane = active.setdefault(kept[index].thread, [])
        if kind == 1:
            lane.append(index)
        elif index in lane:
            lane.remove(index)
    _count(found, kept, active, end - moment, thread)
    return found


def _count(found: StageTimes, spans: Sequence[Span], active: dict[int, list[int]], seconds: float, thread: int) -> None:
    if seconds <= 0:
        return
    innermost = {one: spans[lane[-1]].path for one, lane in active.items() if lane}
    for path in innermost.values():
        found.busy[path] += seconds
    if thread in innermost:
        found.wall[innermost[thread]] += seconds
    elif innermost:
        for path in innermost.values():
            found.wall[path] += seconds / len(innermost)
    else:
        found.unmarked += seconds
