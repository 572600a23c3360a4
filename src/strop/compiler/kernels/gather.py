"""Elements at places that are data themselves: rows of a table, single elements, tuples of places.

    y[o] = x[d(o) + places named by the indices at o]

Every axis of the output is an axis of the data, of the indices, or of both (`Gathering`); along the picked axes of the
data the place is read from the indices, a negative one counts from the end, and one that is out of range becomes the
nearest in range (ONNX leaves that open). Where the innermost axes of the output do not change the indices, they are
copied as runs. Data of any type of 1, 2, 4 or 8 bytes is moved alike. Outer loops are divided among threads. Intensity:
none; caches and memory bound it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value
from strop.compiler.expressions import IDENTITY
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Cost, Gathering, Needs, Pointwise, Problem, Split
from strop.compiler.kernels.nest import Axis, axes_of, units, walk_units
from strop.compiler.kernels.record import start_kernel
from strop.compiler.kernels.runs import copy_run
from strop.compiler.layouts import Layout

_CHUNK = 256  # elements of an innermost axis, beyond which it is cut so that threads can divide it


@dataclass(frozen=True, slots=True)
class GatherSchedule:
    """There is one way for each problem."""

    def __str__(self) -> str:
        return "g1"


class GatherKernel:
    """Moves elements to where their numbers stand."""

    family = "gather"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts data of any type that is moved as it is, and indices of int32 or int64."""
        if not isinstance(problem, Gathering):
            return "not a gathering"
        data, indices = problem.inputs
        if indices.dtype not in ("int32", "int64"):
            return f"indices of {indices.dtype}"
        if data.dtype != problem.output.dtype or problem.epilogue.operation != "operand":
            return "it computes on what it gathers"
        return "" if data.itemsize in (1, 2, 4, 8) else f"values of {data.dtype}"

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for no order in particular."""
        return Needs(input_order="any", output_order="any")

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[GatherSchedule]:
        """Returns the one schedule."""
        return [GatherSchedule()]

    def cost(self, problem: Problem, schedule: GatherSchedule, isa: Isa) -> Cost:
        """Returns the bytes moved, from the L3 cache, and a few operations an element found by itself."""
        assert isinstance(problem, Gathering)
        moved = float(2 * problem.output.size * problem.output.itemsize)
        *_, inner = _axes(problem)
        alone = inner.strides[2] or inner.strides[:2] != (problem.output.itemsize,) * 2
        return Cost(float(problem.output.size), 0.02 if alone else 0.25, {"l3": moved})

    def split(self, problem: Problem, schedule: GatherSchedule, isa: Isa) -> Split:
        """Divides the outer loops."""
        assert isinstance(problem, Gathering)
        return Split(units(_axes(problem)[:-1]))

    def workspace(self, problem: Problem, schedule: GatherSchedule, isa: Isa) -> int:
        """Needs none."""
        return 0

    def pack(
        self, problem: Problem, schedule: GatherSchedule, isa: Isa, weights: np.ndarray, channels: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Returns nothing: it has no constants of its own."""
        return []

    def emit(self, problem: Problem, schedule: GatherSchedule, isa: Isa) -> Code:
        """Returns its code."""
        assert isinstance(problem, Gathering)
        symbol = f"{self.family}_{8 * problem.output.itemsize}_{isa.key}_{schedule}_{problem.digest}"
        arguments = ("output", "input0", "input1", "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments)
        *outer, inner = _axes(problem)
        is_run = inner.strides[2] == 0
        size = problem.output.itemsize

        def step(pointers: list[Value], _: list[Number]) -> None:
            if not is_run:
                f.loop(inner.extent, lambda index, _: _element(f, problem, inner, pointers, index))
                return
            target, data = pointers[0], _found(f, problem, pointers[1], pointers[2])
            if inner.strides[:2] == (size, size):
                copy_run(f, data, target, inner.extent * size)
                return

            def single(index: Number, _: list[Value]) -> None:
                value = f.load(f"i{8 * size}", data, f.mul(index, inner.strides[1]))
                f.store(value, target, f.mul(index, inner.strides[0]))

            f.loop(inner.extent, single)

        walk_units(f, outer, record["begin"], record["end"], [record[name] for name in arguments[:3]], step)
        f.ret()
        return Code(symbol, arguments, {symbol: module.text()})


def _axes(problem: Gathering) -> list[Axis]:
    """Returns the loops: strides of the output, the data and the indices; the innermost last, not too long."""
    data, indices = problem.inputs
    shape = problem.output.shape
    flat = Pointwise(
        (_follow(data, problem.data, shape), _follow(indices, problem.indices, shape)), problem.output, IDENTITY
    )
    *outer, inner = axes_of(flat)
    if len(shape) == 0 or problem.output.size == 1:  # one element: what it would step to does not matter
        inner = Axis(1, (problem.output.itemsize, problem.output.itemsize, 0))
    if inner.extent > _CHUNK and inner.strides[2]:
        for pieces in range(2, inner.extent + 1):
            if inner.extent % pieces == 0 and inner.extent // pieces <= _CHUNK:
                each = inner.extent // pieces
                outer.append(Axis(pieces, tuple(stride * each for stride in inner.strides)))
                return [*outer, Axis(each, inner.strides)]
    return [*outer, inner]


def _follow(layout: Layout, axes: Sequence[int], shape: tuple[int, ...]) -> Layout:
    """Returns the layout by the output's axes: stride 0 where it has no such axis."""
    strides = tuple(0 if axis < 0 or layout.shape[axis] == 1 else layout.strides[axis] for axis in axes)
    return Layout(shape, strides, layout.dtype)


def _found(f: Function, problem: Gathering, data: Value, indices: Value) -> Value:
    """Returns the address of the element whose places stand at `indices`."""
    layout = problem.inputs[1]
    between = layout.strides[-1] if problem.tuples else 0
    for number, axis in enumerate(problem.picks):
        extent = problem.inputs[0].shape[axis]
        place = f.load("i64" if layout.itemsize == 8 else "i32", indices, number * between)
        if place.type == "i32":
            place = f.convert("sext", place, "i64")
        zero = Value("0", "i64")
        from_end = f.binary("add", place, Value(str(extent), "i64"))
        place = f.select(f.compare("slt", place, zero), from_end, place)
        place = f.call("i64", "llvm.smax.i64", place, zero)
        place = f.call("i64", "llvm.smin.i64", place, Value(str(extent - 1), "i64"))
        data = f.offset(data, f.mul(place, problem.inputs[0].strides[axis]))
    return data


def _element(f: Function, problem: Gathering, inner: Axis, pointers: list[Value], index: Number) -> None:
    """Writes the code of one element of the innermost axis, along which the indices change."""
    at = [f.offset(p, f.mul(index, stride)) for p, stride in zip(pointers, inner.strides, strict=True)]
    value = f.load(f"i{8 * problem.output.itemsize}", _found(f, problem, at[1], at[2]))
    f.store(value, at[0])
