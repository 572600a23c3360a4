"""The fourth level: tasks in order, each with its kernel's schedule, its addresses, and whether threads wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from strop.compiler.choose import Choice
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Cost, Kernel, Problem, Schedule, Split
from strop.compiler.memory import Arena, place, spans_of
from strop.compiler.problems import problem_of
from strop.compiler.views import Step, View, ViewGraph

Schedules = Callable[[Step, Problem], Choice]
"""Gives the schedule of a step's kernel for the problem as it finally is."""

WORTH_SHARING: Final = 2e-6
"""Seconds that a task takes by estimate, below which one thread does it: a barrier costs a part of that."""


@dataclass(frozen=True, slots=True, eq=False)
class PlanTask:
    """A step with its problem and schedule. split: what a team divides; wait: a barrier stands before it.

    seconds: by estimate, on one thread; thread: the one that runs what is not divided, modulo the size of the team.
    """

    step: Step
    problem: Problem
    kernel: Kernel
    schedule: Schedule
    cost: Cost
    split: Split
    workspace: int
    wait: bool
    seconds: float
    thread: int = 0

    @property
    def is_shared(self) -> bool:
        """Whether more than one thread may get a part of it."""
        return self.split.units > self.split.grain


@dataclass(frozen=True, slots=True, eq=False)
class ProgramPlan:
    """The tasks in order, and where in the arena the buffers of `views` begin."""

    views: ViewGraph
    tasks: tuple[PlanTask, ...]
    arena: Arena
    isa: Isa

    @property
    def workspace(self) -> int:
        """Bytes of scratch that each thread needs."""
        return max((task.workspace for task in self.tasks), default=0)

    def offset(self, view: View) -> int:
        """Returns where a view's first element lies, in bytes from the start of the arena or the caller's array."""
        return self.arena.offsets.get(view.buffer, 0) + view.offset

    def address(self, view: View) -> str:
        """Returns the place of a view as text."""
        buffer = self.views.buffers[view.buffer]
        name = f"{buffer.kind} {buffer.index}" if buffer.kind in ("input", "output") else buffer.kind
        return f"{name}+{self.offset(view)}"

    def lines(self) -> Iterator[str]:
        """Yields the plan as text, a line a task."""
        waits = sum(task.wait for task in self.tasks)
        yield f"plan of {self.views.graph.name} for {self.isa.level}: {len(self.tasks)} tasks, {waits} barriers"
        yield f"  arena {self.arena.bytes} bytes, workspace {self.workspace} bytes a thread"
        for number, task in enumerate(self.tasks):
            bar = "|" if task.wait else " "
            reads = ", ".join(map(self.address, task.step.inputs))
            yield (
                f"  {bar}{number:3} {task.step.name}: {task.kernel.family} {task.schedule} of ({reads}) "
                f"to {self.address(task.step.output)}, {task.split.units} units"
            )

    def __str__(self) -> str:
        return "\n".join(self.lines())


def make_plan(views: ViewGraph, isa: Isa, schedules: Schedules) -> ProgramPlan:
    """Returns the plan of a laid out graph."""
    arena = place(spans_of(views))
    tasks: list[PlanTask] = []
    barriers = _Barriers(views, arena)
    for step in views.steps:
        problem = problem_of(step.operation, [view.layout for view in step.inputs], step.output.layout)
        choice = schedules(step, problem)
        kernel, schedule = choice.kernel, choice.schedule
        split = kernel.split(problem, schedule, isa)
        if choice.seconds < WORTH_SHARING:
            split = Split(split.units, split.units)
        turn = None if step.operation is None else step.operation.turn
        if turn is not None:
            split = Split(split.units, split.units)
        thread = 0 if turn is None else turn.thread
        wait = barriers.add(step, None if split.units > split.grain else thread)
        cost, workspace = kernel.cost(problem, schedule, isa), kernel.workspace(problem, schedule, isa)
        tasks.append(PlanTask(step, problem, kernel, schedule, cost, split, workspace, wait, choice.seconds, thread))
    return ProgramPlan(views, tuple(tasks), arena, isa)


@dataclass(frozen=True, slots=True)
class _Access:
    """What a step touches: bytes from `start` to `end` of a space, of each `pitch` those from `low` to `high`.

    halo: only the halo of its buffer (True) or only what is inside (False), None where it may be both; thread: the one
    that does it, None where it may be any.
    """

    space: tuple[str, int]
    buffer: str
    start: int
    end: int
    pitch: int
    low: int
    high: int
    writes: bool
    halo: bool | None
    thread: int | None

    def conflicts(self, other: _Access) -> bool:
        """Whether the order of the two matters, between threads."""
        if self.space != other.space or not (self.writes or other.writes):
            return False
        if self.thread is not None and self.thread == other.thread:
            return False
        if self.end <= other.start or other.end <= self.start:
            return False
        if self.buffer != other.buffer:
            return True
        if self.halo is not None and other.halo is not None and self.halo != other.halo:
            return False
        return not (self.pitch == other.pitch and (self.high <= other.low or other.high <= self.low))


class _Barriers:
    """Says for each step in order whether it needs what others touched since the last barrier."""

    def __init__(self, views: ViewGraph, arena: Arena) -> None:
        self._views, self._offsets = views, arena.offsets
        self._since: list[_Access] = []

    def add(self, step: Step, thread: int | None) -> bool:
        """Notes the step; returns whether a barrier stands before it."""
        reads = [self._access(view, False, None, thread) for view in step.inputs]
        own = [*reads, self._access(step.output, True, step.operation is None, thread)]
        wait = any(now.conflicts(before) for now in own for before in self._since)
        self._since = own if wait else [*self._since, *own]
        return wait

    def _access(self, view: View, writes: bool, halo: bool | None, thread: int | None) -> _Access:
        buffer, layout = self._views.buffers[view.buffer], view.layout
        begin = self._offsets.get(view.buffer, 0) + view.offset - layout.before
        pitch = layout.strides[-1] if len(layout.shape) == 4 else layout.strides[0] if len(layout.shape) == 2 else 0
        low = view.offset % pitch if pitch else 0
        wide = layout.shape[1] * layout.itemsize if len(layout.shape) > 1 else 0
        is_simple = pitch > 0 and layout.is_channels_last and low + wide <= pitch
        space = ("arena", 0) if buffer.kind == "arena" else (buffer.kind, buffer.index)
        return _Access(
            space,
            view.buffer,
            begin,
            begin + layout.span,
            pitch if is_simple else 0,
            low if is_simple else 0,
            low + wide if is_simple else 1,
            writes,
            halo,
            thread,
        )
