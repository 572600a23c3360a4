"""Picks the kernel and the schedule of a problem: the only place that does.

Every family of the registry that accepts the problem lists its schedules with what they cost; the cheapest by the rates
below wins. Nothing is measured, so the same problem always gives the same choice. Only a model that is compiled with
tune=True is chosen for by records of what was measured here (`tune.py`), where there are any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Cost, Kernel, Needs, Problem, Schedule, WeightCheck
from strop.compiler.records import Key, Records
from strop.compiler.registry import KERNELS

_GIGA: Final = 1e9

_PEAKS: Final[dict[str, float]] = {
    "x86-64-v4+vnni": 180 * _GIGA,
    "x86-64-v4": 180 * _GIGA,
    "x86-64-v3": 95 * _GIGA,
    "generic": 25 * _GIGA,
    "armv8.2+dotprod": 60 * _GIGA,
}
"""Float operations a second of one core, by ISA level; about those of a server core of 2.5 to 3 GHz."""

_BANDWIDTHS: Final[dict[str, float]] = {"l2": 100 * _GIGA, "l3": 22 * _GIGA, "memory": 11 * _GIGA}
"""Bytes a second of one core, by the level they come from."""

_SHOWN: Final = 0.2
"""The part of the shorter one of arithmetic and memory that the longer one does not hide."""

_TIE: Final = 1.03
"""Schedules this near the best are as good; the first is taken, so that layers share their tiles' code."""


_MEASURED_TIE: Final = 1.01
"""The same for times that were measured."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A kernel that accepts a problem, with one of its schedules and the seconds it should take."""

    kernel: Kernel
    schedule: Schedule
    seconds: float
    problem: Problem

    @property
    def key(self) -> Key:
        """Its name in records."""
        return self.kernel.family, str(self.schedule)


@dataclass(frozen=True, slots=True)
class Choice:
    """What computes a problem. reasons: why each other family was not taken, by its name."""

    kernel: Kernel
    schedule: Schedule
    needs: Needs
    seconds: float
    reasons: dict[str, str]


class NoKernelError(LookupError):
    """No kernel accepts a problem; `reasons` says why, by the family's name."""

    def __init__(self, problem: Problem, reasons: dict[str, str]) -> None:
        super().__init__(f"no kernel for {type(problem).__name__}: {reasons}")
        self.reasons = reasons


def estimate(cost: Cost, isa: Isa) -> float:
    """Returns the seconds a schedule should take on one core; the longer of arithmetic and memory hides most."""
    compute = cost.flops / (_PEAKS[isa.level] * cost.efficiency)
    moved = sum(size / _BANDWIDTHS[level] for level, size in cost.bytes.items())
    return max(compute, moved) + _SHOWN * min(compute, moved) + cost.overhead


def offers(problem: Problem, isa: Isa, *, kernels: Sequence[Kernel] = KERNELS) -> list[Offer]:
    """Returns every schedule of every kernel that accepts a problem, in the kernels' order."""
    return [
        Offer(kernel, schedule, estimate(kernel.cost(problem, schedule, isa), isa), problem)
        for kernel in kernels
        if not kernel.accepts(problem, isa)
        for schedule in kernel.candidates(problem, isa)
    ]


def choose(
    problem: Problem,
    isa: Isa,
    *,
    weights: np.ndarray | None = None,
    winograd: Literal["auto", "off"] = "auto",
    kernels: Sequence[Kernel] = KERNELS,
    records: Records | None = None,
    is_decided: bool = False,
) -> Choice:
    """Returns the kernel and schedule for a problem.

    Layouts need not be decided yet: `Choice.needs` says what the kernel asks of them. weights: what algorithms that are
    not accurate for every filter look at; without them, and with winograd="off", those are left out. kernels: among
    which; once layouts are decided, that is the one they were decided for. records: times that were measured; what has
    none is only taken where nothing else is left. is_decided: `kernels` were chosen for these weights before.
    Raises NoKernelError where no kernel accepts the problem.
    """
    reasons: dict[str, str] = {}
    best: list[tuple[bool, Offer]] = []
    record = records.find(problem) if records is not None else None
    measured = {} if record is None else record.seconds
    for kernel in kernels:
        reason = kernel.accepts(problem, isa) or ("" if is_decided else _lacks(kernel, weights, winograd))
        if reason:
            reasons[kernel.family] = reason
            continue
        own = offers(problem, isa, kernels=(kernel,))
        known = [replace(offer, seconds=measured[offer.key]) for offer in own if offer.key in measured]
        best.append((not known, _quickest(known or own, _MEASURED_TIE if known else _TIE)))
    best.sort(key=lambda pair: (pair[0], pair[1].seconds))
    for place, (guessed, offer) in enumerate(best):
        kernel, seconds = offer.kernel, offer.seconds
        if isinstance(kernel, WeightCheck) and weights is not None:  # takes long: only asked of what would be taken
            doubt = kernel.suits(problem, weights)
            if doubt:
                reasons[kernel.family] = doubt
                continue
        for other_guessed, other in best[place + 1 :]:
            how = "not measured, as it was estimated" if other_guessed > guessed else _SAID[other_guessed]
            reasons[other.kernel.family] = (
                f"{how} at {other.seconds * 1e6:.0f} us, {kernel.family} {_SAID[guessed]} at {seconds * 1e6:.0f}"
            )
        return Choice(kernel, offer.schedule, kernel.needs(problem, isa), seconds, reasons)
    raise NoKernelError(problem, reasons)


_SAID: Final = {False: "measured", True: "estimated"}


def _quickest(own: Sequence[Offer], tie: float) -> Offer:
    least = min(offer.seconds for offer in own)
    return next(offer for offer in own if offer.seconds <= least * tie)


def _lacks(kernel: Kernel, weights: np.ndarray | None, winograd: str) -> str:
    """Returns why an algorithm that is not accurate for every filter is left out, "" for every other kernel."""
    if not isinstance(kernel, WeightCheck):
        return ""
    if winograd == "off":
        return "winograd is off"
    return "the weights are not known" if weights is None else ""
