"""The microkernel of everything that multiplies matrices: one register tile of a convolution or matrix product.

A tile is `rows` x `columns` pixels times `vectors` vectors of output channels. It runs over `taps` (places of the
filter), and in each over a run of channels; a step is 4 bytes of channels: one float32, or four uint8. What its code
depends on is in `Tile`, so that equal tiles of different layers are one function; pointers, the number of taps and the
length of runs are given at run time:

    void tile(ptr input, ptr weights, ptr output, ptr channels, ptr context, ptr next, ptr soon, ptr extra inputs ...)

next: weights to pull into L2 meanwhile; soon: pixels to pull into L1.

Weights come in panels of 16 lanes, [panel][step][16 lanes], whatever the width of the instruction set's vectors. Each
step loads its vectors of weights, then for every pixel one broadcast feeds one multiply-add a vector. Per step that is
pixels + vectors loads for pixels * vectors multiply-adds: 16 for 28 with the default tile of AVX-512.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value, vector_of
from strop.compiler.expressions import LLVM_TYPES, Expression, emit_expression, flops, operands, split_bias
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.dot_product import DotProduct, FloatProduct, IntegerProduct

PANEL = 16
"""Output channels of a panel of packed weights."""

STEP = 4
"""Bytes of input channels a step consumes, of each pixel; a step's weights are this times PANEL bytes."""

_LINE = 64
_LONG = 12  # operations of an epilogue that is a loop


def step_count(run: int, itemsize: int) -> int:
    """Returns how many steps a run of so many channels of `itemsize` bytes takes."""
    return -(-run * itemsize // STEP)


@dataclass(frozen=True, slots=True)
class Extra:
    """An extra input of the epilogue: bytes from pixel to pixel and row to row of the tile; broadcast: one channel."""

    dtype: str
    pixel: int
    row: int
    broadcast: bool = False


@dataclass(frozen=True, slots=True)
class Tile:
    """What the code of a register tile depends on.

    rows, columns: output pixels; vectors: of output channels, of which the last has `lanes` (0: all). *_pixel, *_row:
    bytes between the tile's pixels. unroll: steps of one pass of the inner loop; is_one_pass: every run is exactly one
    pass; has_rest: runs are no multiple of it. taps: whether there is more than one. sets: of accumulators, which
    steps take in turn where one set is too few chains to hide latency. Prefetches: near: bytes of weights ahead, into
    L1 (0: none); far: cache lines a pass from `next` on into L2; soon: cache lines a pass from `soon` on into L1;
    early: what the epilogue needs, at the start. input_step: bytes between the steps of a pixel.
    """

    rows: int
    columns: int
    vectors: int
    input_pixel: int
    input_row: int
    output_pixel: int
    output_row: int
    epilogue: Expression
    channels: int = 0
    extras: tuple[Extra, ...] = ()
    output: str = "float32"
    accumulator: str = "float32"
    lanes: int = 0
    taps: bool = False
    unroll: int = 4
    is_one_pass: bool = False
    has_rest: bool = False
    sets: int = 1
    near: int = 0
    far: int = 0
    early: bool = False
    soon: int = 0
    input_step: int = STEP

    @functools.lru_cache(maxsize=256)  # noqa: B019  values, not instances, are what is kept
    def symbol(self, isa: Isa) -> str:
        """Returns the function's name: what one wants to read, and a digest of everything."""
        kind = "f32" if self.accumulator == "float32" else "u8s8"
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:12]
        return f"tile_{kind}_{isa.key}_{self.rows}x{self.columns}x{self.vectors}_{digest}"

    @functools.lru_cache(maxsize=64)  # noqa: B019  many layers want the same text
    def emit(self, isa: Isa) -> str:
        """Returns its code, a module of one function."""
        module = Module(isa)
        f = module.function(self.symbol(isa), ["ptr"] * (7 + len(self.extras)))
        _Emitter(f, self).run()
        return module.text()

    @staticmethod
    def numbers(channels: int, accumulator: str) -> int:
        """Returns the numbers a channel has: the expression's, what an integer starts with, one at least."""
        return max(1, channels + (accumulator == "int32"))


class Context:
    """What is the same for all tiles of a layer, in memory: taps (a table of byte offsets), counts, panel stride."""

    TAPS, TAP_COUNT, PASSES, REST, PANEL_BYTES = range(5)
    WORDS = 5


