"""Depthwise convolution of channels-last images of bytes: every channel has its own filter of s8 numbers.

    y[n, c, i, j] = epilogue(bias[c] + sum over u, v of  w[c, 0, u, v] * (x[n, c, i*sh + u*dh - top, ...] - zero))

Vectors run over channels; a register tile is a few rows of a few pixels times one vector (`depthwise_bytes_tile.py`).
The halo of the input holds the zero point, so that there are no edges. A unit is a group of rows times a block of
channels, narrow so that the rows that a filter spans come from L2 about once. Intensity: height * width multiply-adds
for stride * stride bytes read and one written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Convolution, Cost, Needs, Problem, Split
from strop.compiler.kernels.convolution_geometry import halo_of
from strop.compiler.kernels.cover import Cover, cover
from strop.compiler.kernels.depthwise import is_broadcast, refuses_depthwise
from strop.compiler.kernels.depthwise_bytes_tile import DepthwiseBytesTile, Window, row_bytes
from strop.compiler.kernels.matrix_tile import PANEL, Extra
from strop.compiler.kernels.record import start_kernel
from strop.compiler.layouts import Layout

_L2: Final = 2**20
"""Bytes of L2 that schedules count on."""

_CHANNELS: Final = 512
"""Channels of a unit."""

_TALLEST: Final = 4
"""Rows of a tile."""


@dataclass(frozen=True, slots=True)
class DepthwiseBytesSchedule:
    """rows, pixels: the register tile; vectors: of channels in a unit."""

    rows: int
    pixels: int
    vectors: int

    def __str__(self) -> str:
        return f"t{self.rows}x{self.pixels}v{self.vectors}"


class DepthwiseBytes:
    """Convolution of u8 images with as many groups as channels."""

    family = "convolution_depthwise_u8"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts channels-last uint8 images with one int8 filter a channel."""
        return refuses_depthwise(problem, "uint8")

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for zero points around the image wherever the filter reaches."""
        assert isinstance(problem, Convolution)
        return Needs(halo_of(problem))

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[DepthwiseBytesSchedule]:
        """Returns a schedule for each height of tile, the one that does least first."""
        assert isinstance(problem, Convolution)
        heights = range(1, min(_TALLEST, problem.output.shape[2]) + 1)
        ordered = sorted(heights, key=lambda rows: _work(_window(problem, rows)))
        return [_scheduled(problem, rows, isa) for rows in ordered]

    def cost(self, problem: Problem, schedule: DepthwiseBytesSchedule, isa: Isa) -> Cost:
        """Returns the multiply-adds, how busy tiles keep the units for them, and the images once each."""
        assert isinstance(problem, Convolution)
        window = _window(problem, schedule.rows)
        cycles = _work(window) / 2 + 5  # of a pixel of 16 channels, its epilogue with it
        taps = problem.weights[2] * problem.weights[3]
        images = float(sum(layout.size * layout.itemsize for layout in (*problem.inputs, problem.output)))
        moved = {"l3" if images > _L2 else "l2": images}
        return Cost(2.0 * problem.macs, taps / 2 / cycles, moved)

    def split(self, problem: Problem, schedule: DepthwiseBytesSchedule, isa: Isa) -> Split:
        """Divides groups of rows times blocks of channels."""
        assert isinstance(problem, Convolution)
        down = cover(problem.output.shape[2], schedule.rows)
        return Split(problem.output.shape[0] * down.count * _blocks(problem, schedule, isa))

    def workspace(self, problem: Problem, schedule: DepthwiseBytesSchedule, isa: Isa) -> int:
        """Needs none."""
        return 0

    def pack(
        self,
        problem: Problem,
        schedule: DepthwiseBytesSchedule,
        isa: Isa,
        weights: np.ndarray,
        channels: Sequence[np.ndarray],
    ) -> list[np.ndarray]:
        """Returns filters, what sums start with and per-channel vectors, panel by panel."""
        assert isinstance(problem, Convolution)
        count = weights.shape[0]
        vectors = [np.broadcast_to(np.ravel(vector), (count,)) for vector in channels]
        bias = vectors[problem.channels].astype(np.int64) if len(vectors) > problem.channels else 0
        start = bias - problem.input_zero * weights.reshape(count, -1).astype(np.int64).sum(axis=1)
        words = [_window(problem, rows).pack(weights) for rows in _heights(problem, schedule)]
        numbers = [vector.astype(np.float32).view(np.int32) for vector in vectors[: problem.channels]]
        rows = [*np.concatenate(words), start.astype(np.int32), *numbers]
        whole = np.zeros((len(rows), -(-count // PANEL) * PANEL), np.int32)
        whole[:, :count] = np.stack(rows)
        packed = np.ascontiguousarray(whole.reshape(len(rows), -1, PANEL).transpose(1, 0, 2))
        return [packed.reshape(-1).view(np.float32)]

    def emit(self, problem: Problem, schedule: DepthwiseBytesSchedule, isa: Isa) -> Code:
        """Returns its code: groups of rows times blocks of channels, and one tile for each size."""
        assert isinstance(problem, Convolution)
        if not problem.inputs[0].halo.covers(halo_of(problem)):
            raise ValueError(f"the input's halo {problem.inputs[0].halo} is less than {halo_of(problem)}")
        symbol = f"{self.family}s8_{isa.key}_{schedule}_{problem.digest}"
        extras = tuple(f"input{index}" for index in range(1, len(problem.inputs)))
        arguments = ("input0", "output", *extras, "weights0", "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments)
        nest = _Nest(f, problem, schedule)
        channels = problem.output.shape[1]
        down, blocks = cover(problem.output.shape[2], schedule.rows), _blocks(problem, schedule, isa)
        width = schedule.vectors * isa.lanes
        begin = record["begin"]

        def unit(index: Number, _: list[Value]) -> None:
            number = f.add(begin, index)
            group, rest = f.remainder(number, down.count), f.divide(number, down.count)
            block, image = f.remainder(rest, blocks), f.divide(rest, blocks)
            channel = f.mul(block, width)
            layouts = (problem.inputs[0], problem.output, *problem.inputs[1:])
            places = [
                f.offset(f.offset(record[name], f.mul(image, each.strides[0])), f.mul(channel, _channel(each, problem)))
                for name, each in zip(("input0", "output", *extras), layouts, strict=True)
            ]
            weights = f.offset(record["weights0"], f.mul(channel, nest.panel_bytes // PANEL))
            whole, lanes = divmod(channels, isa.lanes)
            left = whole - (blocks - 1) * schedule.vectors

            def run(vectors: Number, lanes: int) -> None:
                nest.rows(down, group, places, weights, vectors, lanes)

            if not lanes:
                run(f.minimum(schedule.vectors, f.sub(whole, f.mul(block, schedule.vectors))), 0)
            elif blocks == 1:
                run(left, lanes)
            else:
                f.when(f.compare("eq", f.number(block), f.number(blocks - 1)), lambda: run(left, lanes))
                f.when(f.compare("ne", f.number(block), f.number(blocks - 1)), lambda: run(schedule.vectors, 0))

        f.loop(f.sub(record["end"], begin), unit, may_be_empty=True)
        f.ret()
        return Code(
            symbol, arguments, {symbol: module.text()} | {tile.symbol(isa): tile.emit(isa) for tile in nest.used}
        )


class _Nest:
    """The tiles of a group of rows, over some channels."""

    def __init__(self, f: Function, problem: Convolution, schedule: DepthwiseBytesSchedule) -> None:
        self._f, self._problem = f, problem
        self._across = cover(problem.output.shape[3], schedule.pixels)
        self._heights = _heights(problem, schedule)
        counts = [len(_window(problem, rows).words) for rows in self._heights]
        self._first = dict(zip(self._heights, np.cumsum([0, *counts[:-1]]).tolist(), strict=True))
        self._words = sum(counts)
        self.panel_bytes = row_bytes(self._words, problem.channels)
        self.used: list[DepthwiseBytesTile] = []

    def rows(
        self, down: Cover, group: Number, places: Sequence[Value], weights: Value, vectors: Number, lanes: int
    ) -> None:
        """Emits the group of rows of that number; places: of an image's first row, at the first channel."""
        f = self._f
        if not down.rest:
            self._tiles(down.size, f.mul(group, down.size), places, weights, vectors, lanes)
            return
        smaller = f.call("i64", "llvm.usub.sat.i64", f.number(group), f.number(down.many))
        row = f.sub(f.mul(group, down.size), smaller)
        for predicate, size in (("ult", down.size), ("uge", down.size - 1)):
            is_this = f.compare(predicate, f.number(group), f.number(down.many))
            f.when(is_this, lambda size=size: self._tiles(size, row, places, weights, vectors, lanes))  # type: ignore[misc]

    def _tiles(
        self, rows: int, row: Number, places: Sequence[Value], weights: Value, vectors: Number, lanes: int
    ) -> None:
        f, problem, across = self._f, self._problem, self._across
        image = problem.inputs[0]
        top, left = problem.pads[:2]
        corner = -top * image.strides[2] - left * image.strides[3]
        steps = [(image.strides[2] * problem.strides[0], image.strides[3] * problem.strides[1])]
        steps += [(layout.strides[2], layout.strides[3]) for layout in (problem.output, *problem.inputs[1:])]
        lines = [f.offset(place, f.mul(row, line)) for place, (line, _) in zip(places, steps, strict=True)]
        lines[0] = f.offset(lines[0], corner)

        def one(column: Number, columns: int) -> None:
            tile = self._tile(rows, columns, lanes)
            at = [f.offset(line, f.mul(column, pixel)) for line, (_, pixel) in zip(lines, steps, strict=True)]
            f.call("void", tile.symbol(f.isa), at[0], weights, at[1], f.number(vectors), *at[2:])

        f.loop(across.many, lambda index, _: one(f.mul(index, across.size), across.size))
        start, size = across.many * across.size, across.size - 1
        f.loop(across.rest, lambda index, _: one(f.add(start, f.mul(index, size)), size))

    def _tile(self, rows: int, columns: int, lanes: int) -> DepthwiseBytesTile:
        problem = self._problem
        image = problem.inputs[0]

        def steps(layout: Layout) -> tuple[int, int]:  # those that are used, so that equal tiles compare equal
            return layout.strides[3] if columns > 1 else 0, layout.strides[2] if rows > 1 else 0

        tile = DepthwiseBytesTile(
            _window(problem, rows),
            columns,
            image.strides[3],
            image.strides[2],
            *steps(problem.output),
            problem.epilogue,
            self._first[rows],
            self._words,
            problem.channels,
            tuple(Extra(e.dtype, *steps(e), is_broadcast(e, problem)) for e in problem.inputs[1:]),
            problem.output.dtype,
            lanes,
        )
        if tile not in self.used:
            self.used.append(tile)
        return tile


