"""Picks the kernel and the schedule of a problem: the only place that does.

Every family of the registry that accepts the problem lists its schedules with what they cost; the cheapest by the rates
below wins. Nothing is measured, so the same problem always gives the same choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Cost, Kernel, Needs, Problem, Schedule, WeightCheck
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


def choose(
    problem: Problem,
    isa: Isa,
    *,
    weights: np.ndarray | None = None,
    winograd: Literal["auto", "off"] = "auto",
    kernels: Sequence[Kernel] = KERNELS,
) -> Choice:
    """Returns the kernel and schedule for a problem.

    Layouts need not be decided yet: `Choice.needs` says what the kernel asks of them. weights: what algorithms that are
    not accurate for every filter look at; without them, and with winograd="off", those are left out. kernels: among
    which; once layouts are decided, that is the one they were decided for.
    Raises NoKernelError where no kernel accepts the problem.
    """
    reasons: dict[str, str] = {}
    offers: list[tuple[float, Kernel, Schedule]] = []
    for kernel in kernels:
        reason = kernel.accepts(problem, isa) or _lacks(kernel, weights, winograd)
        if reason:
            reasons[kernel.family] = reason
            continue
        times = [(estimate(kernel.cost(problem, s, isa), isa), s) for s in kernel.candidates(problem, isa)]
        best = min(seconds for seconds, _ in times)
        seconds, schedule = next(pair for pair in times if pair[0] <= best * _TIE)
        offers.append((seconds, kernel, schedule))
    offers.sort(key=lambda offer: offer[0])
    for place, (seconds, kernel, schedule) in enumerate(offers):
        if isinstance(kernel, WeightCheck) and weights is not None:  # takes long: only asked of what would be taken
            doubt = kernel.suits(problem, weights)
            if doubt:
                reasons[kernel.family] = doubt
                continue
        for other, loser, _ in offers[place + 1 :]:
            reasons[loser.family] = f"estimated at {other * 1e6:.0f} us, {kernel.family} at {seconds * 1e6:.0f}"
        return Choice(kernel, schedule, kernel.needs(problem, isa), seconds, reasons)
    raise NoKernelError(problem, reasons)


def _lacks(kernel: Kernel, weights: np.ndarray | None, winograd: str) -> str:
    """Returns why an algorithm that is not accurate for every filter is left out, "" for every other kernel."""
    if not isinstance(kernel, WeightCheck):
        return ""
    if winograd == "off":
        return "winograd is off"
    return "the weights are not known" if weights is None else ""
