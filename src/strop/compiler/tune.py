"""Chooses kernels and schedules by measuring them: for each distinct problem of a plan, what promises most.

All candidates of a problem take turns, one run each a round, forth and back, so that whatever disturbs the machine
disturbs all of them; a candidate's time is the mean of its quickest third. Each runs alone on one thread, on layouts as
the plan has them, with weights as cold as in a network among others: so many copies take turns that a multiple of the
network's weights goes through the caches before one has its turn again; images are the same for all candidates, and so
as near as what an operation has just written. A problem gets that part of the time which it takes of the network. What
is measured goes into the records, also where the time runs out, or somebody presses Ctrl-C, in between; `choose` takes
it from there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from strop.compiler.alone import Alone, Shared
from strop.compiler.choose import Offer, offers
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Convolution, FusedBlock, Kernel, Problem
from strop.compiler.object_cache import ObjectCache
from strop.compiler.plan import PlanTask, ProgramPlan
from strop.compiler.program import pack_step
from strop.compiler.records import Record, Records
from strop.machine import machine
from strop.measure.clock import SYSTEM, Clock

_log = logging.getLogger(__name__)

BUDGET_SECONDS: Final = 30.0
"""For a model, where nobody says otherwise."""

CANDIDATES: Final = 10
"""At most so many a problem."""

_WITHIN: Final = 4.0
"""Who should take so many times as long as the best is not tried."""

_LEAST_ROUNDS: Final = 6
_MOST_ROUNDS: Final = 60
_ENOUGH_SECONDS: Final = 0.25
"""Of a problem's rounds, once each candidate ran `_MOST_ROUNDS` / 2 times."""

_COLDER: Final = 8
"""How often a network's weights go through the caches before a copy has its turn again: other programs use them, too.

With the weights of a network of 46 MB going through once, a filter of 9 MB came from the last cache in 530 us; in the
network it took 740, as it does after 400 MB."""

_COPIED_BYTES: Final = 384 << 20
_MOST_COPIES: Final = 32

_SHORTEST: Final = 2e-6
"""Seconds of a task, by estimate, below which nothing is to be gained."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far tuning is: problems done (measured, or known before), of how many, and seconds gone, of how many."""

    done: int
    problems: int
    seconds: float
    budget: float
    message: str


Listener = Callable[[Progress], None]
Trial = Callable[[], Any]
"""Runs a candidate once."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What tuning did: problems with a choice, of these measured now, known before, and left out for lack of time."""

    problems: int
    measured: int
    known: int
    left_out: int
    seconds: float


@dataclass(slots=True, eq=False)
class _Work:
    """A problem of the plan with the first task that has it. weight: seconds it takes of the network, by estimate."""

    task: PlanTask
    offers: tuple[Offer, ...]
    weight: float


Make = Callable[["_Work", int], Sequence[Trial]]
"""Makes a problem's candidates ready to run; so many bytes of weights shall pass before a copy is used again."""


