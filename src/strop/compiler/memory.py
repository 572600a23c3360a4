"""Places the buffers of the arena: those that are never needed at the same time may share memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from strop.compiler.layouts import ALIGNMENT
from strop.compiler.views import Step, ViewGraph


@dataclass(frozen=True, slots=True)
class Span:
    """A buffer's size and the first and last step that touch it."""

    bytes: int
    first: int
    last: int

    def meets(self, other: Span) -> bool:
        """Whether some step needs both."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True)
class Arena:
    """Where each buffer begins, and how many bytes all of them take."""

    offsets: Mapping[str, int]
    bytes: int


def spans_of(graph: ViewGraph) -> dict[str, Span]:
    """Returns when each buffer of the arena is in use; what one step of a wave uses is in use for all of the wave."""
    spans: dict[str, Span] = {}
    for index, step in enumerate(graph.steps):
        begin, end = _wave(graph.steps, index)
        for view in (step.output, *step.inputs):
            buffer = graph.buffers[view.buffer]
            if buffer.kind == "arena":
                first = spans[buffer.name].first if buffer.name in spans else begin
                spans[buffer.name] = Span(buffer.bytes, first, end)
    return spans


def _wave(steps: Sequence[Step], index: int) -> tuple[int, int]:
    """Returns the first and last of the steps round this one that may run at the same time."""

    def wave(place: int) -> int | None:
        operation = steps[place].operation
        return None if operation is None or operation.turn is None else operation.turn.wave

    own, first, last = wave(index), index, index
    while own is not None and first > 0 and wave(first - 1) == own:
        first -= 1
    while own is not None and last + 1 < len(steps) and wave(last + 1) == own:
        last += 1
    return first, last


def place(spans: Mapping[str, Span]) -> Arena:
    """Returns the arena, each buffer at its lowest free place, in order of size or of time: the smaller of the two."""
    by_size = sorted(spans, key=lambda name: (-spans[name].bytes, spans[name].first))
    by_time = sorted(spans, key=lambda name: (spans[name].first, -spans[name].bytes))
    return min((_place_in_order(spans, order) for order in (by_size, by_time)), key=lambda arena: arena.bytes)


def _place_in_order(spans: Mapping[str, Span], order: Sequence[str]) -> Arena:
    offsets: dict[str, int] = {}
    for name in order:
        taken = sorted((offsets[other], spans[other].bytes) for other in offsets if spans[name].meets(spans[other]))
        start = 0
        for offset, size in taken:
            if start + spans[name].bytes <= offset:
                break
            start = max(start, _up(offset + size))
        offsets[name] = start
    return Arena(offsets, max((offsets[name] + spans[name].bytes for name in offsets), default=0))


def _up(number: int) -> int:
    return -(-number // ALIGNMENT) * ALIGNMENT
