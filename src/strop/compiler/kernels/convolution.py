"""Direct convolution of channels-last images, any kernel, stride, dilation and group; matrix products as 1x1.

    y[n, o, i, j] = epilogue(sum over c, u, v of  w[o, c, u, v] * x[n, c, i*sh + u*dh - top, j*sw + v*dw - left])

An implicit matrix product: a register tile holds some pixels times some vectors of output channels (`matrix_tile.py`)
and runs over the filter's taps and the channels; a filter row whose pixels lie without gaps is one long run. Zeros
around the image are the input's halo. Where pixels of input and output (and everything the epilogue reads) lie at one
stride, rows and images are one long row: a 1x1 convolution is a plain matrix product.

The nest: a unit of work is a block of tiles times one group of output channels (some panels of weights). Blocks are
outermost, so that a block's pixels stay in L2 while the panels pass; where all pixels fit there, it is one block and
the weights are read once, each panel pulled into L2 while the one before it is computed on. Threads divide the units.
With a tile of R pixels and V vectors a panel is read from L2 once a tile: 64 * V bytes for 16 * R * V multiply-adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Convolution, Cost, Needs, Problem, Split
from strop.compiler.kernels.convolution_geometry import (
    Geometry,
    Steps,
    halo_of,
    refuses_convolution,
    runs_of,
)
from strop.compiler.kernels.matrix_tile import PANEL, STEP, Context, Extra, Tile
from strop.compiler.kernels.packing import pack_channel_blocks, pack_panels
from strop.compiler.kernels.record import Record, start_kernel

_L2: Final = 2**20
"""Bytes of L2 that schedules count on."""

_BLOCK: Final = 4
"""Tiles of a block where weights fit L2."""

_UNITS: Final = 16
"""Units there should be at least, for threads to divide."""


@dataclass(frozen=True, slots=True)
class DirectSchedule:
    """How a direct convolution is scheduled.

    pixels: at most so many in a tile; vectors: of output channels in a tile; block: tiles of a unit. Prefetches: near:
    weights, so many bytes ahead, into L1; far: the next panel into L2; early: what the epilogue reads or writes, at the
    tile's start; soon: the next tile's pixels into L1, where they lie in one run.
    """

    pixels: int
    vectors: int
    block: int
    near: int = 512
    far: bool = True
    early: bool = False
    soon: bool = False

    def __str__(self) -> str:
        flags = "".join(flag[0] for flag in ("far", "early", "soon") if getattr(self, flag))
        return f"t{self.pixels}x{self.vectors}b{self.block}n{self.near}{flags}"


class DirectConvolution:
    """Convolution as an implicit matrix product over channels-last images."""

    family = "convolution_direct"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts channels-last float32 images, and uint8 ones with int8 weights."""
        if not isinstance(problem, Convolution):
            return "not a convolution"
        if not problem.inputs[0].is_channels_last:
            return "the input's channels are not neighbours"
        return refuses_convolution(problem)

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for zeros around the image wherever the filter reaches."""
        assert isinstance(problem, Convolution)
        return Needs(halo_of(problem))

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[DirectSchedule]:
        """Returns a schedule for each size of register tile that suits the ISA."""
        assert isinstance(problem, Convolution)
        return [_scheduled(problem, pixels, vectors, isa) for pixels, vectors in _tiles(isa)]

    def cost(self, problem: Problem, schedule: DirectSchedule, isa: Isa) -> Cost:
        """Returns the multiply-adds, how busy whole tiles keep the units for them, and weights and images once each."""
        assert isinstance(problem, Convolution)
        cycles = _Nest(problem, schedule, isa).cycles()
        ideal = problem.macs / (2 * isa.lanes * (1 if problem.accumulator == "float32" else 4))
        images = sum(layout.size * layout.itemsize for layout in (*problem.inputs, problem.output))
        weights = problem.weights[0] * problem.weights[1] * problem.weights[2] * problem.weights[3]
        moved = {"l3": float(weights * np.dtype(problem.weight_dtype).itemsize), "l2": float(images)}
        return Cost(2.0 * problem.macs, ideal / cycles, moved)

    def split(self, problem: Problem, schedule: DirectSchedule, isa: Isa) -> Split:
        """Divides blocks of pixels times panels of output channels."""
        assert isinstance(problem, Convolution)
        return Split(_Nest(problem, schedule, isa).units)

    def workspace(self, problem: Problem, schedule: DirectSchedule, isa: Isa) -> int:
        """Needs none."""
        return 0

    def pack(
        self, problem: Problem, schedule: DirectSchedule, isa: Isa, weights: np.ndarray, channels: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Returns the weights in panels of 16 output channels, and the per-channel vectors likewise."""
        assert isinstance(problem, Convolution)
        taps, run = runs_of(problem)
        ordered = np.ascontiguousarray(weights.transpose(0, 2, 3, 1)).reshape(weights.shape[0], len(taps), run)
        return [pack_panels(ordered, problem.groups), pack_channel_blocks(problem, channels, weights)]

    def emit(self, problem: Problem, schedule: DirectSchedule, isa: Isa) -> Code:
        """Returns its code: the nest, and one tile for each size that occurs."""
        assert isinstance(problem, Convolution)
        if not problem.inputs[0].halo.covers(halo_of(problem)):
            raise ValueError(f"the input's halo {problem.inputs[0].halo} is less than {halo_of(problem)}")
        kind = "f32" if problem.accumulator == "float32" else "u8s8"
        symbol = f"{self.family}_{kind}_{isa.key}_{schedule}_{problem.digest}"
        extras = tuple(f"input{index}" for index in range(1, len(problem.inputs)))
        arguments = ("input0", "output", *extras, "weights0", "weights1", "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments)
        nest = _Nest(problem, schedule, isa)
        nest.emit(f, record)
        f.ret()
        objects = {symbol: module.text()}
        for tile in nest.used:
            objects[tile.symbol(isa)] = tile.emit(isa)
        return Code(symbol, arguments, objects)


class _Nest:
    """The loops over blocks, output channels and tiles, and what they are made of."""

    def __init__(self, problem: Convolution, schedule: DirectSchedule, isa: Isa) -> None:
        self.problem, self.schedule, self.isa = problem, schedule, isa
        self.geometry = Geometry(problem, schedule.pixels)
        self.taps, self.run = runs_of(problem)
        self.steps = -(-self.run * problem.inputs[0].itemsize // STEP)
        self.unroll, self.is_one_pass, self.has_rest = _passes(self.steps)
        each = problem.weights[0] // problem.groups
        self.width = schedule.vectors * isa.lanes
        self.full, self.rest = divmod(each, self.width)
        self.columns = self.full + bool(self.rest)
        self.tiles = self.geometry.tiles
        self.block = min(schedule.block, self.tiles)
        self.blocks = -(-self.tiles // self.block)
        self.units = self.blocks * self.columns * problem.groups
        self.panel_bytes = len(self.taps) * self.steps * PANEL * STEP
        self.panels = -(-each // PANEL)
        outputs = problem.weights[0]
        self.broadcast = [outputs > 1 and (x.shape[1] == 1 or x.strides[1] == 0) for x in problem.inputs[1:]]
        self.used: list[Tile] = []

    def tile(self, rows: int, columns: int, *, is_last: bool) -> Tile:
        """Returns the tile of a size, for whole groups of output channels or for the last one."""
        geometry, problem, schedule, isa = self.geometry, self.problem, self.schedule, self.isa
        vectors, lanes = schedule.vectors, 0
        if is_last:
            vectors = -(-self.rest // isa.lanes)
            lanes = self.rest % isa.lanes
        panels = -(-vectors * isa.lanes // PANEL)

        def steps(between: Steps) -> tuple[int, int]:  # those that the tile uses, so that equal tiles compare equal
            return between.pixel if columns > 1 else 0, between.row if rows > 1 else 0

        extras = tuple(
            Extra(layout.dtype, *steps(between), is_broadcast)
            for layout, between, is_broadcast in zip(problem.inputs[1:], geometry.extras, self.broadcast, strict=True)
        )
        tile = Tile(
            rows,
            columns,
            vectors,
            *steps(geometry.input),
            *steps(geometry.output),
            problem.epilogue,
            problem.channels,
            extras,
            problem.output.dtype,
            problem.accumulator,
            lanes,
            len(self.taps) > 1,
            self.unroll,
            self.is_one_pass,
            self.has_rest,
            near=schedule.near,
            early=schedule.early,
            soon=-(-rows * columns * self.unroll * STEP // 64) if schedule.soon else 0,
            sets=_sets(rows * columns * vectors, self.unroll),
            far=-(-panels * self.unroll // self.block) if schedule.far else 0,
        )
        if tile not in self.used:
            self.used.append(tile)
        return tile

    def emit(self, f: Function, record: Record) -> None:
        """Emits the loop over units begin .. end."""
        context = self.context(f)
        first = record["begin"]
        count = f.sub(record["end"], first)
        groups = self.columns * self.problem.groups

        def unit(index: Number, _: list[Value]) -> None:
            number = f.add(first, index)
            self.unit(f, record, context, f.divide(number, groups), f.remainder(number, groups))

        f.loop(count, unit, may_be_empty=True)

    def cycles(self) -> float:
        """Returns about how many cycles all units take together."""
        geometry, steps = self.geometry, len(self.taps) * self.steps
        widths = [(self.schedule.vectors, self.full), (-(-self.rest // self.isa.lanes), 1 if self.rest else 0)]
        total = 0.0
        for down, rows in ((geometry.down.many, geometry.down.size), (geometry.down.rest, geometry.down.size - 1)):
            for across, columns in (
                (geometry.across.many, geometry.across.size),
                (geometry.across.rest, geometry.across.size - 1),
            ):
                for vectors, count in widths:
                    products = rows * columns * vectors
                    latency = 4 / _sets(products, self.unroll) if products else 0
                    step = max(products / 2, 0.55 * (rows * columns + vectors), latency)
                    total += down * across * count * (step * steps + products + 30)
        return total * geometry.images * self.problem.groups

    def context(self, f: Function) -> Value:
        """Puts what all tiles share on the stack."""
        context = f.op("ptr", f"alloca [{Context.WORDS} x i64], align 8")
        table = f"[{len(self.taps)} x i64]"
        entries = ", ".join(f"i64 {offset}" for offset in self.taps)
        f.module.add_global(f"@taps = private unnamed_addr constant {table} [{entries}], align 8")
        words: dict[int, Value | int] = {
            Context.TAPS: Value("@taps", "ptr"),
            Context.TAP_COUNT: len(self.taps),
            Context.PASSES: self.steps // self.unroll,
            Context.REST: self.steps % self.unroll,
            Context.PANEL_BYTES: self.panel_bytes,
        }
        for word, value in words.items():
            f.store(value if isinstance(value, Value) else f.number(value), context, 8 * word, align=8)
        return context

    def unit(self, f: Function, record: Record, context: Value, block: Number, column: Number) -> None:
        """Emits one unit: a block of tiles times a group of output channels."""
        problem = self.problem
        first = f.mul(block, self.block)
        count = f.minimum(self.block, f.sub(self.tiles, first)) if self.tiles % self.block else self.block
        group = f.divide(column, self.columns) if problem.groups > 1 else 0
        within = f.remainder(column, self.columns) if problem.groups > 1 else column
        each_in, each_out = problem.weights[1], problem.weights[0] // problem.groups
        lane = f.mul(within, self.width)  # within the group
        panel = f.add(f.mul(group, self.panels), f.divide(lane, PANEL))
        place = f.mul(f.remainder(lane, PANEL), STEP) if self.width % PANEL else 0
        channel = f.add(f.mul(group, each_out), lane)
        weights = f.offset(f.offset(record["weights0"], f.mul(panel, self.panel_bytes)), place)
        block_bytes = PANEL * 4 * max(1, problem.channels + (problem.accumulator == "int32"))
        channels = f.offset(f.offset(record["weights1"], f.mul(panel, block_bytes)), place)
        base = 0 if len(self.taps) > 1 else self.taps[0]
        pixels = f.offset(record["input0"], f.add(f.mul(group, each_in * problem.inputs[0].itemsize), base))
        outputs = [f.offset(record["output"], f.mul(channel, problem.output.itemsize))]
        for index, layout in enumerate(problem.inputs[1:], start=1):
            pointer = record[f"input{index}"]
            is_broadcast = self.broadcast[index - 1]
            outputs.append(pointer if is_broadcast else f.offset(pointer, f.mul(channel, layout.itemsize)))

        def tiles(is_last: bool) -> None:
            self.tile_loop(f, first, count, [pixels, weights, channels, context], outputs, is_last=is_last)

        if self.full and self.rest:
            is_whole = f.compare("ult", f.number(within), f.number(self.full))
            f.when(is_whole, lambda: tiles(False))
            f.when(f.op("i1", f"xor i1 {is_whole.text}, true"), lambda: tiles(True))
        else:
            tiles(bool(self.rest))

    def tile_loop(
        self, f: Function, first: Number, count: Number, shared: list[Value], outputs: list[Value], *, is_last: bool
    ) -> None:
        """Emits the tiles of a unit."""
        geometry = self.geometry
        pixels, weights, channels, context = shared
        panels = max(1, self.width // PANEL)
        following = f.offset(weights, panels * self.panel_bytes)

        def one(index: Number, _: list[Value]) -> None:
            place = geometry.place(f, f.add(first, index))

            def call(rows: int, columns: int) -> None:
                tile = self.tile(rows, columns, is_last=is_last)
                share = tile.far * 64 * (len(self.taps) * (self.steps // self.unroll))
                ahead = f.offset(following, f.minimum(f.mul(index, share), panels * self.panel_bytes))
                steps = (geometry.output, *geometry.extras)
                at = [geometry.move(f, pointer, each, place) for pointer, each in zip(outputs, steps, strict=True)]
                inside = geometry.move(f, pixels, geometry.input, place)
                soon = f.offset(inside, columns * geometry.input.pixel)
                tile.call(f, pointers=[inside, weights, at[0], channels, context, ahead, soon], extras=at[1:])

            geometry.by_size(f, place, call)

        f.loop(count, one)


def _tiles(isa: Isa) -> Sequence[tuple[int, int]]:
    """Returns pixels x vectors of the register tiles worth a try, the usual one first.

    One register for each product, one a vector of weights and one for the pixel must fit; 14 x 2 is best on AVX-512
    nearly everywhere. Without fused multiply-adds a product needs one more register.
    """
    if isa.registers == 32 and isa.lanes == PANEL:
        return (14, 2), (9, 3), (6, 4), (14, 1)
    if isa.registers == 32:
        return (6, 4), (8, 2), (14, 1)
    return ((6, 2), (14, 1), (2, 4)) if isa.fused else ((2, 4), (6, 2))


def _sets(products: int, unroll: int) -> int:
    """Returns the sets of accumulators that keep two units with a latency of four busy."""
    sets = 1
    while products * sets < 8 and sets * 2 <= unroll and unroll % (sets * 2) == 0:
        sets *= 2
    return sets


def _scheduled(problem: Convolution, pixels: int, vectors: int, isa: Isa) -> DirectSchedule:
    """Returns the schedule for a register tile.

    Blocks are short, so that a block's pixels stay in L1 or nearly, unless the weights are too many to pass through L2
    again and again; and there are enough units to divide among threads.
    """
    geometry = Geometry(problem, pixels)
    image, output = problem.inputs[0], problem.output
    columns = -(-problem.weights[0] // problem.groups // (vectors * isa.lanes)) * problem.groups
    weights = problem.weights[0] * problem.weights[1] * problem.weights[2] * problem.weights[3]
    block = _BLOCK
    if weights * np.dtype(problem.weight_dtype).itemsize > _L2 // 2:
        block = max(block, _L2 // 4 // max(1, image.size * image.itemsize // geometry.tiles))
    block = min(block, geometry.tiles)
    while block > 1 and -(-geometry.tiles // block) * columns < _UNITS:
        block = -(-block // 2)
    return DirectSchedule(
        pixels,
        vectors,
        block,
        far=geometry.tiles > 1,
        early=len(problem.inputs) > 1 or output.size * output.itemsize > _L2,
        soon=_is_one_run(problem, geometry),
    )


def _is_one_run(problem: Convolution, geometry: Geometry) -> bool:
    """Whether the pixels of neighbouring tiles lie one after the other, without more than a cache line between."""
    if problem.weights[2:] != (1, 1) or problem.groups > 1 or geometry.across.count == 1:
        return False
    return geometry.input.pixel <= problem.weights[1] * problem.inputs[0].itemsize + 64


def _passes(steps: int) -> tuple[int, bool, bool]:
    """Returns the unrolling of a run: steps of a pass, whether one pass is all, whether single steps remain."""
    if steps <= 9:
        return steps, True, False
    for unroll in (4, 7, 6, 5, 9, 3):
        if steps % unroll == 0:
            return unroll, False, False
    return 4, False, True
