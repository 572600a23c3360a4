"""The microkernel of depthwise convolution: a few rows of a few neighbouring pixels, over a run of channels.

    void tile(ptr rows, i64 place, ptr weights, ptr output, i64 first, i64 count, i64 vectors, ptr sums, ptr inputs ...)

rows: a table of pointers to the input's rows at column 0, one for each row that the tile's window spans; so rows may
lie anywhere, in an image or in a ring. place: bytes added to each of them. vectors: how many whole vectors of channels.

For each vector of channels the sums of all pixels are in registers. A row of the input is read once for all rows of
the output that it belongs to: rows * columns * taps multiply-adds for about columns * (window's rows) loads. Columns
outside the image are left out when the code is built. Rows outside it are left out in the `partial` form, a tile of one
row that takes `count` rows of the filter from `first` on. sums: where each channel's results are added up, if they are.

Weights: [panel of 16 channels][filter's places, then the epilogue's vectors][16 lanes].
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value, vector_of
from strop.compiler.expressions import LLVM_TYPES, Expression, emit_expression, operands, split_bias
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.matrix_tile import PANEL, Extra


@dataclass(frozen=True, slots=True)
class DepthwiseTile:
    """What the code of a tile depends on.

    rows, columns: output pixels; kernel, strides, dilations: of the convolution; left, right: columns of its window
    that lie outside the image; *_pixel, *_row: bytes between pixels; numbers: vectors a channel that the epilogue
    reads; lanes: of a last, smaller vector of channels (0: there is none); partial: whether the filter's rows are
    given at run time; sums: whether results are added up.
    """

    rows: int
    columns: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    input_pixel: int
    output_pixel: int
    output_row: int
    epilogue: Expression
    numbers: int = 0
    extras: tuple[Extra, ...] = ()
    output: str = "float32"
    lanes: int = 0
    left: int = 0
    right: int = 0
    partial: bool = False
    sums: bool = False

    @property
    def span(self) -> int:
        """Rows of the input that its window spans."""
        return (self.rows - 1) * self.strides[0] + (self.kernel[0] - 1) * self.dilations[0] + 1

    @property
    def used_rows(self) -> tuple[int, ...]:
        """The rows of the window that a place of the filter falls on."""
        down, far = self.strides[0], self.dilations[0]
        return tuple(sorted({y * down + u * far for y in range(self.rows) for u in range(self.kernel[0])}))

    def symbol(self, isa: Isa) -> str:
        """Returns the function's name: what one wants to read, and a digest of everything."""
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:12]
        kernel = "x".join(map(str, self.kernel))
        return f"depthwise_tile_f32_{isa.key}_{kernel}_{self.rows}x{self.columns}{'p' * self.partial}_{digest}"

    def emit(self, isa: Isa) -> str:
        """Returns its code, a module of one function."""
        module = Module(isa)
        kinds = ["ptr", "i64", "ptr", "ptr", "i64", "i64", "i64", "ptr"] + ["ptr"] * len(self.extras)
        f = module.function(self.symbol(isa), kinds)
        _Emitter(f, self).run()
        return module.text()


def panel_bytes(taps: int, numbers: int) -> int:
    """Returns the bytes of a panel of packed weights."""
    return (taps + numbers) * PANEL * 4


