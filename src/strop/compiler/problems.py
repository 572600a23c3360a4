"""From an operation and the layouts it works on to the problem a kernel is asked to solve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from strop.compiler.choose import NoKernelError
from strop.compiler.expressions import LLVM_TYPES, operand
from strop.compiler.kernels.contract import (
    Attention,
    Border,
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
from strop.compiler.layouts import NO_HALO, Layout, Shape, channels_last
from strop.compiler.levels import (
    Attend,
    Block,
    Compute,
    Convolve,
    Extreme,
    Gather,
    MatrixMultiply,
    Operation,
    PoolWindow,
    Recur,
    Reduce,
    Resample,
)


class NoProblemError(NoKernelError):
    """What an operation reads or writes lies along more axes than a problem has, so that no kernel computes it."""

    def __init__(self, axes: str) -> None:
        LookupError.__init__(self, axes)
        self.reasons = {"": axes}


def problem_of(operation: Operation | None, inputs: Sequence[Layout], output: Layout) -> Problem:
    """Returns the problem; kernels see channels as axis 1 and broadcasting as strides of 0. None: a border.

    Raises NoProblemError where strides cannot say what the operation reads or writes.
    """
    if operation is None:
        return Border((), output)
    # A halo matters where it is read: that of the output does not, and would make equal kernels look different.
    output = replace(output, halo=NO_HALO)
    core, epilogue, channels = operation.core, operation.epilogue, len(operation.channels)
    if isinstance(core, Convolve):
        first, *others = inputs
        operands = [broadcast(layout, output.shape) for layout in others]
        if core.rows:
            first, output, *operands = as_rows([first, output, *operands])
        return Convolution(
            (first, *operands),
            output,
            epilogue,
            channels,
            weights=core.weights.shape,
            strides=core.strides,
            dilations=core.dilations,
            pads=core.pads,
            groups=core.groups,
            weight_dtype=str(core.weights.dtype),
            accumulator=core.accumulator,
            input_zero=core.input_zero,
        )
    if isinstance(core, PoolWindow):
        first, *others = inputs
        return Pool(
            (first, *(broadcast(layout, output.shape) for layout in others)),
            output,
            epilogue,
            channels,
            kind=core.kind,
            kernel=core.kernel,
            strides=core.strides,
            dilations=core.dilations,
            pads=core.pads,
            count_pads=core.count_pads,
        )
    if isinstance(core, Resample):
        first, *others = inputs
        operands = [broadcast(layout, output.shape) for layout in others]
        return Resampling((first, *operands), output, epilogue, channels, rows=core.rows, columns=core.columns)
    if isinstance(core, Gather):
        return Gathering(
            tuple(replace(layout, halo=NO_HALO) for layout in inputs),
            output,
            epilogue,
            data=core.data,
            indices=core.indices,
            picks=core.picks,
            tuples=core.tuples,
        )
    if isinstance(core, MatrixMultiply):
        return _matrix_product(inputs, output)
    if isinstance(core, Attend):
        shape = (*inputs[0].shape[:3], inputs[1].shape[2])
        mask = [broadcast(layout, shape) for layout in inputs[3:]]
        return Attention((*inputs[:3], *mask), output, scale=core.scale)
    if isinstance(core, Recur):
        layouts = tuple(replace(layout, halo=NO_HALO) for layout in inputs)
        return Recurrence(layouts, output, cell=core.cell, reverse=core.reverse, given=core.given, finals=core.finals)
    if isinstance(core, Reduce):
        return _statistics(core, operation, inputs, output)
    if isinstance(core, Extreme):
        first = replace(inputs[0], halo=NO_HALO)
        return Place((first,), output, axis=core.axis, largest=core.largest, last=core.last)
    if isinstance(core, Block):
        return _block(core, operation.inputs, inputs, output)
    operands = [_channel_second(broadcast(layout, output.shape), operation.axis) for layout in inputs]
    output = _channel_second(output, operation.axis)
    if epilogue.operation == "operand" and len(operands) == 1 and operands[0].dtype == output.dtype:
        operands, output = [_as_moved(operands[0])], _as_moved(output)
        epilogue = operand(0, output.dtype)
    return Pointwise(tuple(operands), output, epilogue, channels)


def _as_moved(layout: Layout) -> Layout:
    """Returns the layout with a dtype of the same size that there is code for: a copy need not know what it moves."""
    if layout.dtype in LLVM_TYPES:
        return layout
    return replace(layout, dtype={1: "uint8", 2: "int16", 4: "int32", 8: "int64"}.get(layout.itemsize, layout.dtype))


def _statistics(core: Reduce, operation: Operation, inputs: Sequence[Layout], output: Layout) -> Statistics:
    """Returns the problem, its axes in the order in which kernels see them."""
    rank = len(core.shape)
    order = _channel_order(rank, operation.axis)
    missing = len(order) - rank
    shape = (1,) * missing + core.shape
    return Statistics(
        tuple(_channel_second(replace(layout, halo=NO_HALO), operation.axis) for layout in inputs),
        _channel_second(output, operation.axis),
        operation.epilogue,
        len(operation.channels),
        program=core.program,
        axes=tuple(sorted(order.index(axis + missing) for axis in core.axes)),
        extents=tuple(shape[axis] for axis in order),
        groups=core.groups,
        prologue=core.prologue,
    )


def _matrix_product(inputs: Sequence[Layout], output: Layout) -> MatrixProduct:
    """Returns the problem with two axes before those of the matrices; NoProblemError where strides cannot say that."""
    pairs = output.shape[:-2]
    layouts = [
        broadcast(_of_rank(layout, len(output.shape)), (*pairs, *layout.shape[-2:])) for layout in (*inputs, output)
    ]
    rows: list[tuple[int, list[int]]] = []
    for axis, extent in enumerate(pairs):
        steps = [layout.strides[axis] for layout in layouts]
        if rows and (extent == 1 or all(o == extent * i for o, i in zip(rows[-1][1], steps, strict=True))):
            rows[-1] = (rows[-1][0] * extent, rows[-1][1] if extent == 1 else steps)
        elif extent > 1:
            rows.append((extent, steps))
    if len(rows) > 2:
        raise NoProblemError(f"matrices along {len(rows)} axes")
    rows = [(1, [0] * len(layouts))] * (2 - len(rows)) + rows
    seen = [
        Layout(
            (rows[0][0], rows[1][0], *layout.shape[-2:]),
            (rows[0][1][index], rows[1][1][index], *layout.strides[-2:]),
            layout.dtype,
        )
        for index, layout in enumerate(layouts)
    ]
    return MatrixProduct((seen[0], seen[1]), seen[2])


def _of_rank(layout: Layout, rank: int) -> Layout:
    missing = rank - len(layout.shape)
    return Layout((1,) * missing + layout.shape, (0,) * missing + layout.strides, layout.dtype)


def _block(core: Block, names: Sequence[str], inputs: Sequence[Layout], output: Layout) -> FusedBlock:
    """Returns the problem of a block: its stages on layouts of their own, the first and the last on the block's."""
    layouts = dict(zip(names, (replace(layout, halo=NO_HALO) for layout in inputs), strict=True))
    last = core.graph.operations[-1].output
    whole = replace(output, shape=core.graph.values[last].shape)  # without the row of means
    stages, operands, gate = [], [], 0
    for operation in core.graph.operations:
        if isinstance(operation.core, Compute):  # an image times a gate
            layouts[operation.output] = layouts[operation.inputs[0]]
            gate = names.index(operation.inputs[1])
            continue
        value = core.graph.values[operation.output]
        layouts[operation.output] = whole if operation.output == last else channels_last(value.shape, value.dtype)
        stage = problem_of(operation, [layouts[name] for name in operation.inputs], layouts[operation.output])
        assert isinstance(stage, Convolution)
        stages.append(stage)
        operands.append(tuple(names.index(name) for name in operation.inputs[1:]))
    count = sum(stage.channels for stage in stages)
    return FusedBlock(
        tuple(inputs),
        output,
        channels=count,
        stages=tuple(stages),
        operands=tuple(operands),
        gate=gate,
        means=core.means,
    )


