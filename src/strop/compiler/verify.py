"""What must hold at each level. Run between levels by tests and where a setting asks; raises AssertionError."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from strop.compiler import expressions
from strop.compiler.isa.table import ISAS
from strop.compiler.layouts import ALIGNMENT, Layout
from strop.compiler.levels import (
    JOINS,
    Attend,
    Block,
    Convolve,
    Extreme,
    Gather,
    Graph,
    MatrixMultiply,
    Operation,
    PoolWindow,
    Recur,
    Reduce,
    Resample,
    Reshape,
    Transpose,
    parts_of,
)
from strop.compiler.memory import spans_of
from strop.compiler.plan import ProgramPlan
from strop.compiler.problems import problem_of
from strop.compiler.views import Step, View, ViewGraph

_BYTES: Final = frozenset(["uint8", "int8"])


def verify_graph(graph: Graph) -> None:
    """Checks operations, fused or not: single assignment, order, shapes, operands and channels of epilogues."""
    known = {*graph.inputs, *graph.constants}
    for operation in graph.operations:
        place = f"{operation.name} ({operation.core})"
        for name in operation.inputs:
            _check(name in known, place, f"reads {name!r}, which nothing computed before")
        _check(operation.output not in known, place, f"computes {operation.output!r} a second time")
        known.add(operation.output)
        _check_shapes(graph, operation, place)
        _check_epilogue(graph, operation, place)
    for name in graph.outputs:
        _check(name in known, graph.name, f"has the output {name!r}, which nothing computes")


def _check_shapes(graph: Graph, operation: Operation, place: str) -> None:
    core, output = operation.core, graph.values[operation.output].shape
    inputs = [graph.values[name].shape for name in operation.inputs]
    if isinstance(core, Reshape):
        _check(math.prod(inputs[0]) == math.prod(output), place, "changes the number of elements")
    elif isinstance(core, Transpose):
        _check(output == tuple(inputs[0][axis] for axis in core.permutation), place, "has another shape")
    elif isinstance(core, JOINS):
        parts = parts_of(core, inputs, output)
        _check(len(parts) == len(inputs), place, "has another number of parts")
        types = {graph.values[name].dtype for name in (*operation.inputs, operation.output)}
        _check(len(types) == 1, place, f"joins {', '.join(sorted(types))}")
        _check(sum(map(math.prod, inputs)) == math.prod(output), place, "has another extent")
        for (starts, steps), shape in zip(parts, inputs, strict=True):
            ends = [start + step * (n - 1) for start, step, n in zip(starts, steps, shape, strict=True)]
            _check(all(end < n for end, n in zip(ends, output, strict=True)), place, "has a part that is too large")
    elif isinstance(core, Resample):
        _check(output == (*inputs[0][:2], len(core.rows), len(core.columns)), place, "has another shape")
        for axis, places in ((2, core.rows), (3, core.columns)):
            read = {n for first, second, _ in places for n in (first, second)}
            _check(read <= set(range(inputs[0][axis])), place, "reads what is outside of its image")
    elif isinstance(core, Gather):
        _check(len(core.data) == len(core.indices) == len(output), place, "has another rank")
        for axis, (own, named) in enumerate(zip(core.data, core.indices, strict=True)):
            _check(own < 0 or inputs[0][own] >= output[axis], place, "reads more than its data")
            _check(named < 0 or inputs[1][named] == output[axis], place, "reads more than its indices")
        return
    elif isinstance(core, Convolve):
        channels = inputs[0][-1 if core.rows else 1]
        _check(
            channels == core.weights.shape[1] * core.groups, place, f"has weights for other than {channels} channels"
        )
        _check(output[operation.axis] == core.weights.shape[0], place, "has weights for other outputs")
    elif isinstance(core, Block):
        _check(core.graph.inputs == operation.inputs, place, "has a block of other inputs")
        (last,) = core.graph.outputs
        images, channels, height, width = core.graph.values[last].shape
        is_last = output == (images, channels, height + bool(core.means), width)
        _check(is_last, place, "has a block with another output")
        if core.means:
            _check(height % core.means == 0, place, "has means of rows that do not divide its height")
            _check(height // core.means <= width, place, "has more means than a row has room for")
        verify_graph(core.graph)
    elif isinstance(core, MatrixMultiply):
        _check(inputs[0][-1] == inputs[1][-2], place, "multiplies matrices that do not fit")
        pairs = np.broadcast_shapes(inputs[0][:-2], inputs[1][:-2])
        _check(output == (*pairs, inputs[0][-2], inputs[1][-1]), place, "has another shape")
    elif isinstance(core, Attend):
        query, key, value = inputs[:3]
        _check(query[:2] == key[:2] == value[:2] and query[3] == key[3], place, "has heads that do not fit")
        _check(key[2] == value[2], place, "has other keys than values")
        _check(output == (query[0], query[2], query[1], value[3]), place, "has another shape")
        for mask in inputs[3:]:
            scores = (*query[:3], key[2])
            _check(len(mask) == 4 and np.broadcast_shapes(mask, scores) == scores, place, "has a mask of another shape")
    elif isinstance(core, Recur):
        length, batch, wide = inputs[0]
        directions, outputs, units = core.weights.shape
        _check(directions == len(core.reverse) and outputs == core.cell.gates * units, place, "has other weights")
        _check(wide == directions * core.cell.gates * -(-units // 16) * 16, place, "has other gates")
        _check(output == (length + len(core.finals), batch, directions * units), place, "has another shape")
        _check(len(core.vectors) == core.cell.vectors, place, "has other vectors")
        for name, shape in zip(core.given, inputs[1:], strict=True):
            expected = (1, batch, 1) if name == "lengths" else (directions, batch, units)
            _check(shape == expected, place, f"has {name} of {shape}")
    elif isinstance(core, Reduce):
        reduced = tuple(1 if axis in core.axes else extent for axis, extent in enumerate(core.shape))
        whole = reduced if core.program.result is None else core.shape
        _check(output == whole, place, "has another shape")
        _check(core.groups == 1 or (core.shape[1] % core.groups == 0 and 1 in core.axes), place, "has odd groups")
        for given in inputs:
            _check(np.broadcast_shapes(given, core.shape) == core.shape, place, f"reads {given}")
            _check(len(given) == len(output), place, f"reads {given}, which has not the axes of {output}")
        return
    elif isinstance(core, Extreme):
        one = tuple(1 if axis == core.axis else extent for axis, extent in enumerate(inputs[0]))
        _check(output == one, place, "has another shape")
        return
    elif isinstance(core, PoolWindow):
        _check(output[:2] == inputs[0][:2], place, "changes images or channels")
    if operation.has_code:
        for shape in inputs[operation.first_operand :]:
            _check(np.broadcast_shapes(shape, output) == output, place, f"reads {shape}, which is larger than {output}")
            _check(len(shape) == len(output), place, f"reads {shape}, which has not the axes of {output}")


def _check_epilogue(graph: Graph, operation: Operation, place: str) -> None:
    used = expressions.operands(operation.epilogue)
    if not operation.has_code:
        _check(operation.epilogue == expressions.IDENTITY, place, "has an epilogue and no code")
        return
    _check(not used or used[-1] < max(1, len(operation.inputs)), place, f"has no operand {used[-1:]}")
    for leaf in expressions.leaves(operation.epilogue) if operation.epilogue != expressions.IDENTITY else ():
        if leaf.operation != "operand":
            continue
        number = int(leaf.number)
        if operation.first_operand <= number < len(operation.inputs):
            dtype = graph.values[operation.inputs[number]].dtype
            _check({leaf.dtype, dtype} & _BYTES <= {leaf.dtype} & {dtype}, place, f"reads {dtype} as {leaf.dtype}")
    numbers = expressions.channels(operation.epilogue)
    if isinstance(operation.core, Reduce):
        numbers = sorted({*numbers, *expressions.channels(operation.core.prologue)})
    _check(numbers == list(range(len(operation.channels))), place, "does not read exactly its vectors")
    output = graph.values[operation.output]
    _check(operation.epilogue.dtype == output.dtype, place, f"gives {operation.epilogue.dtype}, not {output.dtype}")
    for vector in operation.channels:
        extent = output.shape[operation.axis] if output.shape else 1
        _check(vector.shape == (extent,), place, f"has a vector of {vector.shape} for {extent} channels")


def verify_views(views: ViewGraph) -> None:
    """Checks that views stay inside their buffers, that kernels accept them, and that what is read was written."""
    for name, view in views.views.items():
        _check_inside(views, view, name)
    written = {name for name, buffer in views.buffers.items() if buffer.kind in ("input", "constant")}
    for step in views.steps:
        for view in step.inputs:
            _check_inside(views, view, step.name)
            _check(view.buffer in written, step.name, f"reads {view.buffer!r}, which nothing wrote")
        _check_inside(views, step.output, step.name)
        _check(views.buffers[step.output.buffer].kind in ("arena", "output"), step.name, "writes what is not its own")
        written.add(step.output.buffer)
        _check(not _overlaps_itself(step.output.layout), step.name, "writes an element over another")
        _check_kernel(step)
    for index in range(len(views.graph.outputs)):
        _check(f"output {index}" in written, views.graph.name, f"does not write output {index}")


def _check_kernel(step: Step) -> None:
    """Whether the step's kernel accepts its views, halo included (which depends on no instruction set)."""
    problem = problem_of(step.operation, [view.layout for view in step.inputs], step.output.layout)
    reason = step.kernel.accepts(problem, ISAS[0])
    _check(not reason, step.name, f"is refused by {step.kernel.family}: {reason}")
    if problem.inputs:
        halo = step.kernel.needs(problem, ISAS[0]).halo
        _check(problem.inputs[0].halo.covers(halo), step.name, f"needs {halo}, there is {problem.inputs[0].halo}")


