"""Images of another size: nearest neighbours, or linear between two rows and two columns.

    y[n, c, i, j] = epilogue((1-a) * ((1-b) * x[n, c, r, s] + b * x[n, c, r, s']) + a * ((1-b) * x[n, c, r', s] + ...))

r, r', a are those of row i, s, s', b those of column j: tables, whatever rule made them. Vectors run over channels.
Rows that mix nothing are code of their own, as are columns: nearest neighbours are copies, and those of a whole factor
read a pixel once and write it as often as the row has it. Rows of the output are divided among threads. The output may
be a part of a concatenation. Intensity: up to seven operations for an element, mostly of rows that L1 holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Cost, Needs, Problem, Resampling, Split
from strop.compiler.kernels.epilogue import Cursor, Epilogue, each_channel_block, refuses_epilogue
from strop.compiler.kernels.record import epilogue_arguments, pack_channels, start_kernel

_ENTRY = 24  # bytes of a table's entry: two offsets and a share, which is a float


@dataclass(frozen=True, slots=True)
class ResampleSchedule:
    """vectors: vectors of channels held at once."""

    vectors: int = 4

    def __str__(self) -> str:
        return f"v{self.vectors}"


class ResampleKernel:
    """Resizing by tables of rows and columns."""

    family = "resample"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts channels-last float32 images."""
        if not isinstance(problem, Resampling):
            return "not a resize"
        image = problem.inputs[0]
        if len(image.shape) != 4 or not image.is_channels_last:
            return "the input is no channels-last image"
        if image.dtype != "float32":
            return f"the input is {image.dtype}"
        return refuses_epilogue(problem)

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for channels-last images; borders need no halo."""
        return Needs()

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[ResampleSchedule]:
        """Returns the one schedule."""
        return [ResampleSchedule(min(4, -(-problem.output.shape[1] // isa.lanes)))]

    def cost(self, problem: Problem, schedule: ResampleSchedule, isa: Isa) -> Cost:
        """Returns the operations of a mix, and the image and the output from the L3 cache."""
        assert isinstance(problem, Resampling)
        image = problem.inputs[0]
        mixes = 1 + 2 * _mixes(problem.columns) + 4 * _mixes(problem.rows)
        moved = float(image.size * image.itemsize + problem.output.size * problem.output.itemsize)
        return Cost(float(mixes * problem.output.size), 0.25, {"l3": moved})

    def split(self, problem: Problem, schedule: ResampleSchedule, isa: Isa) -> Split:
        """Divides the rows of all output images."""
        return Split(problem.output.shape[0] * problem.output.shape[2])

    def workspace(self, problem: Problem, schedule: ResampleSchedule, isa: Isa) -> int:
        """Needs none."""
        return 0

    def pack(
        self,
        problem: Problem,
        schedule: ResampleSchedule,
        isa: Isa,
        weights: np.ndarray,
        channels: Sequence[np.ndarray],
    ) -> list[np.ndarray]:
        """Returns the tables of rows and columns, and the per-channel vectors."""
        assert isinstance(problem, Resampling)
        strides = problem.inputs[0].strides
        tables = [_table(problem.rows, strides[2]), _table(problem.columns, strides[3])]
        return [*tables, *pack_channels(problem, channels)]

    def emit(self, problem: Problem, schedule: ResampleSchedule, isa: Isa) -> Code:
        """Returns its code."""
        assert isinstance(problem, Resampling)
        symbol = f"{self.family}_f32_{isa.key}_{schedule}_{problem.digest}"
        arguments = ("input0", "weights0", "weights1", *epilogue_arguments(problem, 2), "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments)
        epilogue = Epilogue(f, problem, record, 2)
        emitter = _Emitter(f, problem, schedule, epilogue, record["weights1"])
        height, begin = problem.output.shape[2], record["begin"]

        def row(index: Number, _: list[Value]) -> None:
            unit = f.add(begin, index)
            number, out = f.divide(unit, height), f.remainder(unit, height)
            image = f.offset(record["input0"], f.mul(number, problem.inputs[0].strides[0]))
            cursor = epilogue.move(epilogue.move(epilogue.start, 0, number), 2, out)
            emitter.row(image, f.offset(record["weights0"], f.mul(out, _ENTRY)), cursor)

        f.loop(f.sub(record["end"], begin), row, may_be_empty=True)
        f.ret()
        return Code(symbol, arguments, {symbol: module.text()})


def _mixes(places: tuple[tuple[int, int, float], ...]) -> bool:
    """Whether any of the places is between two."""
    return any(share != 0 for _, _, share in places)


def _factor(places: tuple[tuple[int, int, float], ...]) -> int:
    """Returns how often each place comes in turn, 0 where that differs or something is mixed."""
    factor = sum(first == 0 for first, _, _ in places)
    whole = tuple((index // factor, index // factor) for index in range(len(places))) if factor else ()
    return factor if whole == tuple((first, first) for first, _, _ in places) and not _mixes(places) else 0


def _table(places: tuple[tuple[int, int, float], ...], stride: int) -> np.ndarray:
    """Returns byte offsets of both places and the share of the second, an entry for each of the output's."""
    table = np.zeros(len(places), np.dtype([("first", "<i8"), ("second", "<i8"), ("share", "<f4"), ("pad", "<f4")]))
    table["first"] = [first * stride for first, _, _ in places]
    table["second"] = [second * stride for _, second, _ in places]
    table["share"] = [share for _, _, share in places]
    return table.view(np.uint8)


