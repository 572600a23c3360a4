"""What the levels ask the kernels: which one computes an operation, and how it is scheduled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, Literal

import numpy as np

from strop.compiler.choose import Choice, choose
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Problem
from strop.compiler.layouts import NO_HALO, Halo, Layout, channels_last, dense
from strop.compiler.levels import Convolve, Graph, Operation, Value
from strop.compiler.problems import problem_of
from strop.compiler.records import Records
from strop.compiler.registry import KERNELS
from strop.compiler.views import Step

_TOO_LARGE: Final = "its filters would take more memory than the time it saves is worth"

Ask = Callable[[Operation | None, list[Layout], Layout], Choice]
"""Gives the kernel for an operation on these layouts, and what it needs; None: for a border."""


Spared = Mapping[str, frozenset[str]]
"""By the output of an operation: families of kernels that are not to compute it, as their filters take too much."""


def asking(
    isa: Isa,
    winograd: Literal["auto", "off"] = "auto",
    records: Records | None = None,
    spared: Spared = MappingProxyType({}),
) -> Ask:
    """Returns the question that layout asks for each operation: which kernel, and what it needs.

    records: what was measured, for who asked for tuning; spared: what `memory_budget.py` says.
    """
    known: dict[Problem, Choice] = {}

    def ask(operation: Operation | None, inputs: list[Layout], output: Layout) -> Choice:
        problem = problem_of(operation, inputs, output)
        if operation is not None and isinstance(operation.core, Convolve):
            without = spared.get(operation.output, frozenset())
            kernels = [kernel for kernel in KERNELS if kernel.family not in without] if without else KERNELS
            weights = operation.core.weights
            choice = choose(problem, isa, weights=weights, winograd=winograd, kernels=kernels, records=records)
            return replace(choice, reasons=choice.reasons | dict.fromkeys(without, _TOO_LARGE)) if without else choice
        if problem not in known:
            known[problem] = choose(problem, isa, records=records)
        return known[problem]

    return ask


def scheduling(isa: Isa, records: Records | None = None) -> Callable[[Step, Problem], Choice]:
    """Returns the question that planning asks for each step: which schedule of its kernel."""

    def schedule(step: Step, problem: Problem) -> Choice:
        return choose(problem, isa, kernels=(step.kernel,), records=records, is_decided=True)

    return schedule


def usual_layouts(graph: Graph, operation: Operation) -> tuple[list[Layout], Layout]:
    """Returns the layouts of an operation's inputs and output where nothing asks for others."""
    inputs = [usual_layout(graph.values[name], operation.axis) for name in operation.inputs]
    return inputs, usual_layout(graph.values[operation.output], operation.axis)


def usual_layout(value: Value, axis: int, halo: Halo = NO_HALO) -> Layout:
    """Returns the layout a value has where nothing asks for another: images (channels on `axis` 1) channels-last."""
    rank = len(value.shape)
    if not (rank == 2 or (rank == 4 and axis == 1)):
        return dense(value.shape, value.dtype)
    pixels = value.shape[0] if rank == 2 else value.shape[0] * value.shape[2] * value.shape[3]
    spaced = pixels > 1 or bool(halo)
    pixel = None if spaced else value.shape[1] * np.dtype(value.dtype).itemsize
    return channels_last(value.shape, value.dtype, halo, pixel=pixel)