class _Emitter:
    def __init__(self, f: Function, tile: Tile) -> None:
        self.f, self.tile, self.isa = f, tile, f.isa
        self.input, self.weights, self.output, self.channels, context, self.next, self.soon = f.arguments[:7]
        self.extras = f.arguments[7:]
        self.context = [
            f.load("ptr" if word == Context.TAPS else "i64", context, 8 * word, align=8)
            for word in range(Context.WORDS)
        ]
        self.product: DotProduct = FloatProduct() if tile.accumulator == "float32" else IntegerProduct(f.isa)
        pixels = [(y, x) for y in range(tile.rows) for x in range(tile.columns)]
        self.places = [y * tile.input_row + x * tile.input_pixel for y, x in pixels]
        self.pixels = pixels
        is_float = tile.accumulator == "float32"
        self.bias, self.epilogue = split_bias(tile.epilogue) if is_float else (None, tile.epilogue)
        self.has_loop = flops(tile.epilogue) >= _LONG and len(pixels) > 1
        self.numbers = Tile.numbers(tile.channels, tile.accumulator)
        self.panels = -(-tile.vectors * f.isa.lanes // PANEL)

    def run(self) -> None:
        """Emits the tile: taps, each a run of passes; then the epilogue of every accumulator."""
        f, tile = self.f, self.tile
        count = len(self.pixels) * tile.vectors
        if self.has_loop:
            size = self.isa.vector_bytes
            self.stack = f.op("ptr", f"alloca [{count * size} x i8], align {size}")
        kind = self.isa.vector if tile.accumulator == "float32" else self.isa.integers
        accumulators = self.start() + [f.zero(kind)] * (count * (tile.sets - 1))
        weights = [self.weights]
        for _ in range(self.panels - 1):
            weights.append(f.offset(weights[-1], self.context[Context.PANEL_BYTES]))
        state = [*accumulators, *weights, self.next, self.soon]
        if tile.early:
            self.fetch_operands()
        if tile.taps:

            def tap(_: Number, carried: list[Value]) -> list[Value]:
                offset = f.load("i64", carried[-1], align=8)
                return [*self.run_of_steps(f.offset(self.input, offset), carried[:-1]), f.offset(carried[-1], 8)]

            state = f.loop(self.context[Context.TAP_COUNT], tap, [*state, self.context[Context.TAPS]])[:-1]
        else:
            state = self.run_of_steps(self.input, state)
        sums = state[:count]
        for extra in range(1, tile.sets):
            more = state[extra * count : (extra + 1) * count]
            sums = [self.product.add(f, a, b) for a, b in zip(sums, more, strict=True)]
        self.finish(sums)
        f.ret()

    def start(self) -> list[Value]:
        """Returns what the accumulators start with."""
        f, tile = self.f, self.tile
        if tile.accumulator == "float32":
            if self.bias is None:
                return [f.zero(self.isa.vector)] * (len(self.pixels) * tile.vectors)
            places = [self.channel_place(j, self.bias) for j in range(tile.vectors)]
            return [f.load(self.isa.vector, self.channels, place) for place in places] * len(self.pixels)
        first = [
            f.load(self.isa.integers, self.channels, self.channel_place(j, tile.channels)) for j in range(tile.vectors)
        ]
        return first * len(self.pixels)

    def fetch_operands(self) -> None:
        """Asks for what the epilogue will read, or else write, which would be waited for when all else is done."""
        f, tile = self.f, self.tile
        read = [
            (e.row, e.pixel, at, e.dtype) for e, at in zip(tile.extras, self.extras, strict=True) if not e.broadcast
        ]
        written = (tile.output_row, tile.output_pixel, self.output, tile.output)
        for row, pixel, pointer, dtype in read or [written]:
            for y, x in self.pixels:
                for line in range(0, tile.vectors * self.isa.lanes * np.dtype(dtype).itemsize, _LINE):
                    f.prefetch(pointer, y * row + x * pixel + line)

    def channel_place(self, vector: int, index: int) -> int:
        """Returns where the numbers of a vector of channels lie behind `channels`."""
        lane = vector * self.isa.lanes
        return (lane // PANEL * self.numbers + index) * 4 * PANEL + lane % PANEL * 4

    def run_of_steps(self, pixel: Value, state: list[Value]) -> list[Value]:
        """Emits one tap: passes of `unroll` steps, then single ones."""
        f, tile = self.f, self.tile

        def body(steps: int) -> Callable[[Number, list[Value]], list[Value]]:
            return lambda _, carried: self.steps(steps, carried[-1], carried[:-1])

        if tile.is_one_pass:
            return self.steps(tile.unroll, pixel, state)[:-1]
        carried = f.loop(self.context[Context.PASSES], body(tile.unroll), [*state, pixel], may_be_empty=tile.has_rest)
        if tile.has_rest:
            carried = f.loop(self.context[Context.REST], body(1), carried, may_be_empty=True)
        return carried[:-1]

    def steps(self, steps: int, pixel: Value, state: list[Value]) -> list[Value]:
        """Emits `steps` steps in a row; returns the state and the input moved behind them."""
        f, tile, isa = self.f, self.tile, self.isa
        sums, weights = state[: -self.panels - 2], state[-self.panels - 2 : -2]
        ahead, soon = state[-2:]
        kind = isa.vector if tile.accumulator == "float32" else isa.integers
        element = "float" if tile.accumulator == "float32" else "i32"
        count = len(self.pixels) * tile.vectors
        if tile.far and steps > 1:
            for line in range(tile.far):
                f.prefetch(ahead, _LINE * line, level=2)
            ahead = f.offset(ahead, _LINE * tile.far)
        if tile.soon and steps > 1:
            for line in range(tile.soon):
                f.prefetch(soon, _LINE * line)
            soon = f.offset(soon, _LINE * tile.soon)
        for step in range(steps):
            vectors = []
            for j in range(tile.vectors):
                lane = j * isa.lanes
                place = step * PANEL * STEP + lane % PANEL * STEP
                vectors.append(self.product.weights(f, f.load(kind, weights[lane // PANEL], place)))
            if tile.near:
                for panel in weights:
                    f.prefetch(panel, step * PANEL * STEP + tile.near)
            first = step % tile.sets * count
            if step and tile.input_step == STEP and 0 < tile.input_pixel < steps * STEP:
                # Pixels overlap: LLVM would keep what several of them read, and spill the sums instead.
                pixel = f.opaque(pixel)
            for p, place in enumerate(self.places):
                value = f.splat(f.load(element, pixel, place + step * tile.input_step), isa.lanes)
                prepared = self.product.pixel(f, value)
                for j, vector in enumerate(vectors):
                    at = first + p * tile.vectors + j
                    sums[at] = self.product.accumulate(f, sums[at], prepared, vector)
        moved = [f.offset(panel, steps * PANEL * STEP) for panel in weights]
        return [*sums, *moved, ahead, soon, f.offset(pixel, steps * tile.input_step)]

    def finish(self, sums: list[Value]) -> None:
        """Emits the epilogue and the stores; a long epilogue as a loop over pixels, which is shorter and as fast."""
        tile = self.tile
        channels = [
            [self.f.load(self.isa.vector, self.channels, self.channel_place(j, i)) for i in range(tile.channels)]
            for j in range(tile.vectors)
        ]
        if self.has_loop:
            self.finish_in_loop(sums, channels)
            return
        for j in range(tile.vectors):
            for p, (y, x) in enumerate(self.pixels):
                output = self.f.offset(self.output, y * tile.output_row + x * tile.output_pixel)
                extras = [
                    self.f.offset(pointer, y * extra.row + x * extra.pixel)
                    for extra, pointer in zip(tile.extras, self.extras, strict=True)
                ]
                self.store(sums[p * tile.vectors + j], j, channels[j], output, extras)

    def finish_in_loop(self, sums: list[Value], channels: list[list[Value]]) -> None:
        """Puts the sums on the stack and emits the epilogue once, for one pixel."""
        f, tile, size = self.f, self.tile, self.isa.vector_bytes
        stack = self.stack
        for place, value in enumerate(sums):
            f.store(value, stack, place * size, align=size)

        def pixel(row: Number, column: Number) -> None:
            at = f.offset(stack, f.mul(f.add(f.mul(row, tile.columns), column), tile.vectors * size))
            output = f.offset(self.output, f.add(f.mul(row, tile.output_row), f.mul(column, tile.output_pixel)))
            extras = [
                f.offset(pointer, f.add(f.mul(row, extra.row), f.mul(column, extra.pixel)))
                for extra, pointer in zip(tile.extras, self.extras, strict=True)
            ]
            for j in range(tile.vectors):
                self.store(f.load(sums[0].type, at, j * size, align=size), j, channels[j], output, extras)

        f.loop(tile.rows, lambda row, _: (f.loop(tile.columns, lambda column, _: pixel(row, column)), None)[1])

    def store(self, value: Value, vector: int, channels: list[Value], output: Value, extras: Sequence[Value]) -> None:
        """Finishes and stores one vector of a pixel that lies at `output`, and `extras` in the extra inputs."""
        f, tile, isa = self.f, self.tile, self.isa
        used = set(operands(self.epilogue))
        lanes = tile.lanes if tile.lanes and vector == tile.vectors - 1 else isa.lanes
        values = [value]
        for index, (extra, pointer) in enumerate(zip(tile.extras, extras, strict=True), start=1):
            values.append(self.extra(extra, pointer, vector, lanes) if index in used else Value("", ""))
        result = emit_expression(f, self.epilogue, values, channels, isa.lanes)
        item = 1 if tile.output in ("uint8", "int8") else 4
        f.store_lanes(result, output, vector * isa.lanes * item, lanes=lanes)

    def extra(self, extra: Extra, pointer: Value, vector: int, lanes: int) -> Value:
        """Loads a vector of an extra input."""
        f, kind = self.f, LLVM_TYPES[extra.dtype]
        if extra.broadcast:
            return f.splat(f.load(kind, pointer), self.isa.lanes)
        item = 1 if kind == "i8" else 4
        return f.load_lanes(vector_of(kind, self.isa.lanes), pointer, vector * self.isa.lanes * item, lanes=lanes)
