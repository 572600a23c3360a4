"""Runs another family's kernel for one row after the other: so its code serves every number of rows.

A row is what is left of a problem when one or two axes of its output are taken away along which nothing depends on
anything else. The wrapper moves the pointers of the record from row to row; how far, and how many rows there are, are
numbers of its own record. A call of a few dozen cycles a row is what it costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from strop.compiler.emit import Module, Number, Value
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import (
    Code,
    Cost,
    Gathering,
    Kernel,
    Needs,
    Pointwise,
    Problem,
    Schedule,
    Split,
    Statistics,
)
from strop.compiler.kernels.record import start_kernel
from strop.compiler.layouts import Layout


@dataclass(frozen=True, slots=True)
class ByRows:
    """A kernel family for one row at a time.

    axes: of the output, one or two, which count the rows; row: the problem of one; bytes: of workspace that it takes.
    """

    kernel: Kernel
    axes: tuple[int, ...]
    row: Problem
    schedule: Schedule
    cost_of_row: Cost
    bytes: int

    @classmethod
    def of(cls, kernel: Kernel, axes: tuple[int, ...], problem: Problem, isa: Isa) -> ByRows | None:
        """Returns the family for rows of this problem, None where rows depend on each other."""
        row = one_row(problem, axes)
        if row is None or kernel.accepts(row, isa):
            return None
        schedule = kernel.candidates(row, isa)[0]
        return cls(kernel, axes, row, schedule, kernel.cost(row, schedule, isa), kernel.workspace(row, schedule, isa))

    @property
    def family(self) -> str:
        """Its name: that of the family behind it, and along which axes."""
        return f"rows{'_'.join(map(str, self.axes))}_{self.kernel.family}"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts what the other family does, where rows are independent."""
        return "" if one_row(problem, self.axes) == self.row else "other rows"

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for what the other family asks for."""
        return self.kernel.needs(problem, isa)

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[Schedule]:
        """Returns the one schedule, that of a row."""
        return [self.schedule]

    def cost(self, problem: Problem, schedule: Schedule, isa: Isa) -> Cost:
        """Returns what the rows cost, and the calls."""
        cost, rows = self.cost_of_row, self._rows(problem)
        moved = {level: size * rows for level, size in cost.bytes.items()}
        return Cost(cost.flops * rows, cost.efficiency, moved, 1e-6 + 1e-8 * rows)

    def split(self, problem: Problem, schedule: Schedule, isa: Isa) -> Split:
        """Divides the rows."""
        return Split(self._rows(problem))

    def workspace(self, problem: Problem, schedule: Schedule, isa: Isa) -> int:
        """Needs what a row needs."""
        return self.bytes

    def pack(
        self, problem: Problem, schedule: Schedule, isa: Isa, weights: np.ndarray, channels: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Returns the other family's arrays."""
        return self.kernel.pack(self.row, schedule, isa, weights, channels)

    def general(self, problem: Problem) -> Problem:
        """Returns the problem of a row."""
        return self.row

    def numbers(self, problem: Problem, schedule: Schedule, isa: Isa) -> Mapping[str, int]:
        """Returns how many rows the inner axis has, and the steps of every tensor along both."""
        numbers = {"inner": problem.output.shape[self.axes[-1]]}
        tensors = {"output": problem.output} | {f"input{i}": layout for i, layout in enumerate(problem.inputs)}
        for name, layout in tensors.items():
            own = _axes_of(problem, name, self.axes)
            for place, axis in zip(("outer", "inner")[-len(own) :], own, strict=True):
                numbers[f"{name}_{place}"] = layout.strides[axis] if axis >= 0 and layout.shape[axis] > 1 else 0
        return numbers

    def emit(self, problem: Problem, schedule: Schedule, isa: Isa) -> Code:
        """Returns the code of a row and of the loop over them."""
        row, numbers = self.row, self.numbers(problem, schedule, isa)
        inner = self.kernel.emit(row, schedule, isa)
        symbol = f"{self.family}_{inner.symbol}"
        passed = [name for name in inner.arguments if name not in ("begin", "end") and name not in inner.numbers]
        arguments = (*passed, *numbers, "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments, numbers)
        words = f.op("ptr", f"alloca [{len(inner.arguments)} x i64], align 8")
        fixed: dict[str, Number | Value] = {"begin": 0, "end": self.kernel.split(row, schedule, isa).units}
        fixed |= inner.numbers
        for place, name in enumerate(inner.arguments):
            if not name.startswith(("input", "output")):
                value = fixed.get(name, record[name] if name in passed else 0)
                f.store(value if isinstance(value, Value) else f.number(value), words, 8 * place, align=8)

        def one(index: Number, _: list[Value]) -> None:
            number = f.number(f.add(record["begin"], index))
            places = {"inner": number}
            if len(self.axes) == 2:
                outer = f.op("i64", f"udiv i64 {number.text}, {record['inner'].text}")
                whole = f.op("i64", f"mul i64 {outer.text}, {record['inner'].text}")
                places = {"outer": outer, "inner": f.number(f.sub(number, whole))}
            for place, name in enumerate(inner.arguments):
                if name.startswith(("input", "output")):
                    at = record[name]
                    for key, count in places.items():
                        by = f.op("i64", f"mul i64 {count.text}, {record[f'{name}_{key}'].text}")
                        at = f.offset(at, by)
                    f.store(at, words, 8 * place, align=8)
            f.call("void", inner.symbol, words)

        f.loop(f.sub(record["end"], record["begin"]), one, may_be_empty=True)
        f.ret()
        return Code(symbol, arguments, {symbol: module.text(), **inner.objects}, numbers)

    def _rows(self, problem: Problem) -> int:
        count = 1
        for axis in self.axes:
            count *= problem.output.shape[axis]
        return count


def one_row(problem: Problem, axes: tuple[int, ...]) -> Problem | None:
    """Returns the problem of a row where `axes` of the output count rows; None where rows depend on each other."""
    changes: dict[str, Any] = {}
    if isinstance(problem, Statistics):
        if set(axes) & set(problem.axes) or (problem.groups > 1 and 1 in axes):
            return None
        changes["extents"] = tuple(1 if axis in axes else n for axis, n in enumerate(problem.extents))
    elif isinstance(problem, Gathering):
        if any(problem.indices[axis] < 0 or problem.data[axis] >= 0 for axis in axes):
            return None
    elif not isinstance(problem, Pointwise):
        return None
    if problem.channels and 1 in axes:
        return None
    inputs = [_without(layout, _axes_of(problem, f"input{place}", axes)) for place, layout in enumerate(problem.inputs)]
    return cast(Problem, replace(problem, inputs=tuple(inputs), output=_without(problem.output, axes), **changes))


def _axes_of(problem: Problem, tensor: str, axes: Sequence[int]) -> list[int]:
    """Returns the tensor's own axes for these of the output; -1 where it has none."""
    if isinstance(problem, Gathering) and tensor != "output":
        named = problem.indices if tensor == "input1" else (-1,) * len(problem.indices)
        return [named[axis] for axis in axes]
    return list(axes)


def _without(layout: Layout, axes: Sequence[int]) -> Layout:
    """Returns the layout of one row: of what has one element the stride says nothing, so that equal rows are equal."""
    shape = tuple(1 if axis in axes else n for axis, n in enumerate(layout.shape))
    strides = tuple(step if n > 1 else 0 for n, step in zip(shape, layout.strides, strict=True))
    return Layout(shape, strides, layout.dtype)
