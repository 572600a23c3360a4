"""The output transform of Winograd convolution: y = A^T M A, the epilogue and the stores, for a strip of tiles.

A function of its own: whole tiles stay in registers; tiles that hang over the output's edge, and the last vector of
channels where it is not whole, go through a spare tile of memory, from which only what is inside is finished.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, auto

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value
from strop.compiler.expressions import Expression
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Convolution, Problem
from strop.compiler.kernels.epilogue import Cursor, Epilogue
from strop.compiler.kernels.record import epilogue_arguments
from strop.compiler.kernels.strided import Strided
from strop.compiler.kernels.winograd_transforms import emit_output_transform
from strop.compiler.layouts import Layout


class Word(IntEnum):
    """The function's first arguments; behind them the steps of what the epilogue touches, and its own arguments."""

    M = 0  # the strip's first tile in M
    SPARE = auto()  # (side + size) * size vectors
    WHOLE = auto()  # tiles that are inside the output
    PARTIAL = auto()  # tiles behind them that hang over
    ROWS = auto()  # rows of these tiles that are inside
    COLUMNS = auto()  # columns of the last tile that are inside
    CHANNEL = auto()  # the first channel
    VECTORS = auto()  # whole vectors of channels
    PLACE = auto()  # bytes from place to place in M
    REST = auto()  # 1 where the last vector, the one that is not whole, follows, else 0


_POINTERS = (Word.M, Word.SPARE)


@dataclass(frozen=True, slots=True)
class Operand:
    """What the epilogue writes or reads: its type, and whether one channel of it serves all."""

    dtype: str
    is_broadcast: bool


@dataclass(frozen=True, slots=True)
class OutputTransform:
    """What its code depends on, the same for many layers.

    size: of F(size x size, 3x3); m_row: bytes from tile to tile in M; rest: channels of a last vector that is not
    whole; operands: the output, then the epilogue's inputs; channels: how many per-channel vectors it reads.
    """

    size: int
    m_row: int
    rest: int
    epilogue: Expression
    operands: tuple[Operand, ...]
    channels: int

    @classmethod
    def of(cls, problem: Convolution, size: int, m_row: int, isa: Isa) -> OutputTransform:
        """Returns the transform of a convolution's output."""
        layouts = (problem.output, *problem.inputs[1:])
        many = problem.output.shape[1] > 1
        operands = (
            Operand(layout.dtype, many and (layout.shape[1] == 1 or layout.strides[1] == 0)) for layout in layouts
        )
        rest = problem.output.shape[1] % isa.lanes
        return cls(size, m_row, rest, problem.epilogue, tuple(operands), problem.channels)

    def symbol(self, isa: Isa) -> str:
        """Returns the function's name: what one wants to read, and a digest of everything."""
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:12]
        return f"winograd_output_f32_{isa.key}_m{self.size}r{self.rest}_{digest}"

    def call(
        self,
        f: Function,
        words: Mapping[Word, Number],
        steps: Sequence[tuple[Number, Number]],
        cursor: Cursor,
        channels: Sequence[Value],
    ) -> None:
        """Calls it; steps: bytes from row to row and pixel to pixel of each operand; cursor: at the strip's start."""
        numbers = [f.number(words[word]) for word in Word]
        numbers += [f.number(step) for pair in steps for step in pair]
        f.call("void", self.symbol(f.isa), *numbers, *cursor, *channels)

    @functools.lru_cache(maxsize=16)  # noqa: B019  many layers want the same text
    def emit(self, isa: Isa) -> str:
        """Returns its code, a module of one function."""
        module = Module(isa)
        problem = self._any_problem(isa)
        names = epilogue_arguments(problem)
        kinds = ["ptr" if word in _POINTERS else "i64" for word in Word] + ["i64", "i64"] * len(self.operands)
        f = module.function(self.symbol(isa), [*kinds, *["ptr"] * len(names)])
        record = dict(zip(names, f.arguments[len(kinds) :], strict=True))
        numbers = f.arguments[len(Word) : len(kinds)]
        layouts = (problem.output, *problem.inputs[1:])
        strides: list[list[Number]] = [
            [0, layout.strides[1], *pair]
            for layout, pair in zip(layouts, zip(numbers[::2], numbers[1::2], strict=True), strict=True)
        ]
        _Emitter(f, self, Epilogue(f, problem, record, strides=strides)).run()
        f.ret()
        return module.text()

    def _any_problem(self, isa: Isa) -> Problem:
        """Returns a problem that has this code: one pixel of as many channels as show the rest."""
        channels = isa.lanes + self.rest

        def layout(operand: Operand) -> Layout:
            item = np.dtype(operand.dtype).itemsize
            shape = (1, 1 if operand.is_broadcast else channels, 1, 1)
            return Layout(shape, (0, 0 if operand.is_broadcast else item, 0, 0), operand.dtype)

        output, *extras = map(layout, self.operands)
        return Problem((output, *extras), output, self.epilogue, self.channels)


class _Emitter:
    def __init__(self, f: Function, transform: OutputTransform, epilogue: Epilogue) -> None:
        self.f, self.isa, self.transform, self.epilogue = f, f.isa, transform, epilogue
        self.size, self.side = transform.size, transform.size + 2
        self.words = {word: f.arguments[word] for word in Word}
        self.line = Strided(f, self.words[Word.PLACE])
        self.line_bytes = f.mul(self.words[Word.PLACE], self.side)

    def run(self) -> None:
        """Writes the loops over whole tiles, then over those that hang over."""
        f, words, lanes = self.f, self.words, self.isa.lanes
        rest = self.transform.rest

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
        lines, start = [], f.opaque(m)
        for y in range(side):
            places = [self.line.at(start, x) for x in range(side)]
            lines.append(emit_output_transform(f, [f.load(self.isa.vector, place) for place in places]))
            start = f.offset(start, self.line_bytes) if y + 1 < side else start
        channel, epilogue = self.channel(number), self.epilogue
        here = epilogue.move(cursor, 1, channel)
        rows = [epilogue.hidden(epilogue.move(here, 2, y)) for y in range(self.size)]
        for row in rows:  # so that the next tile's stores need not wait for their lines
            following = epilogue.across(row, self.size)
            for x in range(self.size):
                f.prefetch(epilogue.across(following, x)[0])
        for x in range(self.size):
            for row, value in zip(rows, emit_output_transform(f, [line[x] for line in lines]), strict=True):
                epilogue.store(epilogue.across(row, x), channel, [value], [self.isa.lanes], moved=True)

    def part(self, m: Value, cursor: Cursor, number: Number, lanes: int, rows: Number, columns: Number) -> None:
        """Writes the first `rows` and `columns` of a tile and the first `lanes` channels of a vector."""
        f, isa, size, side = self.f, self.isa, self.size, self.side
        vector = isa.vector_bytes
        spare = self.words[Word.SPARE]
        results = f.offset(spare, side * size * vector)

        def across(_: Number, carried: list[Value]) -> list[Value]:
            line = [f.load(isa.vector, self.line.at(carried[0], x)) for x in range(side)]
            for x, value in enumerate(emit_output_transform(f, line)):
                f.store(value, carried[1], x * vector)
            return [f.offset(carried[0], self.line_bytes), f.offset(carried[1], size * vector)]

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
