"""The loops round register tiles: all tiles of a block times one group of output channels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from strop.compiler.emit import Function, Number, Value
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Convolution
from strop.compiler.kernels.convolution_geometry import Geometry, Steps
from strop.compiler.kernels.matrix_tile import PANEL, STEP, Context, Extra, Tile


@dataclass(frozen=True, slots=True)
class Runs:
    """The sum of a convolution as runs: the byte offset of each in the input, and the steps of a run."""

    offsets: tuple[int, ...]
    steps: int


@dataclass(frozen=True, slots=True)
class Prefetch:
    """What is asked for ahead of its use.

    near: weights, so many bytes ahead, into L1 (0: none); far: cache lines of the next panel a pass, into L2; early:
    what the epilogue reads or writes, at the start of the tile; soon: the next tile's pixels into L1, where they lie in
    one run.
    """

    near: int = 0
    far: bool = False
    early: bool = False
    soon: bool = False

    def __str__(self) -> str:
        flags = [flag[0] for flag in ("far", "early", "soon") if getattr(self, flag)]
        return "".join([f"n{self.near}" if self.near else "", *flags])


class MatrixNest:
    """A convolution's output channels in groups of `vectors` vectors, its pixels in the tiles of `geometry`.

    block: how many tiles are computed with a group's weights before the next group's turn.
    """

    def __init__(
        self, problem: Convolution, isa: Isa, geometry: Geometry, runs: Runs, vectors: int, block: int, fetch: Prefetch
    ) -> None:
        self.problem, self.isa, self.geometry, self.runs, self.fetch = problem, isa, geometry, runs, fetch
        self.vectors, self.block = vectors, block
        self.passes = passes_of(runs.steps)
        each = problem.weights[0] // problem.groups
        self.width = vectors * isa.lanes
        self.full, self.rest = divmod(each, self.width)
        self.columns = self.full + bool(self.rest)
        self.panels = -(-each // PANEL)
        self.panel_bytes = len(runs.offsets) * runs.steps * PANEL * STEP
        self.used: list[Tile] = []

    @property
    def macs_a_cycle(self) -> int:
        """Multiply-adds of a cycle at the peak: two vectors where they are one instruction, one where they are two."""
        depth = 1 if self.problem.accumulator == "float32" else STEP
        return self.isa.lanes * depth * (2 if self.isa.fused else 1)

    def tile(self, rows: int, columns: int, *, is_last: bool) -> Tile:
        """Returns the tile of a size, for whole groups of output channels or for the last one."""
        problem, isa, fetch, passes = self.problem, self.isa, self.fetch, self.passes
        vectors = -(-self.rest // isa.lanes) if is_last else self.vectors

        def steps(between: Steps) -> tuple[int, int]:  # those that the tile uses, so that equal tiles compare equal
            return between.pixel if columns > 1 else 0, between.row if rows > 1 else 0

        extras = tuple(
            Extra(layout.dtype, *steps(between), self._is_broadcast(index))
            for index, (layout, between) in enumerate(
                zip(problem.inputs[1:], self.geometry.extras, strict=True), start=1
            )
        )
        panels = -(-vectors * isa.lanes // PANEL)
        tile = Tile(
            rows,
            columns,
            vectors,
            *steps(self.geometry.input),
            *steps(self.geometry.output),
            problem.epilogue,
            problem.channels,
            extras,
            problem.output.dtype,
            problem.accumulator,
            lanes=self.rest % isa.lanes if is_last else 0,
            taps=len(self.runs.offsets) > 1,
            unroll=passes.unroll,
            is_one_pass=passes.count == 1 and not passes.rest,
            has_rest=passes.rest > 0,
            sets=_sets(rows * columns * vectors, passes.unroll),
            near=fetch.near,
            far=-(-panels * passes.unroll // self.block) if fetch.far else 0,
            early=fetch.early,
            soon=-(-rows * columns * passes.unroll * STEP // 64) if fetch.soon else 0,
        )
        if tile not in self.used:
            self.used.append(tile)
        return tile

    def cycles(self, tiles: Sequence[tuple[int, int]]) -> float:
        """Returns about how many cycles these tiles (pixels, how many of them) take with all output channels."""
        steps, total = len(self.runs.offsets) * self.runs.steps, 0.0
        for vectors, columns in ((self.vectors, self.full), (-(-self.rest // self.isa.lanes), int(self.rest > 0))):
            for pixels, count in tiles:
                products = pixels * vectors
                if products and columns:
                    latency = 4 / _sets(products, self.passes.unroll)
                    busy = products / 2 if self.isa.fused else products + pixels / 2  # that also shuffles to broadcast
                    step = max(busy, 0.55 * (pixels + vectors), latency)
                    total += count * columns * (step * steps + products + 3 * pixels + _OVERHEAD)
        return total * self.problem.groups

    def context(self, f: Function) -> Value:
        """Puts what all tiles share on the stack and returns where."""
        context = f.op("ptr", f"alloca [{Context.WORDS} x i64], align 8")
        offsets = self.runs.offsets
        entries = ", ".join(f"i64 {offset}" for offset in offsets)
        table = f"@taps_{hashlib.sha256(entries.encode()).hexdigest()[:8]}"  # a kernel may have nests with other runs
        f.module.add_global(f"{table} = private unnamed_addr constant [{len(offsets)} x i64] [{entries}], align 8")
        words: dict[int, Number] = {
            Context.TAPS: Value(table, "ptr"),
            Context.TAP_COUNT: len(offsets),
            Context.PASSES: self.passes.count,
            Context.REST: self.passes.rest,
            Context.PANEL_BYTES: self.panel_bytes,
        }
        for word, value in words.items():
            f.store(f.number(value), context, 8 * word, align=8)
        return context

    def run(
        self,
        f: Function,
        column: Number,
        first: Number,
        count: Number,
        *,
        pixels: Value,
        packed: tuple[Value, Value],
        outputs: Sequence[Value],
        context: Value,
    ) -> None:
        """Emits the tiles first .. first + count - 1 for one group of output channels, `column`.

        pixels: the input's first pixel; packed: the weights and the blocks of per-channel numbers; outputs: the first
        pixels of the output and the extra inputs.
        """
        problem = self.problem
        group = f.divide(column, self.columns) if problem.groups > 1 else 0
        within = f.remainder(column, self.columns) if problem.groups > 1 else column
        lane = f.mul(within, self.width)  # within the group
        panel = f.add(f.mul(group, self.panels), f.divide(lane, PANEL))
        place = f.mul(f.remainder(lane, PANEL), STEP) if self.width % PANEL else 0
        block_bytes = PANEL * 4 * Tile.numbers(problem.channels, problem.accumulator)
        weights = f.offset(f.offset(packed[0], f.mul(panel, self.panel_bytes)), place)
        channels = f.offset(f.offset(packed[1], f.mul(panel, block_bytes)), place)
        base = 0 if len(self.runs.offsets) > 1 else self.runs.offsets[0]
        pixels = f.offset(pixels, f.add(f.mul(group, problem.weights[1] * problem.inputs[0].itemsize), base))
        channel = f.add(f.mul(group, problem.weights[0] // problem.groups), lane)
        places = []
        for index, (layout, pointer) in enumerate(zip((problem.output, *problem.inputs[1:]), outputs, strict=True)):
            step = 0 if index and self._is_broadcast(index) else layout.itemsize
            places.append(f.offset(pointer, f.mul(channel, step)))

        def tiles(is_last: bool) -> None:
            self._tiles(f, first, count, (pixels, weights, channels, context), places, is_last=is_last)

        if self.full and self.rest:
            is_whole = f.compare("ult", f.number(within), f.number(self.full))
            f.when(is_whole, lambda: tiles(False))
            f.when(f.op("i1", f"xor i1 {is_whole.text}, true"), lambda: tiles(True))
        else:
            tiles(bool(self.rest))

    def _tiles(
        self,
        f: Function,
        first: Number,
        count: Number,
        shared: tuple[Value, Value, Value, Value],
        outputs: Sequence[Value],
        *,
        is_last: bool,
    ) -> None:
        geometry = self.geometry
        pixels, weights, channels, context = shared
        following = max(1, self.width // PANEL) * self.panel_bytes
        ahead = f.offset(weights, following)

        def one(index: Number, _: list[Value]) -> None:
            place = geometry.place(f, f.add(first, index))

            def call(rows: int, columns: int) -> None:
                tile = self.tile(rows, columns, is_last=is_last)
                share = tile.far * 64 * len(self.runs.offsets) * self.passes.count
                far = f.offset(ahead, f.minimum(f.mul(index, share), following))
                steps = (geometry.output, *geometry.extras)
                at = [geometry.move(f, pointer, each, place) for pointer, each in zip(outputs, steps, strict=True)]
                inside = geometry.move(f, pixels, geometry.input, place)
                soon = f.offset(inside, columns * geometry.input.pixel)
                f.call("void", tile.symbol(self.isa), inside, weights, at[0], channels, context, far, soon, *at[1:])

            geometry.by_size(f, place, call)

        f.loop(count, one)

    def _is_broadcast(self, index: int) -> bool:
        """Whether input `index` has one channel for all of the output's."""
        layout = self.problem.inputs[index]
        return self.problem.weights[0] > 1 and (layout.shape[1] == 1 or layout.strides[1] == 0)


