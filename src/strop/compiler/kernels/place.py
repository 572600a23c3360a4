"""ArgMax and ArgMin: where along an axis the largest or smallest element is.

    y[..., 0, ...] = the first (or last) i with the largest x[..., i, ...]

Vectors run along the axis itself, lanes compared at the end, or along another one, each lane for itself. Groups are
divided among threads. NaN is never the largest. Intensity: one comparison for four bytes: memory bounds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value, constant, vector_of
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Cost, Needs, Place, Problem, Split
from strop.compiler.kernels.grouped_nest import Grouped, broadcast_strides, each_block, grouped
from strop.compiler.kernels.nest import Axis, advance, units, walk_units
from strop.compiler.kernels.pointwise import load_apart, store_apart
from strop.compiler.kernels.record import start_kernel


@dataclass(frozen=True, slots=True)
class PlaceSchedule:
    """There is one way for each problem."""

    def __str__(self) -> str:
        return "a1"


class PlaceKernel:
    """The place of the largest or smallest element."""

    family = "place"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts float32 of any layout."""
        if not isinstance(problem, Place):
            return "not the place of an extreme"
        if problem.inputs[0].dtype != "float32" or problem.output.dtype != "int64":
            return f"no comparison of {problem.inputs[0].dtype} to {problem.output.dtype}"
        return ""

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for no order in particular."""
        return Needs(input_order="any", output_order="any")

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[PlaceSchedule]:
        """Returns the one schedule."""
        return [PlaceSchedule()]

    def cost(self, problem: Problem, schedule: PlaceSchedule, isa: Isa) -> Cost:
        """Returns three operations an element; the input comes from the L3 cache."""
        size = problem.inputs[0].size
        return Cost(3.0 * size, 0.25, {"l3": 4.0 * size})

    def split(self, problem: Problem, schedule: PlaceSchedule, isa: Isa) -> Split:
        """Divides the groups."""
        assert isinstance(problem, Place)
        return Split(units(_loops(problem, isa).kept))

    def workspace(self, problem: Problem, schedule: PlaceSchedule, isa: Isa) -> int:
        """Needs none."""
        return 0

    def pack(
        self, problem: Problem, schedule: PlaceSchedule, isa: Isa, weights: np.ndarray, channels: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Has nothing to pack."""
        return []

    def emit(self, problem: Problem, schedule: PlaceSchedule, isa: Isa) -> Code:
        """Returns its code."""
        assert isinstance(problem, Place)
        symbol = f"place_f32_{isa.key}_{schedule}_{problem.digest}"
        arguments = ("output", "input0", "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments)
        loops = _loops(problem, isa)

        def group(at: list[Value], places: list[Number]) -> None:
            each_block(f, loops, places, lambda lanes: _emit_group(f, problem, loops, at, lanes))

        pointers = [record["output"], record["input0"], record["output"]]  # the last where others have scratch memory
        walk_units(f, loops.kept, record["begin"], record["end"], pointers, group)
        f.ret()
        return Code(symbol, arguments, {symbol: module.text()})


def _loops(problem: Place, isa: Isa) -> Grouped:
    extents = problem.inputs[0].shape
    tensors = [broadcast_strides(layout, extents) for layout in (problem.output, *problem.inputs)]
    return grouped(extents, [problem.axis], 1, tensors, [8, 4], isa.lanes)


def _emit_group(f: Function, problem: Place, loops: Grouped, at: list[Value], lanes: list[int]) -> None:
    if loops.across:
        _emit_across(f, problem, loops.vector, at)
        return
    kind, width = f.isa.vector, f.isa.lanes
    worst = constant(kind, float("-inf") if problem.largest else float("inf"))
    stride = loops.vector.strides
    axis = loops.reduced[0] if loops.reduced else Axis(1, (0,) * len(stride))

    def step(index: Number, carried: list[Value]) -> list[Value]:
        here = advance(f, axis, at, index)
        place = f.splat(f.convert("trunc", f.number(index), "i32"), width)
        after: list[Value] = []
        for number, count in enumerate(lanes):
            value = load_apart(f, kind, here[1], number * width * stride[1], stride[1], count)
            after += _better(f, problem, value, place, carried[2 * number], carried[2 * number + 1])
        return after

    start = [worst, f.zero(f.isa.integers)] * len(lanes)
    found = f.loop(axis.extent, step, start)
    for number, count in enumerate(lanes):
        wide = f.convert("sext", found[2 * number + 1], vector_of("i64", width))
        store_apart(f, wide, at[0], number * width * stride[0], stride[0], count)


def _better(f: Function, problem: Place, value: Value, place: Value, best: Value, where: Value) -> tuple[Value, Value]:
    word = ("oge" if problem.last else "ogt") if problem.largest else ("ole" if problem.last else "olt")
    wins = f.compare(word, value, best)
    return f.select(wins, value, best), f.select(wins, place, where)


def _emit_across(f: Function, problem: Place, axis: Axis, at: list[Value]) -> None:
    """Finds the best of each lane, then the best lane; of equals that with the smaller (or larger) place."""
    kind, width, stride = f.isa.vector, f.isa.lanes, axis.strides[1]
    integers = f.isa.integers
    worst = constant(kind, float("-inf") if problem.largest else float("inf"))
    lane = Value("<" + ", ".join(f"i32 {i}" for i in range(width)) + ">", integers)
    nowhere = constant(integers, -1 if problem.last else 2**31 - 1)
    full, rest = divmod(axis.extent, width)

    def step(index: Number, carried: list[Value]) -> list[Value]:
        value = load_apart(f, kind, f.offset(at[1], f.mul(index, width * stride)), 0, stride, width)
        first = f.splat(f.convert("trunc", f.number(f.mul(index, width)), "i32"), width)
        return list(_better(f, problem, value, f.binary("add", first, lane), *carried))

    best, where = f.loop(full, step, [worst, nowhere])
    if rest:
        value = load_apart(f, kind, f.offset(at[1], full * width * stride), 0, stride, rest)
        inside = ", ".join(f"i1 {'true' if i < rest else 'false'}" for i in range(width))
        value = f.select(Value(f"<{inside}>", f"<{width} x i1>"), value, worst)
        place = f.binary("add", constant(integers, full * width), lane)
        beyond = f.select(Value(f"<{inside}>", f"<{width} x i1>"), place, nowhere)
        after, at_least = _better(f, problem, value, beyond, best, where)
        best, where = after, at_least
    half = width // 2
    while half:
        turn = [(i + half) % width for i in range(width)]
        other, place = f.shuffle(best, best, turn), f.shuffle(where, where, turn)
        strictly = f.compare("ogt" if problem.largest else "olt", other, best)
        nearer = f.compare("sgt" if problem.last else "slt", place, where)
        wins = f.binary("or", strictly, f.binary("and", f.compare("oeq", other, best), nearer))
        best, where = f.select(wins, other, best), f.select(wins, place, where)
        half //= 2
    number = f.op("i32", f"extractelement {integers} {where.text}, i64 0")
    # Nothing was better than the worst: all are that, or NaN.
    missing = f.compare("eq", number, Value(str(-1 if problem.last else 2**31 - 1), "i32"))
    number = f.select(missing, Value(str(axis.extent - 1 if problem.last else 0), "i32"), number)
    f.store(f.convert("sext", number, "i64"), at[0])
