"""Products of rows by constant weights whose code serves every number of rows.

The same register tiles and the same packed weights as in `convolution.py`. What differs: rows are covered by tiles of
one height out of a few, all of which are in the code, and the last tile begins so that it ends with the last row. It
computes some rows a second time, which is no mistake as long as the output does not lie in the place of an operand. How
many rows, tiles of which height: numbers of the record. 128 rows are 10 tiles of 13, two rows too many.

A unit is a block of tiles times one group of output channels; blocks go first where the weights fit the L2 cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Convolution, Cost, Needs, Problem, Split
from strop.compiler.kernels.convolution_geometry import Geometry, Place, Steps, refuses_convolution, steps_of
from strop.compiler.kernels.matrix_nest import MatrixNest, Prefetch, Runs, tiles_of
from strop.compiler.kernels.matrix_tile import step_count
from strop.compiler.kernels.packing import pack_channel_blocks, pack_panels
from strop.compiler.kernels.record import start_kernel
from strop.compiler.layouts import NO_HALO, Layout

_BLOCK: Final = 16
"""Tiles of a block: rows that stay in L2 while all weights pass."""

_FEW: Final = (8, 4, 2, 1)
"""Heights for fewer rows than the usual tiles have."""


@dataclass(frozen=True, slots=True)
class RowsSchedule:
    """rows, vectors: of the largest register tile."""

    rows: int
    vectors: int

    def __str__(self) -> str:
        return f"t{self.rows}x{self.vectors}"


class MatrixRows:
    """Rows x channels times a constant matrix, for any number of rows."""

    family = "matrix_rows"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts 1x1 convolutions all of whose pixels lie at one stride."""
        if not isinstance(problem, Convolution):
            return "not a convolution"
        is_plain = problem.weights[2:] == (1, 1) and problem.strides == (1, 1) and problem.groups == 1
        if not is_plain or any(problem.pads):
            return "no product of rows"
        if any(layout.shape[0] > 1 or layout.shape[2] > 1 for layout in (problem.inputs[0], problem.output)):
            return "rows along several axes"
        if not problem.inputs[0].is_channels_last:
            return "the input's channels are not neighbours"
        return refuses_convolution(problem)

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for an output apart from all operands."""
        return Needs(in_place=False)

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[RowsSchedule]:
        """Returns the usual tile of the ISA."""
        rows, vectors = tiles_of(isa)[0]
        return [RowsSchedule(rows, vectors)]

    def cost(self, problem: Problem, schedule: RowsSchedule, isa: Isa) -> Cost:
        """Returns the multiply-adds, those of rows computed twice apart, and weights and rows once each."""
        assert isinstance(problem, Convolution)
        height, tiles = _tiles(problem, schedule)
        share = problem.output.shape[3] / (height * tiles)
        moved = float(np.dtype(problem.weight_dtype).itemsize * problem.weights[0] * problem.weights[1])
        rows = float(sum(layout.size * layout.itemsize for layout in (problem.output, *problem.inputs)))
        return Cost(2.0 * problem.macs, 0.9 * share, {"l3": moved, "l2": rows})

    def split(self, problem: Problem, schedule: RowsSchedule, isa: Isa) -> Split:
        """Divides blocks of rows times groups of output channels."""
        assert isinstance(problem, Convolution)
        _, tiles = _tiles(problem, schedule)
        return Split(-(-tiles // _BLOCK) * _columns(problem, schedule, isa))

    def workspace(self, problem: Problem, schedule: RowsSchedule, isa: Isa) -> int:
        """Needs none."""
        return 0

    def pack(
        self, problem: Problem, schedule: RowsSchedule, isa: Isa, weights: np.ndarray, channels: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Returns the weights in panels of 16 output channels, and the per-channel vectors likewise."""
        assert isinstance(problem, Convolution)
        flat = weights.reshape(weights.shape[0], 1, weights.shape[1])
        return [pack_panels(flat, 1), pack_channel_blocks(problem, channels, weights)]

    def general(self, problem: Problem) -> Problem:
        """Returns the problem for one row, which stands for all numbers of them."""
        assert isinstance(problem, Convolution)

        def one(layout: Layout) -> Layout:
            shape = (1, layout.shape[1], 1, 1)
            return Layout(shape, (0, layout.strides[1], 0, layout.strides[3]), layout.dtype, NO_HALO)

        return replace(problem, inputs=tuple(map(one, problem.inputs)), output=one(problem.output))

    def numbers(self, problem: Problem, schedule: RowsSchedule, isa: Isa) -> Mapping[str, int]:
        """Returns how many rows there are, and the tiles that cover them."""
        assert isinstance(problem, Convolution)
        height, tiles = _tiles(problem, schedule)
        return {"last": problem.output.shape[3] - height, "tiles": tiles, "height": height}

    def emit(self, problem: Problem, schedule: RowsSchedule, isa: Isa) -> Code:
        """Returns its code: the nest, and a tile for each height."""
        numbers, problem = self.numbers(problem, schedule, isa), self.general(problem)
        assert isinstance(problem, Convolution)
        kind = "f32" if problem.accumulator == "float32" else "u8s8"
        symbol = f"{self.family}_{kind}_{isa.key}_{schedule}_{problem.digest}"
        extras = tuple(f"input{index}" for index in range(1, len(problem.inputs)))
        arguments = ("input0", "output", *extras, "weights0", "weights1", *numbers, "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments, numbers)
        geometry = _Rows(steps_of(problem), _heights(schedule), record["height"], record["last"])
        is_one_run = geometry.input.pixel <= problem.weights[1] * problem.inputs[0].itemsize + 64
        fetch = Prefetch(near=512, far=True, early=len(problem.inputs) > 1, soon=is_one_run)
        nest = MatrixNest(
            problem,
            isa,
            geometry,
            Runs((0,), step_count(problem.weights[1], problem.inputs[0].itemsize)),
            schedule.vectors,
            _BLOCK // 2,
            fetch,
        )
        context = nest.context(f)

        def unit(index: Number, _: list[Value]) -> None:
            number = f.add(record["begin"], index)
            block, column = f.divide(number, nest.columns), f.remainder(number, nest.columns)
            first = f.mul(block, _BLOCK)
            nest.run(
                f,
                column,
                first,
                f.minimum(_BLOCK, f.sub(record["tiles"], first)),
                pixels=record["input0"],
                packed=(record["weights0"], record["weights1"]),
                outputs=[record[name] for name in ("output", *extras)],
                context=context,
            )

        f.loop(f.sub(record["end"], record["begin"]), unit, may_be_empty=True)
        f.ret()
        objects = {symbol: module.text()} | {tile.symbol(isa): tile.emit(isa) for tile in nest.used}
        return Code(symbol, arguments, objects, numbers)


class _Rows(Geometry):
    """Rows covered by tiles of one height, which, like their number, is known when the code runs."""

    def __init__(self, steps: Sequence[Steps], heights: Sequence[int], height: Value, last: Value) -> None:
        super().__init__((1, 1, 1, 1), steps, 1)
        self._heights, self._height, self._last = heights, height, last

    def place(self, f: Function, tile: Number) -> Place:
        """Returns where the tile of that number lies."""
        row = f.op("i64", f"mul i64 {f.number(tile).text}, {self._height.text}")
        return Place(0, 0, f.minimum(row, self._last), 0, tile)

    def move(self, f: Function, pointer: Value, steps: Steps, place: Place) -> Value:
        """Returns the pointer to the tile's first row."""
        return f.offset(pointer, f.mul(place.column, steps.pixel))

    def by_size(self, f: Function, place: Place, body: Callable[[int, int], None]) -> None:
        """Emits `body(1, height)` for each height, run where it is this one."""
        for height in self._heights:
            is_this = f.compare("eq", self._height, f.number(height))
            f.when(is_this, lambda height=height: body(1, height))  # type: ignore[misc]


def _heights(schedule: RowsSchedule) -> list[int]:
    usual = [height for height in range(schedule.rows, schedule.rows - 3, -1) if height > 0]
    return usual + [height for height in _FEW if height < usual[-1]]


def _tiles(problem: Convolution, schedule: RowsSchedule) -> tuple[int, int]:
    """Returns the height of the tiles that cover the rows at the least cost, and how many it takes."""
    rows = problem.output.shape[3]
    fitting = [height for height in _heights(schedule) if height <= rows]
    return min(((h, -(-rows // h)) for h in fitting), key=lambda tiles: tiles[1] * (tiles[0] + 1))


def _columns(problem: Convolution, schedule: RowsSchedule, isa: Isa) -> int:
    return -(-problem.weights[0] // (schedule.vectors * isa.lanes))
