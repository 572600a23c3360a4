"""The microkernel of depthwise convolution on bytes: rows x columns output pixels, over a run of channels.

    void tile(ptr input, ptr weights, ptr output, i64 vectors, ptr extra inputs ...)

input: the first row and column of the tile's window; vectors: how many whole vectors of channels.

Four rows of the window are interleaved, so that every 32-bit lane holds four bytes of one channel, one below the other,
and one instruction (`dot_product.py`) adds four products to a sum. A column is interleaved once for all places of the
filter it falls on, in all rows of the output: two rows of a 3x3 filter take 6 multiply-adds a column for two
pixels. A place that an output row's filter does not reach has the weight zero.

Weights: [panel of 16 channels][words, then what sums start with, then the epilogue's vectors][16 lanes]. The words of
tiles of other heights lie one after the other; `first` is where this tile's begin.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value, constant, vector_of
from strop.compiler.expressions import LLVM_TYPES, Expression, emit_expression, operands
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.dot_product import IntegerProduct
from strop.compiler.kernels.matrix_tile import PANEL, Extra

TOGETHER: Final = 4
"""Rows that one multiply-add takes."""

Word = tuple[int, int, int]
"""A multiply-add of a tile: group of rows, row of the output, column of the filter."""


@dataclass(frozen=True)
class Window:
    """What `rows` rows of the output read, interleaved four by four, and the words of weights that go with it.

    kernel, strides, dilations: of the convolution.
    """

    rows: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]

    @functools.cached_property
    def groups(self) -> list[list[int]]:
        """The window's rows that a place of the filter falls on, four by four."""
        down, far = self.strides[0], self.dilations[0]
        used = sorted({y * down + u * far for y in range(self.rows) for u in range(self.kernel[0])})
        return [used[first : first + TOGETHER] for first in range(0, len(used), TOGETHER)]

    @functools.cached_property
    def words(self) -> dict[Word, list[int | None]]:
        """The filter's row that each of a group's rows is, for a row of the output; words of no row are left out."""
        found: dict[Word, list[int | None]] = {}
        for group, rows in enumerate(self.groups):
            for y in range(self.rows):
                below = [divmod(row - y * self.strides[0], self.dilations[0]) for row in rows]
                places = [u if not beside and 0 <= u < self.kernel[0] else None for u, beside in below]
                if any(place is not None for place in places):
                    found |= {(group, y, v): places for v in range(self.kernel[1])}
        return found

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """Returns the words of filters (channels, 1, height, width), as int32: words x channels."""
        packed = np.zeros((len(self.words), weights.shape[0], TOGETHER), np.int8)
        for index, ((_, _, v), places) in enumerate(self.words.items()):
            for byte, u in enumerate(places):
                if u is not None:
                    packed[index, :, byte] = weights[:, 0, u, v]
        return packed.view("<i4")[..., 0]


@dataclass(frozen=True, slots=True)
class DepthwiseBytesTile:
    """What the code of a tile depends on.

    window, columns: of the output pixels; *_pixel, *_row: bytes between pixels; first: the words before this window's;
    words: those of all windows; numbers: vectors a channel that the epilogue reads; lanes: of a last, smaller vector of
    channels (0: there is none).
    """

    window: Window
    columns: int
    input_pixel: int
    input_row: int
    output_pixel: int
    output_row: int
    epilogue: Expression
    first: int
    words: int
    numbers: int = 0
    extras: tuple[Extra, ...] = ()
    output: str = "uint8"
    lanes: int = 0

    def symbol(self, isa: Isa) -> str:
        """Returns the function's name: what one wants to read, and a digest of everything."""
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:12]
        kernel = "x".join(map(str, self.window.kernel))
        return f"depthwise_tile_u8s8_{isa.key}_{kernel}_{self.window.rows}x{self.columns}_{digest}"

    def emit(self, isa: Isa) -> str:
        """Returns its code, a module of one function."""
        module = Module(isa)
        f = module.function(self.symbol(isa), ["ptr", "ptr", "ptr", "i64"] + ["ptr"] * len(self.extras))
        _Emitter(f, self).run()
        return module.text()


def row_bytes(words: int, numbers: int) -> int:
    """Returns the bytes of a panel of packed weights."""
    return (words + 1 + numbers) * PANEL * 4


