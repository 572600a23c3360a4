"""Max and average pooling of channels-last images.

    max:     y[n, c, i, j] = max over the window's pixels inside the image of x
    average: y[n, c, i, j] = (sum over the window's pixels inside the image of x) / their number,
             or / the number inside the image and its padding (`count_pads`)

Vectors run over channels, a block of vectors a pixel. Columns whose window crosses the left or right edge are code of
their own. Rows: a maximum reads the nearest row of its window that is inside the image twice instead of one outside,
which changes nothing; an average counts the rows at run time. Rows of the output are divided among threads.
Intensity: about kernel height * width operations for stride * stride elements, so caches and memory bound it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value, constant, vector_of
from strop.compiler.expressions import LLVM_TYPES
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Cost, Needs, Pool, Problem, Split
from strop.compiler.kernels.epilogue import Cursor, Epilogue, each_channel_block, refuses_epilogue
from strop.compiler.kernels.record import epilogue_arguments, pack_channels, start_kernel


@dataclass(frozen=True, slots=True)
class PoolSchedule:
    """vectors: vectors of channels held at once."""

    vectors: int = 4

    def __str__(self) -> str:
        return f"v{self.vectors}"


class PoolKernel:
    """Max and average pooling."""

    family = "pool"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts float32 images whose windows all hold at least one pixel."""
        if not isinstance(problem, Pool):
            return "not a pooling"
        image = problem.inputs[0]
        if len(image.shape) != 4 or not image.is_channels_last:
            return "the input is no channels-last image"
        if image.dtype != "float32":
            return f"the input is {image.dtype}"
        for axis in (0, 1):
            if any(not inside for inside in _windows(problem, axis)):
                return "a window lies outside the image"
        return refuses_epilogue(problem)

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for channels-last images; borders need no halo."""
        return Needs()

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[PoolSchedule]:
        """Returns the one schedule."""
        vectors = -(-problem.output.shape[1] // isa.lanes)
        return [PoolSchedule(min(4, vectors))]

    def cost(self, problem: Problem, schedule: PoolSchedule, isa: Isa) -> Cost:
        """Returns one operation a pixel of the window, and the image and the output from the L3 cache."""
        assert isinstance(problem, Pool)
        image = problem.inputs[0]
        flops = float(problem.output.size * problem.kernel[0] * problem.kernel[1])
        return Cost(flops, 0.25, {"l3": float(image.size * image.itemsize + problem.output.size * 4)})

    def split(self, problem: Problem, schedule: PoolSchedule, isa: Isa) -> Split:
        """Divides the rows of all output images."""
        return Split(problem.output.shape[0] * problem.output.shape[2])

    def workspace(self, problem: Problem, schedule: PoolSchedule, isa: Isa) -> int:
        """Needs none."""
        return 0

    def pack(
        self, problem: Problem, schedule: PoolSchedule, isa: Isa, weights: np.ndarray, channels: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Returns the per-channel vectors."""
        return pack_channels(problem, channels)

    def emit(self, problem: Problem, schedule: PoolSchedule, isa: Isa) -> Code:
        """Returns its code."""
        assert isinstance(problem, Pool)
        symbol = f"pool_{problem.kind}_f32_{isa.key}_{schedule}_{problem.digest}"
        arguments = ("input0", *epilogue_arguments(problem), "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments)
        _Emitter(f, problem, schedule, Epilogue(f, problem, record)).rows(
            record["input0"], record["begin"], record["end"]
        )
        f.ret()
        return Code(symbol, arguments, {symbol: module.text()})


def _windows(problem: Pool, axis: int) -> list[list[int]]:
    """Returns for every output row (axis 0) or column (axis 1) which places of the window are inside the image."""
    extent, before = problem.inputs[0].shape[2 + axis], problem.pads[axis]
    places = []
    for out in range(problem.output.shape[2 + axis]):
        first = out * problem.strides[axis] - before
        inside = [k for k in range(problem.kernel[axis]) if 0 <= first + k * problem.dilations[axis] < extent]
        places.append(inside)
    return places


def _counted_columns(problem: Pool, out: int) -> int:
    """Returns how many columns of the window count for the average of output column `out`."""
    end = problem.inputs[0].shape[3] + (problem.pads[3] if problem.count_pads else 0)
    begin = -problem.pads[1] if problem.count_pads else 0
    first = out * problem.strides[1] - problem.pads[1]
    return sum(begin <= first + k * problem.dilations[1] < end for k in range(problem.kernel[1]))


@dataclass(frozen=True, slots=True)
class _Columns:
    """Neighbouring output columns whose windows have the same places inside the image."""

    first: int
    count: int
    places: tuple[int, ...]
    counted: int


def _columns(problem: Pool) -> list[_Columns]:
    found: list[_Columns] = []
    for out, inside in enumerate(_windows(problem, 1)):
        last = found[-1] if found else None
        counted = _counted_columns(problem, out)
        if last and last.places == tuple(inside) and last.counted == counted:
            found[-1] = replace(last, count=last.count + 1)
        else:
            found.append(_Columns(out, 1, tuple(inside), counted))
    return found


class _Emitter:
    """Writes the loops: rows, columns (edges peeled), blocks of channels, the window."""

    def __init__(self, f: Function, problem: Pool, schedule: PoolSchedule, epilogue: Epilogue) -> None:
        self.f, self.problem, self.schedule, self.epilogue = f, problem, schedule, epilogue
        self.kind = vector_of(LLVM_TYPES[problem.inputs[0].dtype], f.isa.lanes)

    def rows(self, image: Value, begin: Value, end: Value) -> None:
        """Writes the loop over the rows `begin` to `end` of all output images."""
        f, problem = self.f, self.problem
        height = problem.output.shape[2]

        def row(index: Number, _: list[Value]) -> None:
            unit = f.add(begin, index)
            number, out = f.divide(unit, height), f.remainder(unit, height)
            cursor = self.epilogue.move(self.epilogue.move(self.epilogue.start, 0, number), 2, out)
            self._row(f.offset(image, f.mul(number, problem.inputs[0].strides[0])), out, cursor)

        f.loop(f.sub(end, begin), row, may_be_empty=True)

    def _row(self, image: Value, out: Number, cursor: Cursor) -> None:
        f, problem = self.f, self.problem
        kernel, dilation, extent = problem.kernel[0], problem.dilations[0], problem.inputs[0].shape[2]
        top, bottom = problem.pads[0], problem.pads[2]
        at = f.mul(out, problem.strides[0])  # the window's first row, counted from the first row of the padding
        first = f.divide(f.add(f.sub(top, f.minimum(at, top)), dilation - 1), dilation)
        behind = self._places_before(extent + top, at)

        def line(place: Number) -> Value:
            row = f.sub(f.add(at, f.mul(place, dilation)), top)
            return f.offset(image, f.mul(row, problem.inputs[0].strides[2]))

        if problem.kind == "max":
            last = f.sub(behind, 1)
            lines = [line(f.minimum(last, self._maximum_number(k, first))) for k in range(kernel)]
            self._each_column(cursor, lambda column, place, lanes: self._largest(lines, column, place, lanes))
            return
        rows = f.sub(behind, first)
        counted = self._places_before(extent + top + bottom, at) if problem.count_pads else rows
        height = f.convert("uitofp", f.number(counted), "float")
        start = line(first)

        def average(column: _Columns, place: Number, lanes: list[int]) -> list[Value]:
            share = f.binary("fdiv", constant("float", 1), f.fmul(height, constant("float", column.counted)))
            factor = f.splat(share, f.isa.lanes)
            return [f.fmul(total, factor) for total in self._sums(start, rows, column, place, lanes)]

        self._each_column(cursor, average)

    def _places_before(self, extent: int, at: Number) -> Number:
        """Returns how many places of a window that begins at row `at` lie before row `extent`."""
        f, dilation = self.f, self.problem.dilations[0]
        return f.minimum(self.problem.kernel[0], f.divide(f.sub(extent + dilation - 1, at), dilation))

    def _maximum_number(self, a: int, b: Number) -> Number:
        if isinstance(b, int):
            return max(a, b)
        return b if a == 0 else self.f.call("i64", "llvm.umax.i64", self.f.number(a), b)

    def _each_column(self, cursor: Cursor, values: Callable[[_Columns, Number, list[int]], list[Value]]) -> None:
        """Writes the loops over columns and blocks of channels; place: bytes from the line to the window's vector."""
        f, problem = self.f, self.problem
        pixel = problem.inputs[0].strides[3]
        step = problem.strides[1] * pixel
        for columns in _columns(problem):
            begin = (columns.first * problem.strides[1] - problem.pads[1]) * pixel

            def column(index: Number, _: list[Value], columns: _Columns = columns, begin: int = begin) -> None:
                target = self.epilogue.move(cursor, 3, f.add(index, columns.first))
                start = f.add(f.mul(index, step), begin)

                def block(channel: Number, lanes: list[int]) -> None:
                    place = f.add(start, f.mul(channel, 4))
                    self.epilogue.store(target, channel, values(columns, place, lanes), lanes)

                each_channel_block(f, problem.output.shape[1], self.schedule.vectors, block)

            f.loop(columns.count, column)

    def _offsets(self, columns: _Columns) -> list[int]:
        pixel = self.problem.inputs[0].strides[3]
        return [place * self.problem.dilations[1] * pixel for place in columns.places]

    def _largest(self, lines: list[Value], columns: _Columns, place: Number, lanes: list[int]) -> list[Value]:
        f = self.f
        at = [f.offset(line, place) for line in lines]
        results = []
        for number, count in enumerate(lanes):
            shift = number * f.isa.vector_bytes
            seen = [
                f.load_lanes(self.kind, line, offset + shift, lanes=count)
                for line in at
                for offset in self._offsets(columns)
            ]
            results.append(self._maximum(seen))
        return results

    def _maximum(self, seen: list[Value]) -> Value:
        """Returns the largest, NaN where any is NaN: a compare for every two finds them."""
        f = self.f
        largest, strange = seen[0], f.compare("uno", seen[0], seen[-1])
        for value in seen[1:]:
            largest = f.fmax(largest, value)
        for a, b in zip(seen[1:-1:2], seen[2:-1:2] + seen[-1:], strict=False):
            strange = f.binary("or", strange, f.compare("uno", a, b))
        return f.select(strange, constant(self.kind, float("nan")), largest)

    def _sums(self, start: Value, rows: Number, columns: _Columns, place: Number, lanes: list[int]) -> list[Value]:
        """Returns the sums of the window: each row's first, so that long sums round less."""
        f, line = self.f, self.problem.inputs[0].strides[2] * self.problem.dilations[0]

        def row(_: Number, carried: list[Value]) -> list[Value]:
            pointer, totals = carried[0], carried[1:]
            after = []
            for number, (total, count) in enumerate(zip(totals, lanes, strict=True)):
                shift = number * f.isa.vector_bytes
                seen = [
                    f.load_lanes(self.kind, pointer, offset + shift, lanes=count) for offset in self._offsets(columns)
                ]
                part = seen[0]
                for value in seen[1:]:
                    part = f.fadd(part, value)
                after.append(f.fadd(total, part))
            return [f.offset(pointer, line), *after]

        return f.loop(rows, row, [f.offset(start, place), *(f.zero(self.kind) for _ in lanes)])[1:]