@dataclass(frozen=True, slots=True)
class Passes:
    """A run as `count` passes of `unroll` steps and `rest` single steps."""

    unroll: int
    count: int
    rest: int = 0


def passes_of(steps: int) -> Passes:
    """Returns how a run of so many steps is unrolled: evenly if a number near four divides it."""
    if steps <= 9:
        return Passes(steps, 1)
    for unroll in (4, 7, 6, 5, 9, 3):
        if steps % unroll == 0:
            return Passes(unroll, steps // unroll)
    return Passes(4, steps // 4, steps % 4)


def tiles_of(isa: Isa) -> Sequence[tuple[int, int]]:
    """Returns pixels x vectors of the register tiles worth a try, the usual one first.

    One register for each product, one a vector of weights and one for the pixel must fit; 14 x 2 is best on AVX-512
    nearly everywhere. Without fused multiply-adds a product needs one more register.
    """
    if isa.registers == 32 and isa.lanes == PANEL:
        return (14, 2), (9, 3), (6, 4), (14, 1)
    if isa.registers == 32:
        return (6, 4), (8, 2), (14, 1)
    return ((6, 2), (14, 1), (2, 4)) if isa.fused else ((2, 4), (6, 2))


_OVERHEAD: Final = 30  # cycles of a tile beside its multiply-adds, its epilogue and its stores


def _sets(products: int, unroll: int) -> int:
    """Returns the sets of accumulators that keep two units with a latency of four busy."""
    sets = 1
    while products * sets < 8 and sets * 2 <= unroll and unroll % (sets * 2) == 0:
        sets *= 2
    return sets
