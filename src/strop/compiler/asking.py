"""What the levels ask the kernels: which one computes an operation, and how it is scheduled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from strop.compiler.choose import Choice, choose
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Problem
from strop.compiler.layouts import NO_HALO, Halo, Layout, channels_last, dense
from strop.compiler.levels import Convolve, Graph, Operation, Value
from strop.compiler.problems import problem_of
from strop.compiler.records import Records
from strop.compiler.views import Step

Ask = Callable[[Operation | None, list[Layout], Layout], Choice]
"""Gives the kernel for an operation on these layouts, and what it needs; None: for a border."""


def asking(isa: Isa, winograd: Literal["auto", "off"] = "auto", records: Records | None = None) -> Ask:
    """Returns the question that layout asks for each operation: which kernel, and what it needs.

    records: what was measured, for who asked for tuning.
    """
    known: dict[Problem, Choice] = {}

    def ask(operation: Operation | None, inputs: list[Layout], output: Layout) -> Choice:
        problem = problem_of(operation, inputs, output)
        if operation is not None and isinstance(operation.core, Convolve):
            return choose(problem, isa, weights=operation.core.weights, winograd=winograd, records=records)
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
