"""Views and plans in numpy, with real addresses in poisoned memory: a mistake in placing shows as a wrong number.

Each step is computed by its problem's reference on arrays that are windows on memory. Memory starts as NaN (and large
integers), so what reads too early, a halo that nobody cleared, or a buffer given away too soon, changes the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from strop.compiler.isa.table import ISAS
from strop.compiler.kernels import references
from strop.compiler.kernels.contract import (
    Attention,
    Convolution,
    FusedBlock,
    Gathering,
    MatrixProduct,
    Place,
    Pointwise,
    Pool,
    Problem,
    Recurrence,
    Resampling,
    Statistics,
)
from strop.compiler.layouts import NO_HALO, Halo, Layout
from strop.compiler.levels import Convolve, Recur
from strop.compiler.plan import ProgramPlan
from strop.compiler.problems import block_weights, problem_of
from strop.compiler.views import Step, View, ViewGraph, constant_bytes

POISON = 0xFF
"""A float32 of these bytes is NaN."""

Memory = Callable[[View], tuple[np.ndarray, int]]
"""Gives the bytes that a view lies in and the offset of its first element."""


def run_views(views: ViewGraph, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the outputs by name, every buffer having memory of its own."""
    memory = _doors(views, inputs)
    for buffer in views.buffers.values():
        if buffer.kind == "arena":
            memory[buffer.name] = np.full(buffer.bytes, POISON, np.uint8)
    for step in views.steps:
        layouts = [view.layout for view in step.inputs]
        problem = problem_of(step.operation, layouts, step.output.layout)
        run_step(step, problem, lambda view: (memory[view.buffer], view.offset))
    return _outputs(views, memory)


def run_plan(plan: ProgramPlan, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the outputs by name, tasks in order on one arena."""
    memory = _doors(plan.views, inputs)
    arena = np.full(plan.arena.bytes, POISON, np.uint8)

    def locate(view: View) -> tuple[np.ndarray, int]:
        is_inside = plan.views.buffers[view.buffer].kind == "arena"
        return (arena if is_inside else memory[view.buffer]), plan.offset(view)

    for task in plan.tasks:
        run_step(task.step, task.problem, locate)
    return _outputs(plan.views, memory)


def run_step(step: Step, problem: Problem, locate: Memory) -> None:
    """Computes one step from memory to memory."""
    target = window(*locate(step.output), problem.output)
    if step.operation is None:
        _clear_halo(*locate(step.output), problem.output)
        return
    places = [locate(view) for view in step.inputs]
    inputs = [window(*place, layout) for place, layout in zip(places, problem.inputs, strict=True)]
    core = step.operation.core
    channels: Sequence[np.ndarray] = step.operation.channels
    if isinstance(problem, Convolution) and isinstance(core, Convolve):
        halo = step.kernel.needs(problem, ISAS[0]).halo
        if halo:  # what the kernel reads beyond the edges comes from memory, so that it had better be right
            inputs[0] = window(*places[0], problem.inputs[0], halo)
            problem = replace(problem, inputs=(_grown(problem.inputs[0], halo), *problem.inputs[1:]), pads=(0, 0, 0, 0))
        if core.bias is not None:
            channels = [*channels, core.bias]
        result = references.convolution(problem, [array.copy() for array in inputs], core.weights, channels)
    elif isinstance(problem, FusedBlock):
        result = references.block(problem, inputs, *block_weights(step.operation))
    elif isinstance(problem, Pool):
        result = references.pool(problem, inputs, channels)
    elif isinstance(problem, Resampling):
        result = references.resample(problem, inputs, channels)
    elif isinstance(problem, MatrixProduct):
        result = references.matrix_product(inputs)
    elif isinstance(problem, Attention):
        result = references.attention(problem, inputs)
    elif isinstance(problem, Recurrence) and isinstance(core, Recur):
        result = references.recurrence(problem, inputs, core.weights, core.vectors)
    elif isinstance(problem, Statistics):
        result = references.statistics(problem, inputs, channels)
    elif isinstance(problem, Place):
        result = references.place(problem, inputs[0])
    elif isinstance(problem, Gathering):
        result = references.gather(problem, inputs)
    else:
        assert isinstance(problem, Pointwise)
        result = references.pointwise(problem, inputs, channels)
    target[...] = result


def window(memory: np.ndarray, offset: int, layout: Layout, halo: Halo = NO_HALO) -> np.ndarray:
    """Returns the array a layout describes at `offset` bytes into `memory`, with rows and columns of its halo."""
    if halo:
        offset -= halo.top * layout.strides[2] + halo.left * layout.strides[3]
        layout = _grown(layout, halo)
    last = sum((n - 1) * stride for n, stride in zip(layout.shape, layout.strides, strict=True))
    if offset < 0 or offset + last + layout.itemsize > len(memory):
        raise AssertionError(f"{layout} at {offset} lies outside of {len(memory)} bytes")
    return np.ndarray(layout.shape, layout.dtype, memory.data, offset, layout.strides)


def _grown(layout: Layout, halo: Halo) -> Layout:
    images, channels, height, width = layout.shape
    shape = (images, channels, height + halo.top + halo.bottom, width + halo.left + halo.right)
    return Layout(shape, layout.strides, layout.dtype)


def _clear_halo(memory: np.ndarray, offset: int, layout: Layout) -> None:
    whole = window(memory, offset, layout, layout.halo)
    inside = window(memory, offset, layout).copy()
    whole[...] = layout.fill
    window(memory, offset, layout)[...] = inside


def _doors(views: ViewGraph, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    memory: dict[str, np.ndarray] = {}
    for buffer in views.buffers.values():
        if buffer.kind == "input":
            memory[buffer.name] = np.ascontiguousarray(inputs[buffer.name]).reshape(-1).view(np.uint8)
        elif buffer.kind == "output":
            memory[buffer.name] = np.full(buffer.bytes, POISON, np.uint8)
        elif buffer.kind == "constant":
            array = views.graph.constants[buffer.name]
            memory[buffer.name] = constant_bytes(array, views.views[buffer.name].layout).view(np.uint8)
    return memory


def _outputs(views: ViewGraph, memory: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    outputs = {}
    for index, name in enumerate(views.graph.outputs):
        value = views.graph.values[name]
        outputs[name] = memory[f"output {index}"].view(value.dtype).reshape(value.shape)
    return outputs
