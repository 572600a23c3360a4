"""Depthwise convolution of channels-last images: every channel has its own filter.

    y[n, c, i, j] = epilogue(sum over u, v of  w[c, 0, u, v] * x[n, c, i*sh + u*dh - top, j*sw + v*dw - left])

Vectors run over channels; a register tile is a few rows of a few pixels times one vector (`depthwise_tile.py`). What
lies outside the image is left out, column by column when code is built and row by row when it runs, so the input needs
no halo. A unit is a band of rows times a block of channels, narrow where the image lies in L2, so that the rows that a
filter spans come from there about once. Intensity: height * width multiply-adds for stride * stride elements read and
one written, so bandwidth bounds it beyond L2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value, constant
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Convolution, Cost, Needs, Problem, Split
from strop.compiler.kernels.convolution_geometry import refuses_convolution
from strop.compiler.kernels.cover import cover
from strop.compiler.kernels.depthwise_tile import DepthwiseTile, pack_depthwise, panel_bytes
from strop.compiler.kernels.matrix_tile import PANEL, Extra
from strop.compiler.kernels.record import start_kernel

_L2: Final = 2**20
"""Bytes of L2 that schedules count on."""

_BAND: Final = 4
"""Rows of a unit."""

_CHANNELS: Final = 128
"""Channels of a unit where the images lie in L2: the rows that a filter spans nearly stay in L1."""


_MOST_TAPS: Final = 121
"""Taps of a filter, each of which is code for each pixel of a tile."""


@dataclass(frozen=True, slots=True)
class DepthwiseSchedule:
    """rows, pixels: the register tile; band: rows of a unit; vectors: of channels in a unit."""

    rows: int
    pixels: int
    band: int
    vectors: int

    def __str__(self) -> str:
        return f"t{self.rows}x{self.pixels}b{self.band}v{self.vectors}"


def refuses_depthwise(problem: Problem, dtype: str) -> str:
    """Returns "" for a convolution of channels-last images of that type with one filter a channel, else why not."""
    if not isinstance(problem, Convolution):
        return "not a convolution"
    if problem.weights[1] != 1 or problem.weights[0] != problem.groups:
        return "not one filter a channel"
    if problem.weights[2] * problem.weights[3] > _MOST_TAPS:
        return f"a filter of more than {_MOST_TAPS} taps, all of which would be written out"
    if problem.inputs[0].dtype != dtype:
        return f"the input is {problem.inputs[0].dtype}"
    if not problem.inputs[0].is_channels_last:
        return "the input's channels are not neighbours"
    return refuses_convolution(problem)


class DepthwiseConvolution:
    """Convolution with as many groups as channels."""

    family = "convolution_depthwise"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts channels-last float32 images with one filter a channel."""
        return refuses_depthwise(problem, "float32")

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for channels-last layouts; it needs no zeros around the image."""
        return Needs()

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[DepthwiseSchedule]:
        """Returns a schedule for each register tile worth a try."""
        assert isinstance(problem, Convolution)
        return [_scheduled(problem, rows, pixels, isa) for rows, pixels in _tiles_of(problem, isa)]

    def cost(self, problem: Problem, schedule: DepthwiseSchedule, isa: Isa) -> Cost:
        """Returns the multiply-adds, how busy tiles keep the units for them, and the images once each."""
        assert isinstance(problem, Convolution)
        taps = problem.weights[2] * problem.weights[3]
        pixels = schedule.rows * min(schedule.pixels, problem.output.shape[3])
        products = pixels * taps
        cycles = products / (2 if isa.fused else 1) + 2 * pixels + 8
        vectors = -(-problem.output.shape[1] // isa.lanes) * isa.lanes / problem.output.shape[1]
        images = float(sum(layout.size * layout.itemsize for layout in (*problem.inputs, problem.output)))
        efficiency = products / (2 if isa.fused else 1) / (cycles * vectors)
        return Cost(2.0 * problem.macs, efficiency, {"l3" if images > _L2 else "l2": images})

    def split(self, problem: Problem, schedule: DepthwiseSchedule, isa: Isa) -> Split:
        """Divides bands of rows times blocks of channels."""
        assert isinstance(problem, Convolution)
        bands = -(-problem.output.shape[2] // schedule.band)
        return Split(problem.output.shape[0] * bands * _blocks(problem, schedule, isa))

    def workspace(self, problem: Problem, schedule: DepthwiseSchedule, isa: Isa) -> int:
        """Needs none."""
        return 0

    def pack(
        self,
        problem: Problem,
        schedule: DepthwiseSchedule,
        isa: Isa,
        weights: np.ndarray,
        channels: Sequence[np.ndarray],
    ) -> list[np.ndarray]:
        """Returns filters and per-channel vectors, panel by panel."""
        return [pack_depthwise(weights, channels)]

    def emit(self, problem: Problem, schedule: DepthwiseSchedule, isa: Isa) -> Code:
        """Returns its code: bands of rows times blocks of channels, and one tile for each size and edge."""
        assert isinstance(problem, Convolution)
        symbol = f"{self.family}_f32_{isa.key}_{schedule}_{problem.digest}"
        extras = tuple(f"input{index}" for index in range(1, len(problem.inputs)))
        arguments = ("input0", "output", *extras, "weights0", "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments)
        nest = DepthwiseNest(f, problem, schedule.rows, schedule.pixels)
        _, channels, rows, _ = problem.output.shape
        bands, blocks = -(-rows // schedule.band), _blocks(problem, schedule, isa)
        width = schedule.vectors * isa.lanes
        begin = record["begin"]

        def unit(index: Number, _: list[Value]) -> None:
            number = f.add(begin, index)
            block, lines = f.remainder(number, blocks), f.divide(number, blocks)
            band, image = f.remainder(lines, bands), f.divide(lines, bands)
            first = f.mul(band, schedule.band)
            count = f.minimum(schedule.band, f.sub(rows, first)) if rows % schedule.band else schedule.band
            layouts = (problem.inputs[0], problem.output, *problem.inputs[1:])
            names = ("input0", "output", *extras)
            places = [
                f.offset(record[n], f.mul(image, each.strides[0])) for n, each in zip(names, layouts, strict=True)
            ]

            def run(vectors: Number, lanes: int) -> None:
                channel = f.mul(block, width)
                weights = f.offset(record["weights0"], f.mul(channel, nest.panel_bytes // PANEL))
                nest.rows(first, count, places, weights, channel, vectors, lanes)

            whole, rest = divmod(channels, isa.lanes)
            left = whole - (blocks - 1) * schedule.vectors
            if not rest:
                run(f.minimum(schedule.vectors, f.sub(whole, f.mul(block, schedule.vectors))), 0)
            elif blocks == 1:
                run(left, rest)
            else:
                is_last = f.compare("eq", f.number(block), f.number(blocks - 1))
                f.when(is_last, lambda: run(left, rest))
                f.when(f.compare("ne", f.number(block), f.number(blocks - 1)), lambda: run(schedule.vectors, 0))

        f.loop(f.sub(record["end"], begin), unit, may_be_empty=True)
        f.ret()
        return Code(
            symbol, arguments, {symbol: module.text()} | {tile.symbol(isa): tile.emit(isa) for tile in nest.used}
        )


@dataclass(frozen=True, slots=True)
class _Run:
    """`count` neighbouring tiles of one row that share their code: the first output column, columns a tile, edges."""

    column: int
    count: int
    columns: int
    left: int
    right: int


class DepthwiseNest:
    """Rows of tiles of one image, over some channels; `rows`, `pixels`: the register tile."""

    def __init__(self, f: Function, problem: Convolution, rows: int, pixels: int) -> None:
        self.f, self.problem, self.pixels = f, problem, pixels
        self.height = min(rows, problem.output.shape[2])
        taps = problem.weights[2] * problem.weights[3]
        self.panel_bytes = panel_bytes(taps, problem.channels)
        self.used: list[DepthwiseTile] = []
        self.sums: Value | None = None
        self.tallest = self.tile(_Run(0, 1, 1, 0, 0), self.height, 0)
        self.table = f.op("ptr", f"alloca [{self.tallest.span} x ptr], align 8")

    def tile(self, run: _Run, rows: int, lanes: int, *, partial: bool = False) -> DepthwiseTile:
        """Returns the tile of a size and edge."""
        problem = self.problem
        image, output = problem.inputs[0], problem.output

        def steps(
            strides: tuple[int, ...],
        ) -> tuple[int, int]:  # those that are used, so that equal tiles compare equal
            return strides[3] if run.columns > 1 else 0, strides[2] if rows > 1 else 0

        return DepthwiseTile(
            rows,
            run.columns,
            (problem.weights[2], problem.weights[3]),
            problem.strides,
            problem.dilations,
            image.strides[3],
            *steps(output.strides),
            problem.epilogue,
            problem.channels,
            tuple(Extra(e.dtype, *steps(e.strides), is_broadcast(e, problem)) for e in problem.inputs[1:]),
            output.dtype,
            lanes,
            run.left,
            run.right,
            partial,
            self.sums is not None,
        )

    def rows(
        self,
        first: Number,
        count: Number,
        places: Sequence[Value],
        weights: Value,
        channel: Number,
        vectors: Number,
        lanes: int,
    ) -> None:
        """Emits the output rows first .. first + count - 1 over `vectors` whole vectors of channels and `lanes` more.

        first: a multiple of the tile's rows; places: row 0 of the input, the output and the extra inputs of one image.
        """
        f, problem = self.f, self.problem
        down, far, top = problem.strides[0], problem.dilations[0], problem.pads[0]
        height, stride = problem.inputs[0].shape[2], problem.inputs[0].strides[2]
        span = (self.height - 1) * down + (problem.weights[2] - 1) * far + 1
        # Groups of rows whose window lies inside the image.
        low, high = -(-top // down), min((height + top - span) // down, problem.output.shape[2] - self.height)

        def window(row: Number, rows: int) -> None:
            corner = f.offset(places[0], f.mul(row, down * stride))
            for y in self.tile(_Run(0, 1, 1, 0, 0), rows, 0).used_rows:
                f.store(f.offset(corner, (y - top) * stride), self.table, 8 * y, align=8)

        def whole(row: Number) -> None:
            window(row, self.height)
            self._row(row, places, weights, channel, (0, 0, vectors), self.height, lanes, partial=False)

        def single(row: Number) -> None:
            window(row, 1)
            at = f.mul(row, down)
            above = f.divide(f.add(f.call("i64", "llvm.usub.sat.i64", f.number(top), f.number(at)), far - 1), far)
            below = f.call("i64", "llvm.usub.sat.i64", f.number(height + top), f.number(at))
            end = f.minimum(problem.weights[2], f.divide(f.add(below, far - 1), far))
            taken = f.call("i64", "llvm.usub.sat.i64", f.number(end), f.number(above))
            self._row(row, places, weights, channel, (above, taken, vectors), 1, lanes, partial=True)

        def group(index: Number, _: list[Value]) -> None:
            row = f.add(first, f.mul(index, self.height))
            if high < low:
                is_inside = Value("false", "i1")
            else:
                is_inside = f.compare("ult", f.number(f.sub(row, low)), f.number(high - low + 1))
                f.when(is_inside, lambda: whole(row))

            def edge() -> None:
                rest = f.minimum(self.height, f.sub(f.add(first, count), row))
                f.loop(rest, lambda i, _: single(f.add(row, i)))

            f.when(f.op("i1", f"xor i1 {is_inside.text}, true"), edge)

        f.loop(f.divide(f.add(count, self.height - 1), self.height), group)

    def group(self, places: Sequence[Value], weights: Sequence[Value], means: Value | None = None) -> None:
        """Emits one group of rows over all channels; the table says where the rows of its window lie.

        places: the group's first row in the output and the extra inputs; weights: the one array of them; means: where
        each channel's mean of the group is written.
        """
        whole, lanes = divmod(self.problem.output.shape[1], self.f.isa.lanes)
        unused = self.f.arguments[0]
        if means is None:
            self._row(0, [unused, *places], weights[0], 0, (0, 0, whole), self.height, lanes, partial=False)
            return
        self.each_vector(means, lambda _: self.f.zero(self.f.isa.vector))
        self.sums = means
        self._row(0, [unused, *places], weights[0], 0, (0, 0, whole), self.height, lanes, partial=False)
        self.sums = None
        share = constant(self.f.isa.vector, 1 / (self.height * self.problem.output.shape[3]))
        self.each_vector(means, lambda total: self.f.fmul(total, share))

    def each_vector(self, pixel: Value, change: Callable[[Value], Value]) -> None:
        """Emits the change of every vector of a pixel's channels."""
        f, kind = self.f, self.f.isa.vector
        whole, rest = divmod(self.problem.output.shape[1], f.isa.lanes)

        def vector(index: Number, lanes: int) -> None:
            place = f.offset(pixel, f.mul(index, f.isa.vector_bytes))
            f.store_lanes(change(f.load_lanes(kind, place, lanes=lanes)), place, lanes=lanes)

        f.loop(whole, lambda index, _: vector(index, f.isa.lanes))
        if rest:
            vector(whole, rest)

    def _row(
        self,
        row: Number,
        places: Sequence[Value],
        weights: Value,
        channel: Number,
        numbers: tuple[Number, Number, Number],
        rows: int,
        lanes: int,
        *,
        partial: bool,
    ) -> None:
        """Emits one row of tiles; numbers: the filter's first row, how many of them, whole vectors."""
        f, problem, isa = self.f, self.problem, self.f.isa
        image, output = problem.inputs[0], problem.output
        across, left = problem.strides[1], problem.pads[1]
        targets = []
        for pointer, layout in zip(places[1:], (output, *problem.inputs[1:]), strict=True):
            item = layout.strides[1] if layout.shape[1] > 1 else 0
            item = layout.itemsize if layout is output else item
            line = f.offset(pointer, f.mul(row, layout.strides[2]))
            targets.append((f.offset(line, f.mul(channel, item)), layout.strides[3]))
        for run in self._runs():
            tile = self.tile(run, rows, lanes, partial=partial)
            if tile not in self.used:
                self.used.append(tile)

            def one(index: Number, _: list[Value], run: _Run = run, tile: DepthwiseTile = tile) -> None:
                column = f.add(run.column, f.mul(index, run.columns))
                place = f.add(f.mul(column, across * image.strides[3]), -left * image.strides[3])
                place = f.add(place, f.mul(channel, 4))
                at = [f.offset(pointer, f.mul(column, step)) for pointer, step in targets]
                first, count, vectors = (f.number(number) for number in numbers)
                f.call(
                    "void",
                    tile.symbol(isa),
                    self.table,
                    f.number(place),
                    weights,
                    at[0],
                    first,
                    count,
                    vectors,
                    constant("ptr", 0) if self.sums is None else self.sums,
                    *at[1:],
                )

            f.loop(run.count, one)

    def _runs(self) -> list[_Run]:
        """Returns the tiles of a row, neighbours that are alike together."""
        problem = self.problem
        across, far, left = problem.strides[1], problem.dilations[1], problem.pads[1]
        columns, width = problem.output.shape[3], problem.inputs[0].shape[3]
        tiles = cover(columns, self.pixels)
        runs: list[_Run] = []
        column = 0
        for size in [tiles.size] * tiles.many + [tiles.size - 1] * tiles.rest:
            begin = column * across - left
            end = begin + (size - 1) * across + (problem.weights[3] - 1) * far + 1
            run = _Run(column, 1, size, max(0, -begin), max(0, end - width))
            last = runs[-1] if runs else None
            if last and (last.columns, last.left, last.right) == (run.columns, run.left, run.right):
                runs[-1] = _Run(last.column, last.count + 1, last.columns, last.left, last.right)
            else:
                runs.append(run)
            column += size
        return runs


