"""The expression applied to the inputs, element by element.

    y[...] = expression(x0[...], x1[...], ..., c0[channel], ...)

Axes that lie alike in all tensors are one loop; vectors run along the innermost axis of the output. An input that
repeats there is spread over the lanes; one whose elements are apart is read lane by lane, which is slow but always
right (`copy` does transpositions). Intensity: a few operations for eight bytes and more: caches and memory bound it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from strop.compiler import expressions
from strop.compiler.emit import Function, Module, Number, Value, element_of, vector_of
from strop.compiler.expressions import LLVM_TYPES, emit_expression
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Cost, Needs, Pointwise, Problem, Split
from strop.compiler.kernels.nest import Axis, axes_of, units, walk_units
from strop.compiler.kernels.record import pack_channels, start_kernel

_CHUNK = 2048
"""Elements of a long inner axis that make one step of a loop which can be divided; a multiple of all blocks."""


@dataclass(frozen=True, slots=True)
class PointwiseSchedule:
    """vectors: vectors computed at once."""

    vectors: int = 4

    def __str__(self) -> str:
        return f"v{self.vectors}"


class PointwiseKernel:
    """An expression, element by element."""

    family = "pointwise"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts whatever broadcasts."""
        if not isinstance(problem, Pointwise):
            return "not pointwise"
        if problem.epilogue.dtype != problem.output.dtype:
            return f"the expression gives {problem.epilogue.dtype}, the output is {problem.output.dtype}"
        unknown = {layout.dtype for layout in (problem.output, *problem.inputs)} - set(LLVM_TYPES)
        return f"no arithmetic for {', '.join(sorted(unknown))}" if unknown else ""

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for no order in particular: equal ones are the fast ones."""
        return Needs(input_order="any", output_order="any")

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[PointwiseSchedule]:
        """Returns the one schedule: as many vectors as the registers hold."""
        return [PointwiseSchedule(4 if len(problem.inputs) <= 3 else 2)]

    def cost(self, problem: Problem, schedule: PointwiseSchedule, isa: Isa) -> Cost:
        """Returns the expression's operations; everything comes from the L3 cache; lane by lane is slow."""
        moved = sum(layout.size * layout.itemsize for layout in (problem.output, *problem.inputs))
        inner = axes_of(problem)[-1]
        apart = _is_apart(problem, inner)
        return Cost(
            (expressions.flops(problem.epilogue) + sum(apart)) * problem.output.size,
            0.02 if any(apart) else 0.25,
            {"l3": float(moved)},
        )

    def split(self, problem: Problem, schedule: PointwiseSchedule, isa: Isa) -> Split:
        """Divides the outer loops."""
        outer, _ = _loops(problem)
        return Split(units(outer))

    def workspace(self, problem: Problem, schedule: PointwiseSchedule, isa: Isa) -> int:
        """Needs none."""
        return 0

    def pack(
        self,
        problem: Problem,
        schedule: PointwiseSchedule,
        isa: Isa,
        weights: np.ndarray,
        channels: Sequence[np.ndarray],
    ) -> list[np.ndarray]:
        """Returns the per-channel vectors."""
        return pack_channels(problem, channels)

    def emit(self, problem: Problem, schedule: PointwiseSchedule, isa: Isa) -> Code:
        """Returns its code."""
        symbol = f"pointwise_{problem.output.dtype}_{isa.key}_{schedule}_{problem.digest}"
        names = ["output", *(f"input{i}" for i in range(len(problem.inputs)))]
        names += [f"weights{i}" for i in range(problem.channels)]
        arguments = (*names, "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments)
        outer, inner = _loops(problem)

        def row(pointers: list[Value], places: list[Number]) -> None:
            if inner.extent <= _CHUNK:
                _row(f, problem, schedule, inner, inner.extent, pointers)
                return
            chunks, rest = divmod(inner.extent, _CHUNK)
            if not rest:
                _row(f, problem, schedule, inner, _CHUNK, pointers)
                return
            chunk, last = f.number(places[-1]), f.number(chunks)
            f.when(f.compare("eq", chunk, last), lambda: _row(f, problem, schedule, inner, rest, pointers))
            f.when(f.compare("ne", chunk, last), lambda: _row(f, problem, schedule, inner, _CHUNK, pointers))

        walk_units(f, outer, record["begin"], record["end"], [record[name] for name in names], row)
        f.ret()
        return Code(symbol, arguments, {symbol: module.text()})


def _loops(problem: Problem) -> tuple[list[Axis], Axis]:
    """Returns the outer loops and the innermost axis; a long one is cut into chunks, counted by the last outer loop."""
    *outer, inner = axes_of(problem)
    if inner.extent > _CHUNK:
        chunk = Axis(-(-inner.extent // _CHUNK), tuple(stride * _CHUNK for stride in inner.strides))
        outer.append(chunk)
    return outer, inner


def _tensors(problem: Problem) -> list[tuple[str, int]]:
    """Returns LLVM's element type and the item size of every tensor: output, inputs, per-channel vectors."""
    tensors = [(LLVM_TYPES[layout.dtype], layout.itemsize) for layout in (problem.output, *problem.inputs)]
    return tensors + [("float", 4)] * problem.channels


def _is_apart(problem: Problem, inner: Axis) -> list[bool]:
    pairs = zip(_tensors(problem), inner.strides, strict=True)
    return [stride not in (0, size) for (_, size), stride in pairs]


def _row(
    f: Function, problem: Problem, schedule: PointwiseSchedule, inner: Axis, count: int, pointers: list[Value]
) -> None:
    """Writes the loop along the innermost axis."""
    lanes, block = f.isa.lanes, f.isa.lanes * schedule.vectors
    used = {0}
    used |= {1 + index for index in expressions.operands(problem.epilogue)}
    used |= {1 + len(problem.inputs) + index for index in expressions.channels(problem.epilogue)}
    tensors = _tensors(problem)
    repeated = {
        index: f.splat(f.load(tensors[index][0], pointers[index]), lanes)
        for index in sorted(used)
        if index and inner.strides[index] == 0
    }

    def compute(first: Number, lane_counts: list[int]) -> None:
        at = [
            f.offset(pointer, f.mul(first, stride)) if index in used else pointer
            for index, (pointer, stride) in enumerate(zip(pointers, inner.strides, strict=True))
        ]
        results = []
        for number, some in enumerate(lane_counts):
            values = [Value("", "")] * len(tensors)
            for index in used - {0}:
                known = repeated.get(index)
                shift = number * lanes * inner.strides[index]
                kind = vector_of(tensors[index][0], lanes)
                values[index] = known or load_apart(f, kind, at[index], shift, inner.strides[index], some)
            own = 1 + len(problem.inputs)
            results.append(emit_expression(f, problem.epilogue, values[1:own], values[own:], lanes))
        for number, (result, some) in enumerate(zip(results, lane_counts, strict=True)):
            store_apart(f, result, at[0], number * lanes * inner.strides[0], inner.strides[0], some)

    f.loop(count // block, lambda index, _: compute(f.mul(index, block), [lanes] * schedule.vectors))
    rest = count % block
    if rest:
        compute(count - rest, [min(lanes, rest - first) for first in range(0, rest, lanes)])


def load_apart(f: Function, kind: str, pointer: Value, by: int, stride: int, lanes: int) -> Value:
    """Loads `lanes` elements that lie `stride` bytes apart; the other lanes are zero."""
    element = element_of(kind)
    if stride == _size_of(element):
        return f.load_lanes(kind, pointer, by, lanes=lanes)
    value = f.zero(kind)
    for lane in range(lanes):
        scalar = f.load(element, pointer, by + lane * stride)
        value = f.op(kind, f"insertelement {kind} {value.text}, {element} {scalar.text}, i64 {lane}")
    return value


def store_apart(f: Function, value: Value, pointer: Value, by: int, stride: int, lanes: int) -> None:
    """Stores the first `lanes` lanes `stride` bytes apart."""
    element = element_of(value.type)
    if stride == _size_of(element):
        f.store_lanes(value, pointer, by, lanes=lanes)
        return
    for lane in range(lanes):
        scalar = f.op(element, f"extractelement {value.type} {value.text}, i64 {lane}")
        f.store(scalar, pointer, by + lane * stride)


def _size_of(element: str) -> int:
    return {"float": 4, "i64": 8, "i32": 4, "i16": 2, "i8": 1}[element]