def block_weights(operation: Operation) -> tuple[np.ndarray, list[np.ndarray]]:
    """Returns the weights of a block's stages, flat, one after the other, and their vectors."""
    assert isinstance(operation.core, Block)
    stages = operation.core.graph.operations
    flat = [stage.core.weights.reshape(-1) for stage in stages if isinstance(stage.core, Convolve)]
    return np.concatenate(flat), [vector for stage in stages for vector in stage.channels]


def broadcast(layout: Layout, shape: Shape) -> Layout:
    """Returns the layout under the shape it is broadcast to: what repeats has stride 0."""
    if layout.shape == shape:
        return replace(layout, halo=NO_HALO)
    pairs = zip(layout.strides, layout.shape, shape, strict=True)
    return Layout(shape, tuple(0 if mine == 1 < whole else stride for stride, mine, whole in pairs), layout.dtype)


def as_rows(layouts: Sequence[Layout]) -> list[Layout]:
    """Returns rows x channels (channels last) as images of 1 x channels x rows; all have the same rows.

    Axes of rows that no strides can join stay apart, up to three. Raises NoProblemError where there are more.
    """
    shape = layouts[0].shape[:-1]
    rows: list[tuple[int, list[int]]] = []
    for axis, extent in enumerate(shape):
        steps = [layout.strides[axis] for layout in layouts]
        if extent == 1:
            continue
        if rows and all(outer == extent * inner for outer, inner in zip(rows[-1][1], steps, strict=True)):
            rows[-1] = (rows[-1][0] * extent, steps)
        else:
            rows.append((extent, steps))
    if len(rows) > 3:
        raise NoProblemError(f"rows of {len(rows)} axes")
    images = []
    for index, layout in enumerate(layouts):
        channels, item = layout.shape[-1], layout.strides[-1]
        pixel = [(extent, steps[index]) for extent, steps in rows] or [(1, channels * layout.itemsize)]
        while len(pixel) < 3:
            pixel.insert(0, (1, pixel[0][0] * pixel[0][1]))
        extents, strides = zip(*pixel, strict=True)
        images.append(Layout((extents[0], channels, *extents[1:]), (strides[0], item, *strides[1:]), layout.dtype))
    return images


def _channel_second(layout: Layout, axis: int) -> Layout:
    """Returns the layout with the axis of channels as axis 1, which it is or the last one."""
    rank = len(layout.shape)
    missing = max(0, 2 - rank)
    shape, strides = (1,) * missing + layout.shape, (0,) * missing + layout.strides
    order = _channel_order(rank, axis)
    return Layout(tuple(shape[i] for i in order), tuple(strides[i] for i in order), layout.dtype)


def _channel_order(rank: int, axis: int) -> list[int]:
    """Returns the axes in the order in which that of channels is axis 1; two at least, those before being added."""
    if rank < 2:
        return [0, 1]
    return [0, 1, *range(2, rank)] if axis in (0, 1) else [0, axis, *(a for a in range(1, rank) if a != axis)]