def _window(problem: Convolution, rows: int) -> Window:
    return Window(rows, (problem.weights[2], problem.weights[3]), problem.strides, problem.dilations)


def _heights(problem: Convolution, schedule: DepthwiseBytesSchedule) -> tuple[int, ...]:
    """Returns the heights of tiles that occur."""
    return cover(problem.output.shape[2], schedule.rows).sizes


def _channel(layout: Layout, problem: Convolution) -> int:
    """Returns the bytes from channel to channel; 0 where there is one for all of the output's."""
    if layout is problem.inputs[0] or layout is problem.output:
        return layout.itemsize
    return 0 if is_broadcast(layout, problem) else layout.itemsize


def _blocks(problem: Convolution, schedule: DepthwiseBytesSchedule, isa: Isa) -> int:
    """Returns how many blocks of channels there are."""
    vectors = -(-problem.output.shape[1] // isa.lanes)
    return -(-vectors // schedule.vectors)


def _work(window: Window) -> float:
    """Returns the vector instructions of a pixel of one row: interleaving columns, multiply-adds."""
    mixing = 5 * len(window.groups) * window.strides[1]
    return (mixing + len(window.words)) / window.rows


def _scheduled(problem: Convolution, rows: int, isa: Isa) -> DepthwiseBytesSchedule:
    """Returns the schedule for a height of tile: as many pixels as registers hold the sums of; weights may spill."""
    sums = 20 if isa.registers == 32 else 6
    pixels = max(1, min(7, sums // rows, problem.output.shape[3]))
    vectors = -(-problem.output.shape[1] // isa.lanes)
    return DepthwiseBytesSchedule(rows, pixels, min(vectors, _CHANNELS // isa.lanes))
