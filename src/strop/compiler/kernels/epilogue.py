"""Epilogues of kernels over channels-last images: the expression, applied to vectors of channels, then stored.

A cursor is one pointer a tensor (the output, then the epilogue's inputs): `move` steps all of them along an axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from strop.compiler import expressions
from strop.compiler.emit import Function, Number, Value, vector_of
from strop.compiler.expressions import LLVM_TYPES, emit_expression
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Problem
from strop.compiler.kernels.record import Record
from strop.compiler.kernels.strided import Strided
from strop.compiler.layouts import Layout

Cursor = list[Value]


def refuses_epilogue(problem: Problem) -> str:
    """Returns "" where `Epilogue` can store this problem's output and read its operands, else why not."""
    for layout in (problem.output, *problem.inputs[1:]):
        if layout.shape[1] > 1 and layout.strides[1] not in (0, layout.itemsize):
            return "an operand's channels are not neighbours"
    if problem.epilogue.dtype != problem.output.dtype:
        return f"the epilogue gives {problem.epilogue.dtype}, the output is {problem.output.dtype}"
    return ""


class Epilogue:
    """Finishes a kernel's results and stores them.

    weights: arrays of the kernel before the per-channel vectors; strides: of the output and the epilogue's inputs by
    axis, where they are not the problem's but known at run time.
    """

    def __init__(
        self,
        f: Function,
        problem: Problem,
        record: Record | Mapping[str, Value],
        weights: int = 0,
        *,
        strides: Sequence[Sequence[Number]] | None = None,
    ) -> None:
        self._f, self._problem = f, problem
        self._layouts = (problem.output, *problem.inputs[1:])
        self._strides: Sequence[Sequence[Number]] = strides or epilogue_strides(problem)
        self._pixels = [Strided(f, f.number(each[3])) for each in self._strides] if strides else []
        self._used = expressions.operands(problem.epilogue)
        self._channels = {
            index: record[f"weights{weights + index}"] for index in expressions.channels(problem.epilogue)
        }
        self.start: Cursor = [record["output"]] + [record[f"input{i}"] for i in range(1, len(problem.inputs))]

    @property
    def steps(self) -> list[tuple[Number, Number]]:
        """Bytes from row to row and pixel to pixel of the output and the epilogue's inputs."""
        return [(strides[2], strides[3]) for strides in self._strides]

    def move(self, cursor: Cursor, axis: int, by: Number) -> Cursor:
        """Returns the cursor `by` elements further along `axis`."""
        f = self._f
        return [
            f.offset(pointer, f.mul(by, strides[axis])) if strides[axis] and index in (0, *self._used) else pointer
            for index, (pointer, strides) in enumerate(zip(cursor, self._strides, strict=True))
        ]

    def across(self, cursor: Cursor, pixels: int) -> Cursor:
        """Returns the cursor so many pixels further in its row, at most 5, where strides are known at run time."""
        return [
            place.at(pointer, pixels) if index in (0, *self._used) else pointer
            for index, (pointer, place) in enumerate(zip(cursor, self._pixels, strict=True))
        ]

    def hidden(self, cursor: Cursor) -> Cursor:
        """Returns the same places as pointers LLVM knows nothing about, so that it derives none from another."""
        used = (0, *self._used)
        return [self._f.opaque(pointer) if index in used else pointer for index, pointer in enumerate(cursor)]

    def store(
        self, cursor: Cursor, channel: Number, values: Sequence[Value], lanes: Sequence[int], *, moved: bool = False
    ) -> None:
        """Finishes and stores neighbouring vectors of channels, the first beginning at `channel`.

        lanes: how many lanes of each vector there are; moved: the cursor stands at the channel already. All operands
        are read before anything is written.
        """
        f, width = self._f, self._f.isa.lanes
        at = cursor if moved else self.move(cursor, 1, channel)
        vectors = {index: f.offset(pointer, f.mul(channel, 4)) for index, pointer in self._channels.items()}
        results = []
        for number, (value, count) in enumerate(zip(values, lanes, strict=True)):
            operands = [value] + [Value("", "")] * (len(self._layouts) - 1)
            for index in self._used:
                if index:
                    operands[index] = self._operand(at[index], index, number * width, count)
            constants = [Value("", "")] * self._problem.channels
            for index, pointer in vectors.items():
                constants[index] = f.load(f.isa.vector, pointer, number * width * 4)
            results.append(emit_expression(f, self._problem.epilogue, operands, constants, width))
        size = self._problem.output.itemsize
        for number, (result, count) in enumerate(zip(results, lanes, strict=True)):
            f.store_lanes(result, at[0], number * width * size, lanes=count)

    def _operand(self, pointer: Value, index: int, channel: int, lanes: int) -> Value:
        f, layout = self._f, self._layouts[index]
        kind = LLVM_TYPES[layout.dtype]
        if self._strides[index][1] == 0:
            return f.splat(f.load(kind, pointer), f.isa.lanes)
        return f.load_lanes(vector_of(kind, f.isa.lanes), pointer, channel * layout.itemsize, lanes=lanes)


def epilogue_strides(problem: Problem) -> list[list[int]]:
    """Returns the byte strides by axis of the output and of the epilogue's inputs: 0 where one repeats."""
    return [_strides(layout, problem.output) for layout in (problem.output, *problem.inputs[1:])]


def each_channel_block(f: Function, channels: int, vectors: int, body: Callable[[Number, list[int]], None]) -> None:
    """Runs `body(first channel, lanes of each vector)` for blocks of at most `vectors` vectors over all channels."""
    width = f.isa.lanes * vectors
    full = channels // width

    def run(index: Number, _: list[Value]) -> None:
        body(f.mul(index, width), [f.isa.lanes] * vectors)

    f.loop(full, run)
    if channels % width:
        body(full * width, lanes_of_rest(channels % width, f.isa))


def lanes_of_rest(channels: int, isa: Isa) -> list[int]:
    """Returns the lanes of the vectors that hold so many channels: full ones, then the rest."""
    return [min(isa.lanes, channels - first) for first in range(0, channels, isa.lanes)]


def _strides(layout: Layout, output: Layout) -> list[int]:
    """Returns the byte strides with which `layout` follows the output: 0 where it repeats."""
    triples = zip(layout.shape, output.shape, layout.strides, strict=True)
    return [0 if mine == 1 < whole else stride for mine, whole, stride in triples]