def _check_inside(views: ViewGraph, view: View, place: str) -> None:
    buffer = views.buffers[view.buffer]
    begin = view.offset - view.layout.before
    end = begin + view.layout.span
    _check(begin >= 0 and end <= buffer.bytes, place, f"reaches from {begin} to {end} of {buffer.bytes} bytes")


def verify_plan(plan: ProgramPlan) -> None:
    """Checks that buffers in use at the same time do not overlap, and that all lie in the arena and are aligned."""
    spans, offsets = spans_of(plan.views), plan.arena.offsets
    for name, span in spans.items():
        _check(offsets[name] % ALIGNMENT == 0, name, f"begins at {offsets[name]}, not at a multiple of {ALIGNMENT}")
        _check(offsets[name] + span.bytes <= plan.arena.bytes, name, "reaches beyond the arena")
    names = list(spans)
    for index, name in enumerate(names):
        for other in names[:index]:
            apart = (
                offsets[name] + spans[name].bytes <= offsets[other]
                or offsets[other] + spans[other].bytes <= offsets[name]
            )
            _check(apart or not spans[name].meets(spans[other]), name, f"overlaps {other!r} while both are in use")
    for task in plan.tasks:
        _check(task.split.units >= 1 and task.split.grain >= 1, task.step.name, "cannot be divided")


def _overlaps_itself(layout: Layout) -> bool:
    """Whether two elements of a layout share a byte."""
    axes = sorted((s, n) for n, s in zip(layout.shape, layout.strides, strict=True) if n > 1)
    reach = layout.itemsize
    for stride, extent in axes:
        if stride < reach:
            return True
        reach = stride * (extent - 1) + reach
    return False


def _check(holds: bool, place: str, what: str) -> None:
    if not holds:
        raise AssertionError(f"{place} {what}")