class _Emitter:
    def __init__(self, f: Function, tile: DepthwiseBytesTile) -> None:
        self.f, self.tile, self.isa = f, tile, f.isa
        self.input, self.weights, self.output, self.vectors = f.arguments[:4]
        self.extras = f.arguments[4:]
        self.product = IntegerProduct(f.isa)

    def run(self) -> None:
        """Emits the loop over vectors of channels, then the smaller one."""
        f, tile = self.f, self.tile
        f.loop(self.vectors, lambda index, _: self.vector(index, self.isa.lanes), may_be_empty=True)
        if tile.lanes:
            self.vector(self.vectors, tile.lanes)
        f.ret()

    def vector(self, index: Number, lanes: int) -> None:
        """Emits all pixels of one vector of channels."""
        f, tile, isa = self.f, self.tile, self.isa
        several = PANEL // isa.lanes
        panel, part = f.divide(index, several), f.remainder(index, several)
        weights = f.offset(self.weights, f.mul(panel, row_bytes(tile.words, tile.numbers)))
        weights = f.offset(weights, f.mul(part, isa.vector_bytes))
        window = tile.window
        start = f.load(isa.integers, weights, tile.words * PANEL * 4)
        sums = [start] * (window.rows * tile.columns)
        taps = {
            word: self.product.weights(f, f.load(isa.integers, weights, number * PANEL * 4))
            for number, word in enumerate(window.words, tile.first)
        }
        source = f.offset(self.input, f.mul(index, isa.lanes))
        across, far = window.strides[1], window.dilations[1]
        for column in range((tile.columns - 1) * across + (window.kernel[1] - 1) * far + 1):
            places = []
            for x in range(tile.columns):
                v, beside = divmod(column - x * across, far)
                if not beside and 0 <= v < window.kernel[1]:
                    places.append((x, v))
            if not places:
                continue
            for group, rows in enumerate(window.groups):
                pixel = self.product.pixel(f, self.interleaved(source, rows, column, lanes))
                for y in range(window.rows):
                    for x, v in places:
                        if (group, y, v) in taps:
                            at = y * tile.columns + x
                            sums[at] = self.product.accumulate(f, sums[at], pixel, taps[group, y, v])
        self.finish(sums, weights, index, lanes)

    def interleaved(self, source: Value, rows: list[int], column: int, lanes: int) -> Value:
        """Returns up to four rows of a column, as 32-bit lanes that hold a byte of each."""
        f, tile, isa = self.f, self.tile, self.isa
        bytes_, words = vector_of("i8", isa.lanes), vector_of("i32", isa.lanes // 4)
        loaded = []
        for row in rows:
            value = f.load_lanes(bytes_, source, row * tile.input_row + column * tile.input_pixel, lanes=lanes)
            # Four channels of a row move together first: one shuffle of words, then one of bytes in each word's place.
            loaded.append(f.convert("bitcast", value, words if isa.lanes > 4 else "i32"))
        if isa.lanes == 4:
            whole = constant("<4 x i32>", 0)
            for place, value in enumerate(loaded):
                whole = f.op("<4 x i32>", f"insertelement <4 x i32> {whole.text}, i32 {value.text}, i64 {place}")
        else:
            each = isa.lanes // 4
            loaded += [loaded[-1]] * (TOGETHER - len(loaded))  # any bytes do, as their weights are zero
            upper, lower = (f.shuffle(loaded[i], loaded[i + 1], range(2 * each)) for i in (0, 2))
            whole = f.shuffle(upper, lower, range(4 * each))
            whole = f.shuffle(whole, whole, [row * each + word for word in range(each) for row in range(TOGETHER)])
        mixed = f.convert("bitcast", whole, vector_of("i8", 4 * isa.lanes))
        order = [
            16 * block + 4 * row + byte for block in range(isa.lanes // 4) for byte in range(4) for row in range(4)
        ]
        return f.convert("bitcast", f.shuffle(mixed, mixed, order), isa.integers)

    def finish(self, sums: list[Value], weights: Value, index: Number, lanes: int) -> None:
        """Emits the epilogue and the stores."""
        f, tile, isa = self.f, self.tile, self.isa
        used = set(operands(tile.epilogue))
        output = f.offset(self.output, f.mul(index, isa.lanes * np.dtype(tile.output).itemsize))
        pointers = []
        for extra, pointer in zip(tile.extras, self.extras, strict=True):
            size = 0 if extra.broadcast else np.dtype(extra.dtype).itemsize
            pointers.append(f.offset(pointer, f.mul(index, isa.lanes * size)))
        channels = [f.load(isa.vector, weights, (tile.words + 1 + i) * PANEL * 4) for i in range(tile.numbers)]
        for y in range(tile.window.rows):
            for x in range(tile.columns):
                values = [sums[y * tile.columns + x]]
                for number, (extra, pointer) in enumerate(zip(tile.extras, pointers, strict=True), start=1):
                    place = y * extra.row + x * extra.pixel
                    is_read = number in used
                    values.append(self.extra(extra, pointer, place, lanes) if is_read else Value("", ""))
                result = emit_expression(f, tile.epilogue, values, channels, isa.lanes)
                f.store_lanes(result, output, y * tile.output_row + x * tile.output_pixel, lanes=lanes)

    def extra(self, extra: Extra, pointer: Value, place: int, lanes: int) -> Value:
        """Loads a vector of an extra input."""
        f, kind = self.f, LLVM_TYPES[extra.dtype]
        if extra.broadcast:
            return f.splat(f.load(kind, pointer, place), self.isa.lanes)
        return f.load_lanes(vector_of(kind, self.isa.lanes), pointer, place, lanes=lanes)
