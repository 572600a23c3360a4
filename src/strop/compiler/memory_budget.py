"""Keeps Winograd's filters within what a process is promised to need.

Transformed filters are 1.8 or 4 times the size of those they are made of. A process that loads a bundle and runs it is
to take no more than 1.3 times what nobody can do without: the weights, the arena, and the interpreter with numpy. Where
a network's filters would take more, the operations that lose least time for each byte take another algorithm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from strop.compiler.asking import Spared, usual_layouts
from strop.compiler.choose import NoKernelError, choose
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Kernel
from strop.compiler.kernels.winograd import WinogradConvolution
from strop.compiler.levels import Convolve, Graph, Operation
from strop.compiler.plan import ProgramPlan
from strop.compiler.problems import problem_of
from strop.compiler.records import Records
from strop.compiler.registry import KERNELS

_SHARE: Final = 0.3
_INTERPRETER: Final = 27_000_000
"""Bytes of Python with numpy."""
_OWN: Final = 3_600_000
"""Bytes of Strop's modules, tables, code, and of pages that are not filled."""


@dataclass(frozen=True, slots=True)
class _Way:
    """How an operation may be computed: without these families, in so many seconds, its filters so much larger."""

    without: frozenset[str]
    seconds: float
    extra: int


def allowance(graph: Graph, arena_bytes: int) -> int:
    """Returns the bytes that filters may take beyond what they are made of."""
    weights = sum(op.core.weights.nbytes for op in graph.operations if isinstance(op.core, Convolve))
    outside = sum(graph.values[name].bytes for name in (*graph.inputs, *graph.outputs))
    return max(0, int(_SHARE * (weights + arena_bytes + _INTERPRETER)) - _OWN - outside)


def spared(plan: ProgramPlan, records: Records | None = None) -> Spared:
    """Returns which operations are to do without which families; a plan made so keeps within `allowance`.

    records: as for `choose`.
    """
    graph = plan.views.graph
    tiled: dict[str, tuple[Operation, Kernel]] = {}
    for task in plan.tasks:
        if isinstance(task.kernel, WinogradConvolution) and task.step.operation is not None:
            tiled[task.step.operation.output] = task.step.operation, task.kernel
    excess = sum(_extra(*pair) for pair in tiled.values()) - allowance(graph, plan.arena.bytes)
    if excess <= 0:
        return {}
    ways = {name: _ways(graph, *pair, plan.isa, records) for name, pair in tiled.items()}
    taken = {name: own[0] for name, own in ways.items()}
    while excess > 0:
        moves = [(name, way) for name, own in ways.items() for way in own if way.extra < taken[name].extra]
        if not moves:
            break
        name, way = min(moves, key=lambda move: _price(taken[move[0]], move[1]))
        excess -= taken[name].extra - way.extra
        taken[name] = way
    for name, own in sorted(ways.items(), key=lambda pair: pair[1][0].seconds - taken[pair[0]].seconds):
        back = own[0].extra - taken[name].extra
        if excess + back <= 0:  # a later one saved enough without this
            excess, taken[name] = excess + back, own[0]
    return {name: way.without for name, way in taken.items() if way.without}


def _price(now: _Way, then: _Way) -> float:
    """Returns the seconds that are lost for each byte that is saved."""
    return (then.seconds - now.seconds) / (now.extra - then.extra)


def _ways(graph: Graph, operation: Operation, kernel: Kernel, isa: Isa, records: Records | None) -> list[_Way]:
    """Returns how the operation is computed now, and how it is with smaller tiles or without Winograd."""
    assert isinstance(operation.core, Convolve)
    problem = problem_of(operation, *usual_layouts(graph, operation))
    now = choose(problem, isa, kernels=(kernel,), records=records, is_decided=True)
    found, without = [_Way(frozenset(), now.seconds, _extra(operation, kernel))], set[str]()
    for other in KERNELS:  # larger tiles come first
        if isinstance(other, WinogradConvolution):
            without.add(other.family)
            rest = [each for each in KERNELS if each.family not in without]
            try:
                choice = choose(problem, isa, weights=operation.core.weights, kernels=rest, records=records)
            except NoKernelError:
                break
            found.append(_Way(frozenset(without), choice.seconds, _extra(operation, choice.kernel)))
    return found


def _extra(operation: Operation, kernel: Kernel) -> int:
    """Returns the bytes that a kernel's filters take beyond what they are made of."""
    assert isinstance(operation.core, Convolve)
    outputs, inputs = operation.core.weights.shape[:2]
    places = (kernel.size + 2) ** 2 - 9 if isinstance(kernel, WinogradConvolution) else 0
    return int(4 * places * outputs * inputs)
