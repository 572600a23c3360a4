"""The output transform of Winograd convolution: y = A^T M A, the epilogue and the stores, for a strip of tiles.

A function of its own: whole tiles stay in registers; tiles that hang over the output's edge, and the last vector of
channels where it is not whole, go through a spare tile of memory, from which only what is inside is finished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, auto

from strop.compiler.emit import Function, Module, Number, Value
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Convolution
from strop.compiler.kernels.epilogue import Cursor, Epilogue
from strop.compiler.kernels.record import epilogue_arguments
from strop.compiler.kernels.winograd_transforms import emit_output_transform


class Word(IntEnum):
    """The function's first arguments; behind them come the epilogue's."""

    M = 0  # the strip's first tile in M
    SPARE = auto()  # (side + size) * size vectors
    WHOLE = auto()  # tiles that are inside the output
    PARTIAL = auto()  # tiles behind them that hang over
    ROWS = auto()  # rows of these tiles that are inside
    COLUMNS = auto()  # columns of the last tile that are inside
    CHANNEL = auto()  # the first channel
    VECTORS = auto()  # whole vectors of channels
    REST = auto()  # 1 where the last vector, the one that is not whole, follows, else 0


_POINTERS = (Word.M, Word.SPARE)


@dataclass(frozen=True, slots=True)
class OutputTransform:
    """What its code depends on; m_place, m_row: bytes from place to place and from tile to tile in M."""

    problem: Convolution
    size: int
    m_place: int
    m_row: int

    def symbol(self, isa: Isa) -> str:
        """Returns the function's name, its full description."""
        return f"winograd_output_f32_{isa.key}_m{self.size}_{self.m_place}_{self.m_row}_{self.problem.digest}"

    def call(self, f: Function, words: Mapping[Word, Number], cursor: Cursor, channels: Sequence[Value]) -> None:
        """Calls it; cursor: at the strip's first pixel."""
        numbers = [f.number(words[word]) for word in Word]
        f.call("void", self.symbol(f.isa), *numbers, *cursor, *channels)

    def emit(self, isa: Isa) -> str:
        """Returns its code, a module of one function."""
        module = Module(isa)
        names = epilogue_arguments(self.problem)
        kinds = ["ptr" if word in _POINTERS else "i64" for word in Word]
        f = module.function(self.symbol(isa), [*kinds, *["ptr"] * len(names)])
        record = dict(zip(names, f.arguments[len(Word) :], strict=True))
        _Emitter(f, self, Epilogue(f, self.problem, record)).run()
        f.ret()
        return module.text()


class _Emitter:
    def __init__(self, f: Function, transform: OutputTransform, epilogue: Epilogue) -> None:
        self.f, self.isa, self.transform, self.epilogue = f, f.isa, transform, epilogue
        self.size, self.side = transform.size, transform.size + 2
        self.words = {word: f.arguments[word] for word in Word}

    def run(self) -> None:
        """Writes the loops over whole tiles, then over those that hang over."""
        f, words, lanes = self.f, self.words, self.isa.lanes
        rest = self.transform.problem.output.shape[1] % lanes

        def whole(index: Number, _: list[Value]) -> None:
            m, cursor = self.tile(index)
            f.loop(words[Word.VECTORS], lambda n, _: self.inside(m, cursor, n), may_be_empty=True)
            if rest:
                last = words[Word.VECTORS]
                f.loop(
                    words[Word.REST],
                    lambda _, __: self.part(m, cursor, last, rest, self.size, self.size),
                    may_be_empty=True,
                )

        def partial(index: Number, _: list[Value]) -> None:
            m, cursor = self.tile(f.add(words[Word.WHOLE], index))
            is_last = f.compare("eq", f.number(index), f.number(f.sub(words[Word.PARTIAL], 1)))
            columns = f.select(is_last, words[Word.COLUMNS], f.number(self.size))

            def vector(number: Number, count: int) -> None:
                self.part(m, cursor, number, count, words[Word.ROWS], columns)

            f.loop(words[Word.VECTORS], lambda n, _: vector(n, lanes), may_be_empty=True)
            if rest:
                f.loop(words[Word.REST], lambda _, __: vector(words[Word.VECTORS], rest), may_be_empty=True)

        f.loop(words[Word.WHOLE], whole, may_be_empty=True)
        f.loop(words[Word.PARTIAL], partial, may_be_empty=True)

    def tile(self, index: Number) -> tuple[Value, Cursor]:
        """Returns where a tile of the strip lies in M and in the output."""
        f = self.f
        m = f.offset(self.words[Word.M], f.mul(index, self.transform.m_row))
        return m, self.epilogue.move(self.epilogue.start, 3, f.mul(index, self.size))

    def channel(self, number: Number) -> Number:
        """Returns the first channel of a vector."""
        return self.f.add(self.words[Word.CHANNEL], self.f.mul(number, self.isa.lanes))

    def inside(self, m: Value, cursor: Cursor, number: Number) -> None:
        """Writes a whole tile of a whole vector, in registers throughout."""
        f, side = self.f, self.side
        m = f.offset(m, f.mul(number, self.isa.vector_bytes))
        lines = [
            emit_output_transform(
                f, [f.load(self.isa.vector, m, (y * side + x) * self.transform.m_place) for x in range(side)]
            )
            for y in range(side)
        ]
        channel = self.channel(number)
        following = self.epilogue.move(self.epilogue.move(cursor, 3, self.size), 1, channel)
        for x in range(self.size):  # so that the next tile's stores need not wait for their lines
            column = self.epilogue.move(following, 3, x)
            for y in range(self.size):
                f.prefetch(self.epilogue.move(column, 2, y)[0])
        for x in range(self.size):
            column = self.epilogue.move(cursor, 3, x)
            for y, value in enumerate(emit_output_transform(f, [line[x] for line in lines])):
                self.epilogue.store(self.epilogue.move(column, 2, y), channel, [value], [self.isa.lanes])

    def part(self, m: Value, cursor: Cursor, number: Number, lanes: int, rows: Number, columns: Number) -> None:
        """Writes the first `rows` and `columns` of a tile and the first `lanes` channels of a vector."""
        f, isa, size, side = self.f, self.isa, self.size, self.side
        vector, place = isa.vector_bytes, self.transform.m_place
        spare = self.words[Word.SPARE]
        results = f.offset(spare, side * size * vector)

        def across(_: Number, carried: list[Value]) -> list[Value]:
            line = [f.load(isa.vector, carried[0], x * place) for x in range(side)]
            for x, value in enumerate(emit_output_transform(f, line)):
                f.store(value, carried[1], x * vector)
            return [f.offset(carried[0], side * place), f.offset(carried[1], size * vector)]

        def down(_: Number, carried: list[Value]) -> list[Value]:
            line = [f.load(isa.vector, carried[0], y * size * vector) for y in range(side)]
            for y, value in enumerate(emit_output_transform(f, line)):
                f.store(value, carried[0], (side + y) * size * vector)
            return [f.offset(carried[0], vector)]

        f.loop(side, across, [f.offset(m, f.mul(number, vector)), spare])
        f.loop(size, down, [spare])
        channel = self.channel(number)

        def row(y: Number, _: list[Value]) -> None:
            line, target = f.offset(results, f.mul(y, size * vector)), self.epilogue.move(cursor, 2, y)

            def pixel(x: Number, _: list[Value]) -> None:
                value = f.load(isa.vector, line, f.mul(x, vector))
                self.epilogue.store(self.epilogue.move(target, 3, x), channel, [value], [lanes])

            f.loop(columns, pixel)

        f.loop(rows, row)