def is_broadcast(layout: object, problem: Convolution) -> bool:
    """Whether an extra input has one channel for all of the output's."""
    return problem.weights[0] > 1 and (layout.shape[1] == 1 or layout.strides[1] == 0)  # type: ignore[attr-defined]


def _blocks(problem: Convolution, schedule: DepthwiseSchedule, isa: Isa) -> int:
    """Returns how many blocks of channels there are."""
    vectors = -(-problem.output.shape[1] // isa.lanes)
    return -(-vectors // schedule.vectors)


def _tiles_of(problem: Convolution, isa: Isa) -> Sequence[tuple[int, int]]:
    """Returns rows x pixels of the register tiles worth a try; where memory is the limit, small ones."""
    if isa.registers == 32:
        return ((2, 4),) if _spills(problem) else ((2, 7),) if problem.weights[3] <= 5 else ((1, 14),)
    return ((2, 4),) if problem.weights[3] <= 3 else ((1, 7),)


def _spills(problem: Convolution) -> bool:
    """Whether the images are too large for L2."""
    return sum(layout.size * layout.itemsize for layout in (problem.inputs[0], problem.output)) > _L2


def _scheduled(problem: Convolution, rows: int, pixels: int, isa: Isa) -> DepthwiseSchedule:
    """Returns the schedule for a register tile: images beyond L2 are read in the order in which they lie."""
    output = problem.output
    total = -(-output.shape[1] // isa.lanes)
    vectors = total if _spills(problem) else min(total, _CHANNELS // isa.lanes)
    return DepthwiseSchedule(rows, pixels, min(_BAND, output.shape[2]), vectors)