class _Emitter:
    """Writes a row: its lines, the loop over columns, blocks of channels."""

    def __init__(
        self, f: Function, problem: Resampling, schedule: ResampleSchedule, epilogue: Epilogue, columns: Value
    ) -> None:
        self.f, self.problem, self.schedule, self.epilogue, self.columns = f, problem, schedule, epilogue, columns

    def row(self, image: Value, entry: Value, cursor: Cursor) -> None:
        """Writes the code of one output row, whose entry of the table is at `entry`."""
        f, problem = self.f, self.problem
        lines = [f.offset(image, f.load("i64", entry, 0))]
        if not _mixes(problem.rows):
            self._columns(lines, None, cursor)
            return
        lines.append(f.offset(image, f.load("i64", entry, 8)))
        self._columns(lines, f.splat(f.load("float", entry, 16), f.isa.lanes), cursor)

    def _columns(self, lines: list[Value], down: Value | None, cursor: Cursor) -> None:
        f, problem = self.f, self.problem
        factor = _factor(problem.columns)
        if factor and problem.output.shape[3] % factor == 0:
            pixel = problem.inputs[0].strides[3]

            def repeated(index: Number, _: list[Value]) -> None:
                places = [f.offset(line, f.mul(index, pixel)) for line in lines]
                first = f.mul(index, factor)
                targets = [self.epilogue.move(cursor, 3, f.add(first, step)) for step in range(factor)]
                self._pixel([places], None, down, targets)

            f.loop(problem.output.shape[3] // factor, repeated)
            return
        is_mixed = _mixes(problem.columns)

        def column(index: Number, _: list[Value]) -> None:
            entry = f.offset(self.columns, f.mul(index, _ENTRY))
            sides = [[f.offset(line, f.load("i64", entry, 0)) for line in lines]]
            across = None
            if is_mixed:
                sides.append([f.offset(line, f.load("i64", entry, 8)) for line in lines])
                across = f.splat(f.load("float", entry, 16), f.isa.lanes)
            self._pixel(sides, across, down, [self.epilogue.move(cursor, 3, index)])

        f.loop(problem.output.shape[3], column)

    def _pixel(self, sides: list[list[Value]], across: Value | None, down: Value | None, targets: list[Cursor]) -> None:
        """Writes one pixel to `targets`; sides: the lines' pixels left, and right where columns are mixed."""
        f, kind = self.f, self.f.isa.vector

        def block(channel: Number, lanes: list[int]) -> None:
            values = []
            for number, count in enumerate(lanes):
                shift = f.add(f.mul(channel, 4), number * f.isa.vector_bytes)
                first, *second = [[f.load_lanes(kind, p, shift, lanes=count) for p in side] for side in sides]
                if across is not None:
                    first = [self._mix(left, right, across) for left, right in zip(first, second[0], strict=True)]
                values.append(first[0] if down is None else self._mix(first[0], first[1], down))
            for target in targets:
                self.epilogue.store(target, channel, values, lanes)

        each_channel_block(f, self.problem.output.shape[1], self.schedule.vectors, block)

    def _mix(self, first: Value, second: Value, share: Value) -> Value:
        """Returns first + share * (second - first)."""
        return self.f.fma(share, self.f.fsub(second, first), first)
