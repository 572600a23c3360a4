"""Copies between layouts whose innermost axes differ: NCHW to NHWC and back, any transposition of what is dense.

    y[..., a, b] = expression(x[..., b, a], c0[channel], ...)

The input is contiguous along one axis, the output along another. Square blocks of as many rows as a vector has lanes
are loaded, transposed in registers and stored, tails masked. Two to four elements (the channels of a color image) that
lie without gaps are interleaved instead. An expression of the one input is applied on the way: a copy that quantizes,
scales or shifts costs no pass of its own. Outer loops are divided among threads. Intensity: none; caches and memory
bound it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from strop.compiler import expressions
from strop.compiler.emit import Function, Module, Number, Value, lanes_of, vector_of
from strop.compiler.expressions import LLVM_TYPES, emit_expression
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Cost, Needs, Pointwise, Problem, Split
from strop.compiler.kernels.nest import Axis, axes_of, units, walk_units
from strop.compiler.kernels.record import pack_channels, start_kernel
from strop.compiler.kernels.transpose import deinterleave, interleave, transpose_square

_FEW = 4
_BAND = 256
"""Elements along the input's contiguous axis in one step of the outer loops, which can be divided."""

_NARROW = 16
"""The same where there would hardly be any steps to divide."""

_LEAST_UNITS = 4


@dataclass(frozen=True, slots=True)
class CopySchedule:
    """There is one way for each problem."""

    def __str__(self) -> str:
        return "t1"


@dataclass(frozen=True, slots=True)
class _Plan:
    """The loops: `outer`, bands of `source`, `target`.

    source: the axis along which the input is contiguous, in bands of `band`; target: the one along which the output is.
    """

    outer: list[Axis]
    source: Axis
    target: Axis
    band: int


