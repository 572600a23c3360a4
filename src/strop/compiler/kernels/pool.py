"""Max and average pooling of channels-last images.

    max:     y[n, c, i, j] = max over the window's pixels inside the image of x[n, c, ...]; NaN where one is
    average: y[n, c, i, j] = sum over the window's pixels inside the image of x[n, c, ...] / their number,
             or / the number of its pixels inside the image and its padding (`count_pads`)

Vectors run over channels, a block of vectors a pixel; rows of the output are divided among threads. A small window is
reduced pixel by pixel: its rows in a loop over those inside the image, its columns in a row of instructions; columns of
the output whose window crosses the left or right edge are code of their own. A large one takes two passes for each row
of the output: down every column of the image into the workspace, then along: height + width steps, not height * width.
Intensity: a few operations for each element that is moved, so caches and memory bound it.

(ONNX Runtime drops a NaN or keeps it depending on where it lies in the window; here it is always kept.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value, constant
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Cost, Needs, Pool, Problem, Split
from strop.compiler.kernels.epilogue import Cursor, Epilogue, each_channel_block, refuses_epilogue
from strop.compiler.kernels.record import epilogue_arguments, pack_channels, start_kernel
from strop.compiler.kernels.reduction import Reduction

_SMALL = 4
"""A window of at most so many columns, and three times as many pixels, is reduced pixel by pixel."""

_CACHED = 2**20


@dataclass(frozen=True, slots=True)
class PoolSchedule:
    """vectors: vectors of channels held at once; passes: 2 for down the columns, then along the rows."""

    vectors: int
    passes: int

    def __str__(self) -> str:
        return f"v{self.vectors}p{self.passes}"


class PoolKernel:
    """Max and average pooling."""

    family = "pool"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts channels-last images of float32 or 8 bits whose windows all hold a pixel of the image."""
        if not isinstance(problem, Pool):
            return "not a pooling"
        image = problem.inputs[0]
        if len(image.shape) != 4 or not image.is_channels_last:
            return "the input is no channels-last image"
        if image.dtype not in ("float32", "uint8", "int8"):
            return f"the input is {image.dtype}"
        if image.dtype != "float32" and problem.kind == "average" and problem.count_pads and any(problem.pads):
            return "padding of an 8-bit image would have to count as its zero point"
        if any(not inside for axis in (0, 1) for inside in _windows(problem, axis)):
            return "a window lies outside the image"
        return refuses_epilogue(problem)

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for channels-last images; borders need no halo."""
        return Needs()

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[PoolSchedule]:
        """Returns the one schedule."""
        assert isinstance(problem, Pool)
        height, width = problem.kernel
        passes = 1 if width <= _SMALL and height * width <= 3 * _SMALL else 2
        return [PoolSchedule(min(4, -(-problem.output.shape[1] // isa.lanes)), passes)]

    def cost(self, problem: Problem, schedule: PoolSchedule, isa: Isa) -> Cost:
        """Returns an operation for each step, and each element of the images moved once."""
        assert isinstance(problem, Pool)
        image = problem.inputs[0]
        steps = problem.kernel[0] * problem.kernel[1]
        if schedule.passes == 2:
            steps = problem.strides[1] * (problem.kernel[0] + 1) + problem.kernel[1]
        moved = image.size * image.itemsize + problem.output.size * problem.output.itemsize
        return Cost(float(problem.output.size * steps), 0.15, {"l2" if moved <= _CACHED else "l3": float(moved)})

    def split(self, problem: Problem, schedule: PoolSchedule, isa: Isa) -> Split:
        """Divides the rows of all output images."""
        return Split(problem.output.shape[0] * problem.output.shape[2])

    def workspace(self, problem: Problem, schedule: PoolSchedule, isa: Isa) -> int:
        """Returns the bytes of a row of reduced columns, for two passes."""
        width = problem.inputs[0].shape[3]
        return width * schedule.vectors * isa.vector_bytes if schedule.passes == 2 else 0

    def pack(
        self, problem: Problem, schedule: PoolSchedule, isa: Isa, weights: np.ndarray, channels: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Returns the per-channel vectors."""
        return pack_channels(problem, channels)

    def emit(self, problem: Problem, schedule: PoolSchedule, isa: Isa) -> Code:
        """Returns its code."""
        assert isinstance(problem, Pool)
        symbol = f"pool_{problem.kind}_{problem.inputs[0].dtype}_{isa.key}_{schedule}_{problem.digest}"
        workspace = ("workspace",) if schedule.passes == 2 else ()
        arguments = ("input0", *epilogue_arguments(problem), *workspace, "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments)
        spare = record["workspace"] if workspace else None
        emitter = _Emitter(f, problem, schedule, Epilogue(f, problem, record), spare)
        emitter.rows(record["input0"], record["begin"], record["end"])
        f.ret()
        return Code(symbol, arguments, {symbol: module.text()})


def _windows(problem: Pool, axis: int) -> list[tuple[int, ...]]:
    """Returns for every output row (axis 0) or column (axis 1) which places of the window are inside the image."""
    extent, before = problem.inputs[0].shape[2 + axis], problem.pads[axis]
    step, dilation = problem.strides[axis], problem.dilations[axis]
    return [
        tuple(k for k in range(problem.kernel[axis]) if 0 <= out * step - before + k * dilation < extent)
        for out in range(problem.output.shape[2 + axis])
    ]


@dataclass(frozen=True, slots=True)
class _Columns:
    """Neighbouring output columns whose windows have the same places inside the image."""

    first: int
    count: int
    places: tuple[int, ...]
    counted: int
    """How many columns of the window count for an average."""


def _columns(problem: Pool) -> list[_Columns]:
    """Returns the output's columns, those with the same code together."""
    found: list[_Columns] = []
    end = problem.inputs[0].shape[3] + problem.pads[3]
    for out, places in enumerate(_windows(problem, 1)):
        first = out * problem.strides[1] - problem.pads[1]
        padded = sum(first + k * problem.dilations[1] < end for k in range(problem.kernel[1]))
        columns = _Columns(out, 1, places, padded if problem.count_pads else len(places))
        last = found[-1] if found else None
        if last and (last.places, last.counted) == (columns.places, columns.counted):
            found[-1] = replace(last, count=last.count + 1)
        else:
            found.append(columns)
    return found


@dataclass(frozen=True, slots=True)
class _Range:
    """The places of a window, along one axis, that are inside the image, known at run time.

    first: the first of them; start: where it lies in the image; count: how many; counted: how many an average counts.
    """

    first: Number
    start: Number
    count: Number
    counted: Number


class _Emitter:
    """Writes the loops: rows, columns, blocks of channels, the window."""

    def __init__(
        self, f: Function, problem: Pool, schedule: PoolSchedule, epilogue: Epilogue, workspace: Value | None
    ) -> None:
        self.f, self.problem, self.schedule, self.epilogue = f, problem, schedule, epilogue
        self.image, self.workspace = problem.inputs[0], workspace
        self.reduction = Reduction(f, problem.kind, self.image.dtype)
        self.item = f.isa.lanes * self.image.itemsize  # bytes of a vector of the image
        self.line = self.image.strides[2] * problem.dilations[0]

    def rows(self, source: Value, begin: Value, end: Value) -> None:
        """Writes the loop over the rows `begin` to `end` of all output images."""
        f, epilogue = self.f, self.epilogue
        height = self.problem.output.shape[2]

        def row(index: Number, _: list[Value]) -> None:
            unit = f.add(begin, index)
            number, out = f.divide(unit, height), f.remainder(unit, height)
            cursor = epilogue.move(epilogue.move(epilogue.start, 0, number), 2, out)
            rows = self.range(0, out)
            place = f.add(f.mul(number, self.image.strides[0]), f.mul(rows.start, self.image.strides[2]))
            first = f.offset(source, place)
            if self.schedule.passes == 1:
                self.one_pass(first, rows, cursor)
            else:
                self.two_passes(first, rows, cursor)

        f.loop(f.sub(end, begin), row, may_be_empty=True)

    def range(self, axis: int, out: Number) -> _Range:
        """Returns the places inside the image of the window of an output row (axis 0) or column (1)."""
        f, problem = self.f, self.problem
        before, after, dilation = problem.pads[axis], problem.pads[2 + axis], problem.dilations[axis]
        at = f.mul(out, problem.strides[axis])  # the window's first place, counted from the padding's
        first = f.divide(f.add(f.sub(before, f.minimum(at, before)), dilation - 1), dilation)

        def places(end: int) -> Number:
            inside = f.divide(f.sub(end + before + dilation - 1, at), dilation)
            return f.minimum(problem.kernel[axis], inside)

        extent = self.image.shape[2 + axis]
        count = f.sub(places(extent), first)
        counted = places(extent + after) if problem.count_pads else count
        return _Range(first, f.sub(f.add(at, f.mul(first, dilation)), before), count, counted)

    def share(self, rows: _Range, columns: Number) -> Value:
        """Returns what an average's sum is multiplied with, in every lane."""
        f = self.f
        height = f.convert("uitofp", f.number(rows.counted), "float")
        width = f.convert("uitofp", f.number(columns), "float")
        return f.splat(f.binary("fdiv", constant("float", 1), f.fmul(height, width)), f.isa.lanes)

    def store(
        self, cursor: Cursor, channel: Number, totals: list[Value], lanes: list[int], rows: _Range, columns: Number
    ) -> None:
        """Writes the results of a pixel and a block of channels."""
        if not self.reduction.is_maximum:
            share = self.share(rows, columns)
            totals = [self.f.fmul(total, share) for total in totals]
        self.epilogue.store(cursor, channel, totals, lanes)

    # -- small windows

    def one_pass(self, source: Value, rows: _Range, cursor: Cursor) -> None:
        """Writes the columns of a row of the output; source: the first row of the window that is inside."""
        f, problem = self.f, self.problem
        pixel = self.image.strides[3]
        for columns in _columns(problem):
            begin = columns.first * problem.strides[1] - problem.pads[1]
            offsets = [(begin + place * problem.dilations[1]) * pixel for place in columns.places]

            def column(
                index: Number, _: list[Value], columns: _Columns = columns, offsets: list[int] = offsets
            ) -> None:
                target = self.epilogue.move(cursor, 3, f.add(index, columns.first))
                start = f.offset(source, f.mul(index, problem.strides[1] * pixel))

                def block(channel: Number, lanes: list[int]) -> None:
                    place = f.offset(start, f.mul(channel, self.image.itemsize))
                    totals = self.window(place, rows.count, offsets, lanes)
                    self.store(target, channel, totals, lanes, rows, columns.counted)

                each_channel_block(f, problem.output.shape[1], self.schedule.vectors, block)

            f.loop(columns.count, column)

    def window(self, start: Value, rows: Number, offsets: list[int], lanes: list[int]) -> list[Value]:
        """Returns the reduction of a window: of each row first, so that long sums round less."""
        f, reduction = self.f, self.reduction

        def row(_: Number, carried: list[Value]) -> list[Value]:
            after = []
            for number, (total, count) in enumerate(zip(carried[1:], lanes, strict=True)):
                seen = [reduction.load(carried[0], offset + number * self.item, count) for offset in offsets]
                after.append(reduction.join(total, reduction.of(seen)))
            return [f.offset(carried[0], self.line), *after]

        return f.loop(rows, row, [start, *[reduction.start()] * len(lanes)])[1:]

    # -- large windows

    def two_passes(self, source: Value, rows: _Range, cursor: Cursor) -> None:
        """Writes a row of the output, block by block of channels: down all columns, then along."""
        f, problem, reduction = self.f, self.problem, self.reduction
        assert self.workspace is not None
        spare, width = self.workspace, self.image.shape[3]
        vector = f.isa.vector_bytes
        pixel = self.schedule.vectors * vector

        def block(channel: Number, lanes: list[int]) -> None:
            start = f.offset(source, f.mul(channel, self.image.itemsize))

            def down(index: Number, _: list[Value]) -> None:
                place = f.offset(start, f.mul(index, self.image.strides[3]))
                totals = self.window(place, rows.count, [0], lanes)
                for number, total in enumerate(totals):
                    f.store(total, spare, f.add(f.mul(index, pixel), number * vector))

            def along(out: Number, _: list[Value]) -> None:
                columns = self.range(1, out)

                def step(_: Number, carried: list[Value]) -> list[Value]:
                    after = [
                        reduction.join(total, f.load(reduction.type, carried[0], number * vector))
                        for number, total in enumerate(carried[1:])
                    ]
                    return [f.offset(carried[0], problem.dilations[1] * pixel), *after]

                place = f.offset(spare, f.mul(columns.start, pixel))
                totals = f.loop(columns.count, step, [place, *[reduction.start()] * len(lanes)])[1:]
                self.store(self.epilogue.move(cursor, 3, out), channel, totals, lanes, rows, columns.counted)

            f.loop(width, down)
            f.loop(problem.output.shape[3], along)

        each_channel_block(f, problem.output.shape[1], self.schedule.vectors, block)