def pack_depthwise(weights: np.ndarray, channels: Sequence[np.ndarray]) -> np.ndarray:
    """Returns filters (channels, 1, height, width) and per-channel vectors as tiles read them."""
    count = weights.shape[0]
    rows = [*weights.reshape(count, -1).T, *(np.broadcast_to(np.ravel(vector), (count,)) for vector in channels)]
    whole = np.zeros((len(rows), -(-count // PANEL) * PANEL), np.float32)
    whole[:, :count] = np.stack(rows)
    return np.ascontiguousarray(whole.reshape(len(rows), -1, PANEL).transpose(1, 0, 2)).reshape(-1)


class _Emitter:
    def __init__(self, f: Function, tile: DepthwiseTile) -> None:
        self.f, self.tile, self.isa = f, tile, f.isa
        self.rows, self.place, self.weights, self.output, self.first, self.count, self.vectors = f.arguments[:7]
        self.sums, self.extras = f.arguments[7], f.arguments[8:]
        self.taps = tile.kernel[0] * tile.kernel[1]
        self.bias, self.epilogue = split_bias(tile.epilogue)

    def run(self) -> None:
        """Emits the loop over vectors of channels, then the smaller one."""
        f, tile = self.f, self.tile
        f.loop(self.vectors, lambda index, _: self.vector(index, self.isa.lanes), may_be_empty=True)
        if tile.lanes:
            self.vector(self.vectors, tile.lanes)
        f.ret()

    def vector(self, index: Number, lanes: int) -> None:
        """Emits all pixels of one vector of channels."""
        f, isa = self.f, self.isa
        several = PANEL // isa.lanes
        panel, part = f.divide(index, several), f.remainder(index, several)
        weights = f.offset(self.weights, f.mul(panel, panel_bytes(self.taps, self.tile.numbers)))
        weights = f.offset(weights, f.mul(part, isa.vector_bytes))
        at = f.mul(index, isa.vector_bytes)
        start = f.zero(isa.vector)
        if self.bias is not None:
            start = f.load(isa.vector, weights, (self.taps + self.bias) * PANEL * 4)
        starts = [start] * (self.tile.rows * self.tile.columns)
        sums = (
            self.some_rows(weights, at, starts, lanes)
            if self.tile.partial
            else self.all_rows(weights, at, starts, lanes)
        )
        self.finish(sums, weights, index, lanes)

    def all_rows(self, weights: Value, at: Number, sums: list[Value], lanes: int) -> list[Value]:
        """Adds the whole window."""
        f, tile = self.f, self.tile
        place = f.add(self.place, at)
        for row in tile.used_rows:
            source = f.offset(f.load("ptr", self.rows, 8 * row, align=8), place)
            pairs = []
            for y in range(tile.rows):
                u, beside = divmod(row - y * tile.strides[0], tile.dilations[0])
                if not beside and 0 <= u < tile.kernel[0]:
                    pairs.append((y, u))
            taps = {
                (u, v): f.load(self.isa.vector, weights, (u * tile.kernel[1] + v) * PANEL * 4)
                for _, u in pairs
                for v in range(tile.kernel[1])
            }
            self.add_row(source, pairs, taps, sums, lanes)
        return sums

    def some_rows(self, weights: Value, at: Number, sums: list[Value], lanes: int) -> list[Value]:
        """Adds `count` rows of the filter from `first` on."""
        f, tile = self.f, self.tile
        line = tile.kernel[1] * PANEL * 4
        start = f.offset(weights, f.mul(self.first, line))
        table = f.offset(self.rows, f.mul(self.first, 8 * tile.dilations[0]))
        place = f.add(self.place, at)

        def row(_: Number, carried: list[Value]) -> list[Value]:
            sums, (table, here) = carried[:-2], carried[-2:]
            source = f.offset(f.load("ptr", table, align=8), place)
            taps = {(0, v): f.load(self.isa.vector, here, v * PANEL * 4) for v in range(tile.kernel[1])}
            self.add_row(source, [(0, 0)], taps, sums, lanes)
            return [*sums, f.offset(table, 8 * tile.dilations[0]), f.offset(here, line)]

        return f.loop(self.count, row, [*sums, table, start], may_be_empty=True)[:-2]

    def add_row(
        self,
        source: Value,
        pairs: Sequence[tuple[int, int]],
        taps: dict[tuple[int, int], Value],
        sums: list[Value],
        lanes: int,
    ) -> None:
        """Adds one row of the input, whose window begins at `source`, to the output rows it belongs to.

        pairs: row of the output, row of the filter.
        """
        f, tile = self.f, self.tile
        across, far = tile.strides[1], tile.dilations[1]
        width = (tile.columns - 1) * across + (tile.kernel[1] - 1) * far + 1
        for column in range(tile.left, width - tile.right):
            places = []
            for p in range(tile.columns):
                v, beside = divmod(column - p * across, far)
                if not beside and 0 <= v < tile.kernel[1]:
                    places.append((p, v))
            if not places:
                continue
            value = f.load_lanes(self.isa.vector, source, column * tile.input_pixel, lanes=lanes)
            for y, u in pairs:
                for p, v in places:
                    at = y * tile.columns + p
                    sums[at] = f.fma(value, taps[u, v], sums[at])

    def finish(self, sums: list[Value], weights: Value, index: Number, lanes: int) -> None:
        """Emits the epilogue and the stores."""
        f, tile, isa = self.f, self.tile, self.isa
        used = set(operands(self.epilogue))
        item = 1 if tile.output in ("uint8", "int8") else 4
        output = f.offset(self.output, f.mul(index, isa.lanes * item))
        pointers = []
        for extra, pointer in zip(tile.extras, self.extras, strict=True):
            size = 0 if extra.broadcast else np.dtype(extra.dtype).itemsize
            pointers.append(f.offset(pointer, f.mul(index, isa.lanes * size)))
        channels = [f.load(isa.vector, weights, (self.taps + i) * PANEL * 4) for i in range(tile.numbers)]
        total = f.zero(isa.vector)
        for y in range(tile.rows):
            for x in range(tile.columns):
                values = [sums[y * tile.columns + x]]
                for number, (extra, pointer) in enumerate(zip(tile.extras, pointers, strict=True), start=1):
                    is_read = number in used
                    place = y * extra.row + x * extra.pixel
                    values.append(self.extra(extra, pointer, place, lanes) if is_read else Value("", ""))
                result = emit_expression(f, self.epilogue, values, channels, isa.lanes)
                f.store_lanes(result, output, y * tile.output_row + x * tile.output_pixel, lanes=lanes)
                if tile.sums:
                    total = f.fadd(total, result)
        if tile.sums:
            target = f.offset(self.sums, f.mul(index, isa.vector_bytes))
            f.store_lanes(f.fadd(f.load_lanes(isa.vector, target, lanes=lanes), total), target, lanes=lanes)

    def extra(self, extra: Extra, pointer: Value, place: int, lanes: int) -> Value:
        """Loads a vector of an extra input."""
        f, kind = self.f, LLVM_TYPES[extra.dtype]
        if extra.broadcast:
            return f.splat(f.load(kind, pointer, place), self.isa.lanes)
        return f.load_lanes(vector_of(kind, self.isa.lanes), pointer, place, lanes=lanes)