def tune_plan(
    plan: ProgramPlan,
    records: Records,
    *,
    budget: float = BUDGET_SECONDS,
    cache: ObjectCache | None = None,
    listener: Listener | None = None,
    clock: Clock = SYSTEM,
    make: Make | None = None,
) -> Tuned:
    """Measures what the records lack for a plan, and saves them; takes about `budget` seconds at most.

    Winograd is tried where the plan's problems allow it, whatever their weights: `choose` looks at those.
    make: how candidates are made, for tests.
    """
    begin = clock.now()
    works = _works(plan)
    waiting = [work for work in works if not _is_known(records, work)]
    tuned = Tuned(len(works), 0, len(works) - len(waiting), len(waiting), 0.0)
    make = make or _maker(plan, cache)
    weights = sum(weight_bytes(task.problem) for task in plan.tasks)
    apart = min(_COLDER * weights, _COPIED_BYTES, machine().memory_limit_bytes // 16)
    try:
        while waiting:
            spent = clock.now() - begin
            if spent >= budget:
                break
            work = waiting[0]
            share = work.weight / sum(each.weight for each in waiting)
            seconds = max((budget - spent) * share, min(_ENOUGH_SECONDS, budget - spent))
            record = _measure(work, make(work, apart), clock, clock.now() + seconds, begin + budget)
            if record is None:  # the time ran out before anything could be told
                break
            records.add(work.task.problem, record)
            waiting.pop(0)
            tuned = replace(tuned, measured=tuned.measured + 1, left_out=len(waiting))
            _tell(listener, works, waiting, clock.now() - begin, budget, work, record)
    finally:
        if tuned.measured:
            records.save()
    tuned = replace(tuned, seconds=clock.now() - begin)
    _log.info("tuned %s: %s", plan.views.graph.name, tuned)
    return tuned


def _works(plan: ProgramPlan) -> list[_Work]:
    """Returns the distinct problems that leave a choice, those that take longest first."""
    works: dict[Problem, _Work] = {}
    for task in plan.tasks:
        if task.problem in works:
            works[task.problem].weight += task.seconds
        elif task.seconds >= _SHORTEST and _can_run_alone(task.problem):
            works[task.problem] = _Work(task, candidates(task, plan.isa), task.seconds)
    found = [work for work in works.values() if len(work.offers) > 1]
    return sorted(found, key=lambda work: -work.weight)


def candidates(task: PlanTask, isa: Isa) -> tuple[Offer, ...]:
    """Returns at most ten kernels and schedules for a task, the best estimate first; every kernel once if possible.

    A kernel that asks for other orders of axes than the plan's layouts have is none.
    """
    tried: list[Offer] = []
    for offer in offers(task.problem, isa):
        problem = fitted(task.problem, offer.kernel, isa)
        if problem is not None:
            tried.append(replace(offer, problem=problem))
    tried.sort(key=lambda offer: offer.seconds)
    tried = [offer for offer in tried if offer.seconds <= _WITHIN * tried[0].seconds]
    families: dict[str, Offer] = {}
    for offer in tried:
        families.setdefault(offer.kernel.family, offer)
    first = list(families.values())
    rest = [offer for offer in tried if not any(offer is each for each in first)]
    return tuple(sorted((first + rest)[:CANDIDATES], key=lambda offer: offer.seconds))


def fitted(problem: Problem, kernel: Kernel, isa: Isa) -> Problem | None:
    """Returns the problem as a kernel would have it, with the halo it needs; None where it asks for other orders."""
    needs = kernel.needs(problem, isa)
    if problem.inputs and not _is_ordered(problem.inputs[0], needs.input_order):
        return None
    if not _is_ordered(problem.output, needs.output_order):
        return None
    if not needs.halo or problem.inputs[0].halo.covers(needs.halo):
        return problem
    image = problem.inputs[0]
    halo = image.halo.union(needs.halo)
    pixel = image.strides[3]
    row = pixel * (image.shape[3] + halo.left + halo.right)
    whole = row * (image.shape[2] + halo.top + halo.bottom)
    grown = replace(image, strides=(whole, image.strides[1], row, pixel), halo=halo)
    return replace(problem, inputs=(grown, *problem.inputs[1:]))


def _is_ordered(layout: Any, order: str) -> bool:
    return order == "any" or bool(layout.is_dense if order == "dense" else layout.is_channels_last)


def _can_run_alone(problem: Problem) -> bool:
    """Whether memory can be made for its operands: what goes backwards through memory is left to the cost model."""
    return all(stride >= 0 for layout in (*problem.inputs, problem.output) for stride in layout.strides)


def _is_known(records: Records, work: _Work) -> bool:
    record = records.find(work.task.problem)
    return record is not None and {offer.key for offer in work.offers} <= set(record.seconds)


def weight_bytes(problem: Problem) -> int:
    """Returns the bytes of a problem's weights, as the model has them."""
    if isinstance(problem, FusedBlock):
        return sum(weight_bytes(stage) for stage in problem.stages)
    if isinstance(problem, Convolution):
        return int(np.prod(problem.weights)) * np.dtype(problem.weight_dtype).itemsize
    return 0


def _maker(plan: ProgramPlan, cache: ObjectCache | None) -> Make:
    def make(work: _Work, apart: int) -> Sequence[Trial]:
        step = work.task.step
        place = (step.output.buffer, step.output.offset)
        same = frozenset(i for i, view in enumerate(step.inputs) if (view.buffer, view.offset) == place)
        packed = [pack_step(step, each.kernel, each.problem, each.schedule, plan.isa) for each in work.offers]
        once = sum(array.nbytes for arrays in packed for array in arrays)
        copies = min(_MOST_COPIES, -(-apart // once)) if once else 1
        shared: Shared = {}
        return [
            Alone(
                offer.kernel,
                offer.problem,
                offer.schedule,
                plan.isa,
                arrays,
                copies=copies,
                in_place=same,
                shared=shared,
                cache=cache,
            )
            for offer, arrays in zip(work.offers, packed, strict=True)
        ]

    return make


def _measure(work: _Work, trials: Sequence[Trial], clock: Clock, until: float, at_most: float) -> Record | None:
    """Returns the record of a problem after as many rounds as fit until then; None where too few did."""
    times, rounds = take_turns(trials, clock, until=until, at_most=at_most)
    if rounds < _LEAST_ROUNDS:
        return None
    seconds = {offer.key: fastest_third(own) for offer, own in zip(work.offers, times, strict=True)}
    return Record(seconds, rounds)


def take_turns(trials: Sequence[Trial], clock: Clock, *, until: float, at_most: float) -> tuple[list[list[float]], int]:
    """Returns the seconds of every run of each trial, and how many rounds there were.

    They are seconds of this thread on a core: what others get of the core in between does not count.
    Goes on until `until`, for a few rounds at least, but never beyond `at_most`.
    """
    times: list[list[float]] = [[] for _ in trials]
    for trial in trials:
        trial()  # pages, code and branches that nobody has seen yet
    begin, rounds = clock.now(), 0
    while rounds < _MOST_ROUNDS:
        moment = clock.now()
        enough = rounds >= _MOST_ROUNDS // 2 and moment - begin >= _ENOUGH_SECONDS
        if enough or moment >= at_most or (rounds >= _LEAST_ROUNDS and moment >= until):
            break
        for index in range(len(trials)) if rounds % 2 else reversed(range(len(trials))):
            start = clock.own_cpu_seconds()
            trials[index]()
            times[index].append(clock.own_cpu_seconds() - start)
        rounds += 1
    return times, rounds


def fastest_third(times: Sequence[float]) -> float:
    """Returns the mean of the quickest third: what it takes when nobody disturbs.

    Example:
        >>> fastest_third([5.0, 1.0, 9.0, 3.0, 7.0, 8.0])
        2.0
    """
    return float(np.mean(sorted(times)[: -(-len(times) // 3)]))


def _tell(
    listener: Listener | None,
    works: Sequence[_Work],
    waiting: Sequence[_Work],
    seconds: float,
    budget: float,
    work: _Work,
    record: Record,
) -> None:
    family, schedule = record.best
    chosen = record.seconds.get((work.task.kernel.family, str(work.task.schedule)))
    gain = "" if chosen is None else f", {chosen / record.seconds[record.best]:.2f} x as fast as untuned"
    message = f"tuned {work.task.step.name}: {family} {schedule} of {len(record.seconds)}{gain}"
    _log.info(message)
    if listener is not None:
        listener(Progress(len(works) - len(waiting), len(works), seconds, budget, message))
