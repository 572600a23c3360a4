"""Says what a program does, operation by operation, and shows each level as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

from strop.compiler.kernels.contract import Border, Convolution, Problem, Recurrence
from strop.compiler.layouts import Layout
from strop.compiler.machine_code import assembly
from strop.compiler.plan import PlanTask
from strop.compiler.probe import Attainable
from strop.compiler.program import Program
from strop.errors import UsageError
from strop.machine import machine

Level = Literal["operations", "fused", "views", "plan", "llvm", "assembly"]

_CACHES = {"l2": "L2", "l3": "L3", "memory": "memory"}


def show(program: Program, level: str) -> str:
    """Returns one level of a program as text; raises UsageError (`usage.bad-option`) for a name that is none."""
    if level in ("llvm", "assembly"):
        irs = {symbol: ir for code in program.codes for symbol, ir in code.objects.items()}
        is_ir = level == "llvm"
        parts = (ir if is_ir else assembly(ir, program.plan.isa) for ir in irs.values())
        comment = "; " if is_ir else "# "
        return "\n".join(f"{comment}{symbol}\n{text}" for symbol, text in zip(irs, parts, strict=True))
    if level not in get_args(Level):
        raise UsageError(
            "usage.bad-option",
            "there is no such level",
            got=level,
            expected=", ".join(get_args(Level)),
            hint="strop explain MODEL --engine native --show fused",
        )
    levels = {"operations": program.operations, "fused": program.fused, "views": program.views, "plan": program.plan}
    return str(levels[level])


def operation_rows(program: Program, seconds: Sequence[float], attainable: Attainable) -> list[dict[str, Any]]:
    """Returns a row for each task: name, nodes, kernel, tile, ms, percent_of_limit, flops, bytes.

    seconds: of each task, as measured; attainable: what this machine can do, which the percentages are of. The limit of
    a task is the longer of its arithmetic at the full rate and its bytes, each from the cache level it comes from.
    """
    rows = []
    for task, taken in zip(program.plan.tasks, seconds, strict=True):
        limit = limit_seconds(task, attainable, program.settings.isa)
        operation = task.step.operation
        rows.append(
            {
                "name": task.step.name,
                "nodes": [] if operation is None else list(operation.origin),
                "kernel": task.kernel.family,
                "tile": str(task.schedule),
                "ms": taken * 1e3,
                "percent_of_limit": 100 * limit / taken if taken > 0 and limit > 0 else None,
                "flops": task.cost.flops,
                "bytes": bytes_of(task.problem),
                "what": _describe(task),
            }
        )
    return rows


def limit_seconds(task: PlanTask, attainable: Attainable, isa: str) -> float:
    """Returns the seconds that a task takes at least on one thread of this machine, as far as that is known.

    Bytes count from the level that the kernel says they come from, or from L2 or L1 where all of the task fits there.
    """
    is_integer = isinstance(task.problem, Convolution) and task.problem.accumulator == "int32"
    rate = (attainable.int8 if is_integer else attainable.flops).get(isa)
    arithmetic = task.cost.flops / rate if rate else 0.0
    near = [
        name for name, size in (("L1", "L1d"), ("L2", "L2")) if bytes_of(task.problem) < machine().caches.get(size, 0)
    ]
    moved = 0.0
    for level, size in task.cost.bytes.items():
        widths = [attainable.bandwidth.get(name, 0.0) for name in (_CACHES[level], *near)]
        moved += size / max(widths) if max(widths) > 0 else 0.0
    return max(arithmetic, moved)


def bytes_of(problem: Problem) -> int:
    """Returns the bytes of a problem's tensors, each counted once: inputs, output, weights; of a border, the halo's."""
    if isinstance(problem, Border):
        _, channels, height, width = problem.output.shape
        halo = problem.output.halo
        whole = (height + halo.top + halo.bottom) * (width + halo.left + halo.right)
        return problem.output.shape[0] * channels * (whole - height * width) * problem.output.itemsize
    layouts = (*problem.inputs, problem.output)
    total = sum(_distinct(layout) for layout in layouts)
    if isinstance(problem, Convolution):
        total += math.prod(problem.weights) * (1 if problem.weight_dtype == "int8" else 4)
    if isinstance(problem, Recurrence):
        total += 4 * len(problem.reverse) * problem.cell.gates * problem.units**2
    return total


def _distinct(layout: Layout) -> int:
    extents = (n for n, stride in zip(layout.shape, layout.strides, strict=True) if stride)
    return math.prod(extents) * layout.itemsize


def _describe(task: PlanTask) -> str:
    operation = task.step.operation
    if operation is None:
        return "border"
    if task.step.is_copy:
        return "copy"
    return f"{operation.core} then {operation.epilogue}"