class CopyKernel:
    """Transposing copies."""

    family = "copy"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts one input and an output of the same shape, each contiguous along an axis, not the same one."""
        if not isinstance(problem, Pointwise):
            return "not pointwise"
        if len(problem.inputs) != 1 or problem.inputs[0].shape != problem.output.shape:
            return "not one input of the output's shape"
        if problem.epilogue.dtype != problem.output.dtype:
            return f"the expression gives {problem.epilogue.dtype}, the output is {problem.output.dtype}"
        if {problem.output.dtype, problem.inputs[0].dtype} - set(LLVM_TYPES):
            return f"no code for {problem.inputs[0].dtype} to {problem.output.dtype}"
        axes = axes_of(problem)
        if axes[-1].strides[0] != problem.output.itemsize:
            return "the output is contiguous along no axis"
        if axes[-1].strides[1] == problem.inputs[0].itemsize:
            return "input and output are contiguous along the same axis"
        if all(axis.strides[1] != problem.inputs[0].itemsize for axis in axes):
            return "the input is contiguous along no axis"
        return ""

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for no order in particular."""
        return Needs(input_order="any", output_order="any")

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[CopySchedule]:
        """Returns the one schedule."""
        return [CopySchedule()]

    def cost(self, problem: Problem, schedule: CopySchedule, isa: Isa) -> Cost:
        """Returns the bytes, which come from the L3 cache, and the shuffles."""
        moved = sum(layout.size * layout.itemsize for layout in (problem.output, problem.inputs[0]))
        return Cost(4.0 * problem.output.size, 0.25, {"l3": float(moved)})

    def split(self, problem: Problem, schedule: CopySchedule, isa: Isa) -> Split:
        """Divides the outer loops and bands."""
        return Split(units(_plan(problem).outer))

    def workspace(self, problem: Problem, schedule: CopySchedule, isa: Isa) -> int:
        """Needs none."""
        return 0

    def pack(
        self, problem: Problem, schedule: CopySchedule, isa: Isa, weights: np.ndarray, channels: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Returns the per-channel vectors."""
        return pack_channels(problem, channels)

    def emit(self, problem: Problem, schedule: CopySchedule, isa: Isa) -> Code:
        """Returns its code."""
        symbol = f"copy_{problem.inputs[0].dtype}_{problem.output.dtype}_{isa.key}_{schedule}_{problem.digest}"
        names = ("output", "input0", *(f"weights{i}" for i in range(problem.channels)))
        arguments = (*names, "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments)
        plan = _plan(problem)
        bands, rest = divmod(plan.source.extent, plan.band)
        block = _Block(f, problem, plan)

        def step(pointers: list[Value], places: list[Number]) -> None:
            if plan.source.extent <= plan.band:
                block.band(pointers, plan.source.extent)
            elif not rest:
                block.band(pointers, plan.band)
            else:
                band, last = f.number(places[-1]), f.number(bands)
                f.when(f.compare("eq", band, last), lambda: block.band(pointers, rest))
                f.when(f.compare("ne", band, last), lambda: block.band(pointers, plan.band))

        walk_units(f, plan.outer, record["begin"], record["end"], [record[name] for name in names], step)
        f.ret()
        return Code(symbol, arguments, {symbol: module.text()})


def _plan(problem: Problem) -> _Plan:
    *outer, target = axes_of(problem)
    source = next(axis for axis in outer if axis.strides[1] == problem.inputs[0].itemsize)
    outer.remove(source)
    band = _BAND if units(outer) >= _LEAST_UNITS else _NARROW
    if source.extent > band:
        outer.append(Axis(-(-source.extent // band), tuple(stride * band for stride in source.strides)))
    return _Plan(outer, source, target, band)


class _Block:
    """Writes the code of a band: all of the target axis times some of the source axis."""

    def __init__(self, f: Function, problem: Problem, plan: _Plan) -> None:
        self.f, self.problem, self.plan, self.lanes = f, problem, plan, f.isa.lanes
        self.input = vector_of(LLVM_TYPES[problem.inputs[0].dtype], self.lanes)
        self.output = vector_of(LLVM_TYPES[problem.output.dtype], self.lanes)
        self.used = expressions.channels(problem.epilogue)

    def band(self, pointers: list[Value], extent: int) -> None:
        """Writes the loops over blocks of the band, `extent` long."""
        f, lanes = self.f, self.lanes
        few_out, few_in = self.plan.target.extent <= _FEW, self.plan.source.extent <= _FEW

        def source_block(index: Number, count: int) -> None:
            at = self._advance(self.plan.source, pointers, f.mul(index, lanes))

            def target_block(place: Number, rows: int) -> None:
                there = self._advance(self.plan.target, at, f.mul(place, lanes))
                if few_out and count == lanes:
                    self._interleaved(there)
                elif few_in and rows == lanes:
                    self._deinterleaved(there)
                else:
                    self._square(there, count, rows)

            self._blocks(self.plan.target.extent, target_block)

        self._blocks(extent, source_block)

    def _blocks(self, extent: int, body: object) -> None:
        assert callable(body)
        full, rest = divmod(extent, self.lanes)
        self.f.loop(full, lambda index, _: body(index, self.lanes))
        if rest:
            body(full, rest)

    def _advance(self, axis: Axis, pointers: list[Value], by: Number) -> list[Value]:
        f = self.f
        return [f.offset(p, f.mul(by, stride)) for p, stride in zip(pointers, axis.strides, strict=True)]

    def _is_dense(self, outer: Axis, inner: Axis, tensor: int) -> bool:
        return outer.strides[tensor] == inner.strides[tensor] * inner.extent

    def _square(self, pointers: list[Value], count: int, rows: int) -> None:
        """Transposes a block: `rows` vectors along the source axis become `count` vectors along the target axis."""
        f = self.f
        target, source = self.plan.target, self.plan.source
        loaded = [
            f.load_lanes(self.input, pointers[1], row * target.strides[1], lanes=count) if row < rows
            else f.zero(self.input)
            for row in range(self.lanes)
        ]  # fmt: skip
        results = []
        for number, value in enumerate(transpose_square(f, loaded)[:count]):
            channels = [
                self._channel(pointers[2 + index], source.strides[2 + index] * number, target.strides[2 + index])
                if index in self.used else Value("", "")
                for index in range(self.problem.channels)
            ]  # fmt: skip
            results.append(emit_expression(f, self.problem.epilogue, [value], channels, self.lanes))
        for number, result in enumerate(results):
            f.store_lanes(result, pointers[0], number * source.strides[0], lanes=rows)

    def _interleaved(self, pointers: list[Value]) -> None:
        """Takes full vectors of a few planes and stores them as pixels."""
        f, target, source = self.f, self.plan.target, self.plan.source
        planes = [self._plane(pointers, row, target, source) for row in range(target.extent)]
        if self._is_dense(source, target, 0):
            for number, result in enumerate(interleave(f, planes)):
                f.store(result, pointers[0], number * self.lanes * self.problem.output.itemsize)
            return
        planes += [f.zero(self.output)] * (_FEW - len(planes))
        for number, pixels in enumerate(interleave(f, planes)):
            for place in range(0, self.lanes, _FEW):
                pixel = f.shuffle(pixels, pixels, range(place, place + _FEW))
                by = (number * self.lanes + place) // _FEW * source.strides[0]
                f.store_lanes(pixel, pointers[0], by, lanes=target.extent)

    def _deinterleaved(self, pointers: list[Value]) -> None:
        """Takes pixels of a few elements and stores them as vectors of their planes."""
        f, source, target = self.f, self.plan.source, self.plan.target
        if self._is_dense(target, source, 1):
            size = self.problem.inputs[0].itemsize
            pixels = [f.load(self.input, pointers[1], n * self.lanes * size) for n in range(source.extent)]
        else:
            kind = vector_of(LLVM_TYPES[self.problem.inputs[0].dtype], _FEW)
            single = [
                f.load_lanes(kind, pointers[1], n * target.strides[1], lanes=source.extent) for n in range(self.lanes)
            ]
            step = self.lanes // _FEW
            pixels = [self._joined(single[first : first + step]) for first in range(0, self.lanes, step)]
        for row, plane in enumerate(deinterleave(f, pixels)[: source.extent]):
            result = self._finish(plane, pointers, row, source, target)
            f.store(result, pointers[0], row * source.strides[0])

    def _joined(self, parts: list[Value]) -> Value:
        """Returns the lanes of a power of two of vectors as one."""
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [self.f.shuffle(a, b, range(2 * lanes_of(a.type))) for a, b in pairs]
        return parts[0]

    def _plane(self, pointers: list[Value], row: int, across: Axis, along: Axis) -> Value:
        value = self.f.load(self.input, pointers[1], row * across.strides[1])
        return self._finish(value, pointers, row, across, along)

    def _finish(self, value: Value, pointers: list[Value], row: int, across: Axis, along: Axis) -> Value:
        """Applies the expression to a vector along `along`, the row-th across `across`."""
        channels = [
            self._channel(pointers[2 + index], across.strides[2 + index] * row, along.strides[2 + index])
            if index in self.used
            else Value("", "")
            for index in range(self.problem.channels)
        ]
        return emit_expression(self.f, self.problem.epilogue, [value], channels, self.lanes)

    def _channel(self, pointer: Value, by: int, stride: int) -> Value:
        """Loads what the lanes of a vector need of a per-channel vector."""
        if stride:
            return self.f.load(self.f.isa.vector, pointer, by)
        return self.f.splat(self.f.load("float", pointer, by), self.lanes)
