"""Writes zeros (or a zero point) into the halo of an image, for a kernel that reads beyond the edges.

Only the halo's own channels are written, pixel by pixel: what lies between pixels may belong to another view. Rows of
all images, those of the halo included, are divided among threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value, constant, vector_of
from strop.compiler.expressions import LLVM_TYPES
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Border, Code, Cost, Needs, Problem, Split
from strop.compiler.kernels.epilogue import each_channel_block
from strop.compiler.kernels.record import start_kernel


@dataclass(frozen=True, slots=True)
class BorderSchedule:
    """There is one way only."""

    def __str__(self) -> str:
        return "v1"


class BorderKernel:
    """Zeros in a halo."""

    family = "border"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts channels-last images of any dtype."""
        if not isinstance(problem, Border):
            return "not a border"
        return "" if problem.output.is_channels_last else "the output is no channels-last image"

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for a channels-last image."""
        return Needs()

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[BorderSchedule]:
        """Returns the one schedule."""
        return [BorderSchedule()]

    def cost(self, problem: Problem, schedule: BorderSchedule, isa: Isa) -> Cost:
        """Returns the bytes written."""
        _, channels, height, width = problem.output.shape
        halo = problem.output.halo
        whole = (height + halo.top + halo.bottom) * (width + halo.left + halo.right)
        pixels = problem.output.shape[0] * (whole - height * width)
        return Cost(0.0, 1.0, {"l2": float(pixels * channels * problem.output.itemsize)})

    def split(self, problem: Problem, schedule: BorderSchedule, isa: Isa) -> Split:
        """Divides the rows of all images, with those of the halo."""
        return Split(problem.output.shape[0] * _rows(problem))

    def workspace(self, problem: Problem, schedule: BorderSchedule, isa: Isa) -> int:
        """Needs none."""
        return 0

    def pack(
        self, problem: Problem, schedule: BorderSchedule, isa: Isa, weights: np.ndarray, channels: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Has no weights."""
        return []

    def emit(self, problem: Problem, schedule: BorderSchedule, isa: Isa) -> Code:
        """Returns its code."""
        symbol = f"border_{problem.output.dtype}_{isa.key}_{schedule}_{problem.digest}"
        arguments = ("output", "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments)
        layout, halo = problem.output, problem.output.halo
        begin, rows, (_, _, height, width) = record["begin"], _rows(problem), layout.shape

        def row(index: Number, _: list[Value]) -> None:
            unit = f.add(begin, index)
            number, y = f.divide(unit, rows), f.remainder(unit, rows)
            place = f.sub(f.add(f.mul(number, layout.strides[0]), f.mul(y, layout.strides[2])), layout.before)
            start = f.offset(record["output"], place)
            _clear(f, problem, start, halo.left)
            right = f.offset(start, (halo.left + width) * layout.strides[3])
            _clear(f, problem, right, halo.right)
            from_top = f.sub(f.add(y, rows), halo.top)  # wraps round for the rows above the image
            outside = f.compare("uge", f.number(f.remainder(from_top, rows)), f.number(height))
            middle = f.offset(start, halo.left * layout.strides[3])
            f.when(outside, lambda: _clear(f, problem, middle, width))

        f.loop(f.sub(record["end"], begin), row, may_be_empty=True)
        f.ret()
        return Code(symbol, arguments, {symbol: module.text()})


def _rows(problem: Problem) -> int:
    return problem.output.shape[2] + problem.output.halo.top + problem.output.halo.bottom


def _clear(f: Function, problem: Problem, start: Value, pixels: int) -> None:
    layout = problem.output
    kind = vector_of(LLVM_TYPES[layout.dtype], f.isa.lanes)
    fill = constant(kind, layout.fill) if layout.fill else f.zero(kind)

    def pixel(index: Number, _: list[Value]) -> None:
        at = f.offset(start, f.mul(index, layout.strides[3]))

        def block(channel: Number, lanes: list[int]) -> None:
            place = f.offset(at, f.mul(channel, layout.itemsize))
            for n, count in enumerate(lanes):
                f.store_lanes(fill, place, n * f.isa.lanes * layout.itemsize, lanes=count)

        each_channel_block(f, layout.shape[1], 4, block)

    f.loop(pixels, pixel)
