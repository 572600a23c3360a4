"""The input transform of Winograd convolution: V = B^T x B for a strip of neighbouring tiles, all channels.

One function serves all layers; what differs is given at run time (`Word`). For each vector of channels it goes down the
columns first, into a buffer [column][row][lane] that stays in L1, so that the two columns that neighbours share are
transformed once, then along the rows of each tile. What lies outside the image is zero.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, auto

from strop.compiler.emit import Function, Module, Number, Value
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.winograd_transforms import emit_input_transform


class Word(IntEnum):
    """The function's arguments: pointers first, then numbers."""

    SOURCE = 0  # the image's pixel (0, 0)
    V = auto()  # the strip's first tile in V
    BUFFER = auto()  # at least (size * tiles + 2) * side vectors
    TOP = auto()  # the tiles' first row in the image; negative (wrapped round) above it
    ZEROS = auto()  # columns left of the image
    FIRST = auto()  # the first column inside the image
    INSIDE = auto()  # columns inside the image, at least one
    BEHIND = auto()  # columns right of the image
    TILES = auto()
    HEIGHT = auto()  # of the image
    ROW = auto()  # bytes from row to row of the image
    PIXEL = auto()  # bytes from pixel to pixel
    VECTORS = auto()  # whole vectors of channels
    PLACE = auto()  # bytes from place to place of a tile in V
    TILE = auto()  # bytes from tile to tile in V


_LINE = 64
_POINTERS = (Word.SOURCE, Word.V, Word.BUFFER)


@dataclass(frozen=True, slots=True)
class InputTransform:
    """size: of F(size x size, 3x3); rest: channels of a last vector that is not whole, 0 where there is none."""

    size: int
    rest: int

    def symbol(self, isa: Isa) -> str:
        """Returns the function's name, its full description."""
        return f"winograd_input_f32_{isa.key}_m{self.size}r{self.rest}"

    def call(self, f: Function, words: Mapping[Word, Number]) -> None:
        """Calls it."""
        arguments = [words[word] for word in Word]
        f.call("void", self.symbol(f.isa), *(f.number(word) for word in arguments))

    @functools.lru_cache(maxsize=16)  # noqa: B019  many layers want the same text
    def emit(self, isa: Isa) -> str:
        """Returns its code, a module of one function."""
        module = Module(isa)
        f = module.function(self.symbol(isa), ["ptr" if word in _POINTERS else "i64" for word in Word])
        _Emitter(f, self).run()
        f.ret()
        return module.text()


class _Emitter:
    def __init__(self, f: Function, transform: InputTransform) -> None:
        self.f, self.isa, self.rest = f, f.isa, transform.rest
        self.size, self.side = transform.size, transform.size + 2
        self.words = {word: f.arguments[word] for word in Word}
        self.column = self.side * f.isa.vector_bytes

    def run(self) -> None:
        """Writes the loop over vectors of channels."""
        f, words = self.f, self.words
        first = f.offset(words[Word.SOURCE], f.mul(words[Word.FIRST], words[Word.PIXEL]))
        lines: list[Value] = []
        masks: list[Value] = []
        for row in range(self.side):
            line = f.number(f.add(words[Word.TOP], row))
            inside = f.compare("ult", line, words[Word.HEIGHT])
            line = f.select(inside, line, f.number(0))
            lines.append(f.offset(first, f.mul(line, words[Word.ROW])))
            masks.append(f.convert("sext", inside, "i32"))
        every = masks[0]
        for mask in masks[1:]:
            every = f.binary("and", every, mask)
        is_inside = f.compare("ne", every, Value("0", "i32"))

        def vector(index: Number, lanes: int) -> None:
            by = f.mul(index, self.isa.vector_bytes)
            self.columns([f.offset(line, by) for line in lines], masks, is_inside, lanes)
            self.tiles(f.offset(words[Word.V], by))

        f.loop(words[Word.VECTORS], lambda index, _: vector(index, self.isa.lanes), may_be_empty=True)
        if self.rest:
            vector(words[Word.VECTORS], self.rest)

    def columns(self, lines: list[Value], masks: list[Value], is_inside: Value, lanes: int) -> None:
        """Writes the transform of all columns of the strip into the buffer."""
        f, words, vector = self.f, self.words, self.isa.vector_bytes
        buffer = words[Word.BUFFER]

        def clear(start: Value, columns: Number) -> None:
            count = f.mul(columns, self.side)
            zero = f.zero(self.isa.vector)
            f.loop(count, lambda index, _: f.store(zero, start, f.mul(index, vector)), may_be_empty=True)

        clear(buffer, words[Word.ZEROS])
        middle = f.offset(buffer, f.mul(words[Word.ZEROS], self.column))
        clear(f.offset(middle, f.mul(words[Word.INSIDE], self.column)), words[Word.BEHIND])

        def transform(spread: list[Value] | None) -> None:
            def column(_: Number, carried: list[Value]) -> list[Value]:
                pixels = []
                for row, line in enumerate(carried[1:]):
                    value = f.load_lanes(self.isa.vector, line, lanes=lanes)
                    if spread:
                        bits = f.convert("bitcast", value, self.isa.integers)
                        value = f.convert("bitcast", f.binary("and", bits, spread[row]), self.isa.vector)
                    pixels.append(value)
                    f.prefetch(line, _LINE)  # for the next vector of channels
                for row, value in enumerate(emit_input_transform(f, pixels)):
                    f.store(value, carried[0], row * vector)
                moved = [f.offset(line, words[Word.PIXEL]) for line in carried[1:]]
                return [f.offset(carried[0], self.column), *moved]

            f.loop(words[Word.INSIDE], column, [middle, *lines])

        f.when(is_inside, lambda: transform(None))
        is_edge = f.op("i1", f"xor i1 {is_inside.text}, true")
        f.when(is_edge, lambda: transform([f.splat(mask, self.isa.lanes) for mask in masks]))

    def tiles(self, target: Value) -> None:
        """Writes the transform of the rows of all tiles, from the buffer into V."""
        f, words, vector = self.f, self.words, self.isa.vector_bytes
        places = [f.mul(words[Word.PLACE], x) for x in range(self.side)]

        def tile(_: Number, carried: list[Value]) -> list[Value]:
            def row(_: Number, inner: list[Value]) -> list[Value]:
                columns = [f.load(self.isa.vector, inner[0], x * self.column) for x in range(self.side)]
                ahead = f.offset(inner[1], words[Word.TILE])
                for place in places:
                    f.prefetch(ahead, place)  # so that the stores need not wait for their lines
                for place, value in zip(places, emit_input_transform(f, columns), strict=True):
                    f.store(value, inner[1], place)
                return [f.offset(inner[0], vector), f.offset(inner[1], f.mul(words[Word.PLACE], self.side))]

            f.loop(self.side, row, carried)
            return [f.offset(carried[0], self.size * self.column), f.offset(carried[1], words[Word.TILE])]

        f.loop(words[Word.TILES], tile, [words[Word.BUFFER], target])
