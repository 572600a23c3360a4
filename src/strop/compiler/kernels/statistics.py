"""Reductions and normalizations over any axes: statistics of groups of elements, then what becomes of each element.

    s0 = finish(combine over the group of element(prologue(x ...)));  s1 likewise, knowing s0 ...
    y  = epilogue(result(prologue(x ...), s0, s1 ...))         or, for a reduction, epilogue(the last of s)

A pass over the group for each statistic and one for the results; what is costly (e**x of a softmax, a sum before a
normalization) is kept in the thread's workspace from one pass to the next. Groups are divided among threads, and every
group is computed the same way whoever does it. Intensity: a few operations an element; a group should fit into L2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from strop.compiler import arithmetic, expressions
from strop.compiler.emit import Function, Module, Number, Value, constant, lanes_of, vector_of
from strop.compiler.expressions import IDENTITY, LLVM_TYPES, Expression, emit_expression, operand, substitute
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Cost, Needs, Problem, Split, Statistics
from strop.compiler.kernels.grouped_nest import Grouped, broadcast_strides, each_block, grouped, walk_group
from strop.compiler.kernels.nest import units, walk_units
from strop.compiler.kernels.pointwise import load_apart, store_apart
from strop.compiler.kernels.record import start_kernel
from strop.compiler.statistics import COMBINATIONS, Statistic


@dataclass(frozen=True, slots=True)
class StatisticsSchedule:
    """There is one way for each problem."""

    def __str__(self) -> str:
        return "g1"


class StatisticsKernel:
    """Reductions and normalizations."""

    family = "statistics"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts whatever broadcasts, any order of axes."""
        if not isinstance(problem, Statistics):
            return "not a reduction"
        if problem.epilogue.dtype != problem.output.dtype:
            return f"the epilogue gives {problem.epilogue.dtype}, the output is {problem.output.dtype}"
        unknown = {layout.dtype for layout in (problem.output, *problem.inputs)} - set(LLVM_TYPES)
        if problem.prologue.dtype != "float32":
            unknown.add(problem.prologue.dtype)
        return f"no arithmetic for {', '.join(sorted(unknown))}" if unknown else ""

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for no order in particular."""
        return Needs(input_order="any", output_order="any")

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[StatisticsSchedule]:
        """Returns the one schedule."""
        return [StatisticsSchedule()]

    def cost(self, problem: Problem, schedule: StatisticsSchedule, isa: Isa) -> Cost:
        """Returns the operations of all passes; inputs and output come from the L3 cache."""
        assert isinstance(problem, Statistics)
        program = problem.program
        parts = [statistic.element for statistic in program.statistics]
        parts += [problem.prologue, program.result or IDENTITY]
        flops = sum(map(expressions.flops, parts)) + 2 * len(program.statistics) + 1
        moved = sum(layout.size * layout.itemsize for layout in (problem.output, *problem.inputs))
        return Cost(float(flops * int(np.prod(problem.extents))), 0.25, {"l3": float(moved)})

    def split(self, problem: Problem, schedule: StatisticsSchedule, isa: Isa) -> Split:
        """Divides the groups."""
        assert isinstance(problem, Statistics)
        return Split(units(_loops(problem, isa).kept))

    def workspace(self, problem: Problem, schedule: StatisticsSchedule, isa: Isa) -> int:
        """Needs a number for each element of a group, where something is kept."""
        assert isinstance(problem, Statistics)
        return _loops(problem, isa).scratch if _Passes(problem).kept_part is not None else 0

    def pack(
        self,
        problem: Problem,
        schedule: StatisticsSchedule,
        isa: Isa,
        weights: np.ndarray,
        channels: Sequence[np.ndarray],
    ) -> list[np.ndarray]:
        """Returns the per-channel vectors, which may be of the operands' channels where the output has one."""
        assert isinstance(problem, Statistics)
        count = problem.extents[1]
        packed = []
        for vector in channels:
            whole = np.zeros(-(-count // 16) * 16, np.float32)
            whole[:count] = np.broadcast_to(np.ravel(vector), (count,))
            packed.append(whole)
        return packed

    def emit(self, problem: Problem, schedule: StatisticsSchedule, isa: Isa) -> Code:
        """Returns its code."""
        assert isinstance(problem, Statistics)
        symbol = f"statistics_f32_{isa.key}_{schedule}_{problem.digest}"
        names = ["output", *(f"input{i}" for i in range(len(problem.inputs)))]
        names += [f"weights{i}" for i in range(problem.channels)]
        # Where nothing is kept, the last pointer is never read; any will do.
        scratch = "workspace" if self.workspace(problem, schedule, isa) else "output"
        arguments = tuple(dict.fromkeys((*names, scratch, "begin", "end")))
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments)
        loops = _loops(problem, isa)
        emitter = _Emitter(f, problem, loops)
        pointers = [record[name] for name in (*names, scratch)]

        def group(at: list[Value], places: list[Number]) -> None:
            each_block(f, loops, places, lambda lanes: emitter.group(at, lanes))

        walk_units(f, loops.kept, record["begin"], record["end"], pointers, group)
        f.ret()
        return Code(symbol, arguments, {symbol: module.text()})


def _loops(problem: Statistics, isa: Isa) -> Grouped:
    extents = problem.extents
    channel = tuple(4 if axis == 1 else 0 for axis in range(len(extents)))
    layouts = (problem.output, *problem.inputs)
    tensors = [*(broadcast_strides(layout, extents) for layout in layouts), *[channel] * problem.channels]
    items = [*(layout.itemsize for layout in layouts), *[4] * problem.channels]
    return grouped(extents, problem.axes, problem.groups, tensors, items, isa.lanes)


def _replaced(expression: Expression, part: Expression, by: Expression) -> Expression:
    """Returns the expression with every occurrence of `part` replaced."""
    if expression == part:
        return by
    arguments = tuple(_replaced(argument, part, by) for argument in expression.arguments)
    return Expression(expression.operation, arguments, expression.number, expression.dtype)


class _Passes:
    """The expressions of all passes over inputs, then statistics, then what is kept: operands in that order.

    kept_part: what is written to the workspace in pass `keeps` and read in the passes after it; None for nothing.
    """

    def __init__(self, problem: Statistics) -> None:
        program, count = problem.program, len(problem.inputs)
        self.statistics = count
        self.kept = operand(count + len(program.statistics))

        def flat(expression: Expression, first: Expression) -> Expression:
            def place(leaf: Expression) -> Expression | None:
                if leaf.operation != "operand":
                    return None
                return first if leaf.number == 0 else operand(count + int(leaf.number) - 1)

            return substitute(expression, place)

        self.elements = [flat(each.element, problem.prologue) for each in program.statistics]
        last = operand(count + len(program.statistics) - 1)
        result = last if program.result is None else flat(program.result, problem.prologue)
        # What is combined stands in a place of its own, the one of what is kept.
        self.finishes = [flat(each.finish, self.kept) for each in program.statistics]
        self.final = substitute(
            problem.epilogue, lambda leaf: result if leaf.operation == "operand" and leaf.number == 0 else None
        )
        self.kept_part: Expression | None = None
        self.keeps = 0
        costly = program.statistics[-1].element
        is_costly = expressions.flops(costly) >= 8 and program.result is not None
        if is_costly and _replaced(result, self.elements[-1], self.kept) != result:
            self.kept_part, self.keeps = self.elements[-1], len(self.elements) - 1
        elif problem.prologue.arguments and (len(self.elements) > 1 or program.result is not None):
            self.kept_part = problem.prologue
        if self.kept_part is not None:
            part = self.kept_part
            later = range(self.keeps + 1, len(self.elements))
            for index in later:
                self.elements[index] = _replaced(self.elements[index], part, self.kept)
            if program.result is not None:
                self.final = _replaced(self.final, part, self.kept)


class _Emitter:
    """Writes the code of one group, or of a block of groups."""

    def __init__(self, f: Function, problem: Statistics, loops: Grouped) -> None:
        self.f, self.problem, self.loops = f, problem, loops
        self.passes = _Passes(problem)
        layouts = (problem.output, *problem.inputs)
        self.kinds = [*(LLVM_TYPES[layout.dtype] for layout in layouts), *["float"] * problem.channels, "float"]

    def group(self, at: list[Value], lanes: list[int]) -> None:
        """Computes all statistics, then the results."""
        f, program = self.f, self.problem.program
        found: list[list[Value]] = []  # of each statistic: a value for each vector of the block
        for index, statistic in enumerate(program.statistics):
            found.append(self._statistic(index, statistic, at, lanes, found))
        if program.result is not None:
            walk_group(f, self.loops, at, lanes, lambda here, some, _: self._store(here, some, found))
        elif self.loops.across:
            self._store_number(at, found)
        else:
            self._store(at, lanes, found)

    def _statistic(
        self, index: int, statistic: Statistic, at: list[Value], lanes: list[int], found: list[list[Value]]
    ) -> list[Value]:
        f, width = self.f, self.f.isa.lanes
        join = _JOINS[statistic.combine]
        neutral = constant(f.isa.vector, COMBINATIONS[statistic.combine])

        def visit(here: list[Value], some: list[int], carried: list[Value]) -> list[Value]:
            after = list(carried)
            for number, count in enumerate(some):
                operands, channels = self._load(self.passes.elements[index], here, number, count, found)
                if index == self.passes.keeps and self.passes.kept_part is not None:
                    operands[-1] = self._keep(here, number, operands, channels)
                    element = _replaced(self.passes.elements[index], self.passes.kept_part, self.passes.kept)
                else:
                    element = self.passes.elements[index]
                value = emit_expression(f, element, operands, channels, width)
                if self.loops.across and count < width:
                    value = f.select(_first(count, width), value, neutral)
                after[number] = join(f, after[number], value)
            return after

        start = [neutral] * (self.loops.vectors if self.loops.across else len(lanes))
        combined = walk_group(f, self.loops, at, lanes, visit, start, lambda a, b: join(f, a, b))
        if self.loops.across:
            combined = [_across(f, combined, join)]
        results = []
        for number, value in enumerate(combined):
            known = [each[number] for each in found]
            operands = [*[Value("", "")] * self.passes.statistics, *known]
            operands += [Value("", "")] * (len(self.problem.program.statistics) - len(known))
            results.append(emit_expression(f, self.passes.finishes[index], [*operands, value], [], width))
        return results

    def _keep(self, here: list[Value], number: int, operands: list[Value], channels: list[Value]) -> Value:
        """Computes what is kept, stores and returns it."""
        f, part = self.f, self.passes.kept_part
        assert part is not None
        value = emit_expression(f, part, operands, channels, f.isa.lanes)
        f.store(value, here[-1], number * f.isa.vector_bytes)
        return value

    def _load(
        self, expression: Expression, here: list[Value], number: int, count: int, found: list[list[Value]]
    ) -> tuple[list[Value], list[Value]]:
        """Returns operands (inputs, statistics, what is kept) and channels that an expression reads."""
        f, problem = self.f, self.problem
        used = set(expressions.operands(expression))
        inputs = len(problem.inputs)
        operands = [
            self._element(1 + index, here, number, count) if index in used else Value("", "") for index in range(inputs)
        ]
        for index in range(len(problem.program.statistics)):
            known = found[index] if index < len(found) else []
            operands.append(known[0 if self.loops.across else number] if known else Value("", ""))
        kept = Value("", "")
        if self.passes.kept.number in used:
            kept = f.load(f.isa.vector, here[-1], number * f.isa.vector_bytes)
        wanted = expressions.channels(expression)
        channels = [
            self._element(1 + inputs + index, here, number, count) if index in wanted else Value("", "")
            for index in range(problem.channels)
        ]
        return [*operands, kept], channels

    def _element(self, tensor: int, here: list[Value], number: int, count: int) -> Value:
        f, stride = self.f, self.loops.vector.strides[tensor]
        lanes = f.isa.lanes
        if stride == 0:
            return f.splat(f.load(self.kinds[tensor], here[tensor]), lanes)
        kind = vector_of(self.kinds[tensor], lanes)
        return load_apart(f, kind, here[tensor], number * lanes * stride, stride, count)

    def _store(self, here: list[Value], lanes: list[int], found: list[list[Value]]) -> list[Value]:
        """Computes and stores the results of neighbouring vectors; all are read before any is written."""
        f, final, stride = self.f, self.passes.final, self.loops.vector.strides[0]
        results = []
        for number, count in enumerate(lanes):
            operands, channels = self._load(final, here, number, count, found)
            results.append(emit_expression(f, final, operands, channels, f.isa.lanes))
        for number, (result, count) in enumerate(zip(results, lanes, strict=True)):
            store_apart(f, result, here[0], number * f.isa.lanes * stride, stride, count)
        return []

    def _store_number(self, at: list[Value], found: list[list[Value]]) -> None:
        """Stores the one result of a group whose elements lie across the lanes."""
        f, final, problem = self.f, self.passes.final, self.problem
        lanes, inputs = f.isa.lanes, len(problem.inputs)
        used, wanted = expressions.operands(final), expressions.channels(final)
        operands = [
            f.splat(f.load(self.kinds[1 + i], at[1 + i]), lanes) if i in used else Value("", "") for i in range(inputs)
        ]
        operands += [each[0] for each in found]
        channels = [
            f.splat(f.load("float", at[1 + inputs + i]), lanes) if i in wanted else Value("", "")
            for i in range(problem.channels)
        ]
        result = emit_expression(f, final, operands, channels, lanes)
        element = self.kinds[0]
        f.store(f.op(element, f"extractelement {result.type} {result.text}, i64 0"), at[0])


Join = Callable[[Function, Value, Value], Value]

_JOINS: dict[str, Join] = {
    "sum": lambda f, a, b: f.fadd(a, b),
    "product": lambda f, a, b: f.fmul(a, b),
    "maximum": arithmetic.maximum,
    "minimum": arithmetic.minimum,
    "peak": lambda f, a, b: f.fmax(a, b),
}


def _first(count: int, width: int) -> Value:
    """Returns the mask of the first `count` lanes."""
    lanes = ", ".join(f"i1 {'true' if lane < count else 'false'}" for lane in range(width))
    return Value(f"<{lanes}>", f"<{width} x i1>")


def _across(f: Function, values: list[Value], join: Join) -> Value:
    """Returns what all lanes of all values combine to, in every lane."""
    while len(values) > 1:
        pairs = zip(values[::2], values[1::2], strict=False)
        values = [join(f, a, b) for a, b in pairs] + values[len(values) & ~1 :]
    (value,) = values
    width = lanes_of(value.type)
    half = width // 2
    while half:
        turned = f.shuffle(value, value, [(lane + half) % width for lane in range(width)])
        value = join(f, value, turned)
        half //= 2
    return value
