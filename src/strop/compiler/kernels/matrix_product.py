"""Products of matrices that are both computed, for each of A x B pairs: y[a, b] = x[a, b] times w[a, b].

The second operand is packed into panels of 16 columns in the workspace, once for all rows of its pair that a thread
computes; then rows and columns are covered by register tiles as in every other product (`matrix_nest.py`). A unit is a
block of tiles of one pair with all its columns. Packing reads and writes K x N numbers for M times as many products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from strop.compiler.emit import Module, Number, Value
from strop.compiler.expressions import IDENTITY
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Convolution, Cost, MatrixProduct, Needs, Problem, Split
from strop.compiler.kernels.convolution_geometry import Geometry, steps_of
from strop.compiler.kernels.matrix_nest import MatrixNest, Prefetch, Runs, tiles_of
from strop.compiler.kernels.operand_panels import copy_into_panels
from strop.compiler.kernels.record import start_kernel
from strop.compiler.layouts import Layout

_BLOCK: Final = 4
"""Tiles of a unit: few, for threads to divide; packing is paid once a pair where they are run in a row."""


@dataclass(frozen=True, slots=True)
class ProductSchedule:
    """rows, vectors: of a register tile."""

    rows: int
    vectors: int

    def __str__(self) -> str:
        return f"t{self.rows}x{self.vectors}"


class MatrixProductKernel:
    """Products of pairs of computed matrices."""

    family = "matrix_product"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts float32 whose columns are neighbours."""
        if not isinstance(problem, MatrixProduct):
            return "not a product of computed matrices"
        if any(layout.dtype != "float32" for layout in (*problem.inputs, problem.output)):
            return "an operand is not float32"
        if any(layout.shape[3] > 1 and layout.strides[3] != 4 for layout in (*problem.inputs, problem.output)):
            return "columns are not neighbours"
        return "" if problem.epilogue == IDENTITY else "an epilogue"

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for columns that are neighbours."""
        return Needs()

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[ProductSchedule]:
        """Returns a schedule for each size of register tile that suits the ISA."""
        return [ProductSchedule(*tile) for tile in tiles_of(isa)]

    def cost(self, problem: Problem, schedule: ProductSchedule, isa: Isa) -> Cost:
        """Returns the products, how busy whole tiles keep the units, and the operands once each."""
        nest = _nest(problem, schedule, isa)
        pairs = problem.output.shape[0] * problem.output.shape[1]
        macs = float(problem.output.size * problem.inputs[0].shape[3])
        ideal = macs / nest.macs_a_cycle / pairs
        moved = 4.0 * (sum(layout.size for layout in (*problem.inputs, problem.output)) + problem.inputs[1].size)
        return Cost(2 * macs, ideal / nest.cycles(nest.geometry.sizes()), {"l3": moved})

    def split(self, problem: Problem, schedule: ProductSchedule, isa: Isa) -> Split:
        """Divides blocks of rows of all pairs."""
        return Split(problem.output.shape[0] * problem.output.shape[1] * _blocks(_nest(problem, schedule, isa)))

    def workspace(self, problem: Problem, schedule: ProductSchedule, isa: Isa) -> int:
        """Needs the panels of a pair's second operand."""
        nest = _nest(problem, schedule, isa)
        return nest.panels * nest.panel_bytes

    def pack(
        self, problem: Problem, schedule: ProductSchedule, isa: Isa, weights: np.ndarray, channels: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Returns nothing: there are no constants."""
        return []

    def emit(self, problem: Problem, schedule: ProductSchedule, isa: Isa) -> Code:
        """Returns its code: packing, the nest and its tiles."""
        symbol = f"{self.family}_f32_{isa.key}_{schedule}_{problem.digest}"
        arguments = ("input0", "input1", "output", "workspace", "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments)
        nest = _nest(problem, schedule, isa)
        context, workspace, blocks = nest.context(f), record["workspace"], _blocks(nest)
        layouts = {"input0": problem.inputs[0], "input1": problem.inputs[1], "output": problem.output}
        inner, columns = problem.inputs[1].shape[2:]

        def unit(index: Number, _: list[Value]) -> None:
            number = f.add(record["begin"], index)
            pair, block = f.divide(number, blocks), f.remainder(number, blocks)
            outer, second = f.divide(pair, problem.output.shape[1]), f.remainder(pair, problem.output.shape[1])

            def place(name: str) -> Value:
                at = f.offset(record[name], f.mul(outer, _step(layouts[name], 0)))
                return f.offset(at, f.mul(second, _step(layouts[name], 1)))

            rows, result = place("input0"), place("output")
            is_first = f.compare("eq", f.number(index), f.number(0))
            begins = f.compare("eq", f.number(block), f.number(0))

            def pack() -> None:
                steps = (_step(layouts["input1"], 2), 4)
                copy_into_panels(f, place("input1"), steps, rows=inner, width=columns, target=workspace)

            f.when(f.binary("or", is_first, begins), pack)
            first = f.mul(block, _BLOCK)
            count = f.minimum(_BLOCK, f.sub(nest.geometry.tiles, first))
            f.loop(
                nest.columns,
                lambda column, _: nest.run(
                    f, column, first, count,
                    pixels=rows, packed=(workspace, workspace), outputs=[result], context=context,
                ),
            )  # fmt: skip

        f.loop(f.sub(record["end"], record["begin"]), unit, may_be_empty=True)
        f.ret()
        objects = {symbol: module.text()} | {tile.symbol(isa): tile.emit(isa) for tile in nest.used}
        return Code(symbol, arguments, objects)


def _nest(problem: Problem, schedule: ProductSchedule, isa: Isa) -> MatrixNest:
    """Returns the loops over one pair: its first operand's rows as pixels, the second's columns as channels."""
    rows, columns = (problem.inputs[0], problem.output)
    inner, outputs = problem.inputs[1].shape[2:]
    images = [
        Layout((1, layout.shape[3], 1, layout.shape[2]), (0, 4, 0, _step(layout, 2)), layout.dtype)
        for layout in (rows, columns)
    ]
    alone = Convolution((images[0],), images[1], weights=(outputs, inner, 1, 1))
    geometry = Geometry(images[1].shape, steps_of(alone), schedule.rows)
    block = min(_BLOCK, geometry.tiles)
    return MatrixNest(alone, isa, geometry, Runs((0,), inner), schedule.vectors, block, Prefetch(near=512))


def _blocks(nest: MatrixNest) -> int:
    return -(-nest.geometry.tiles // _BLOCK)


def _step(layout: Layout, axis: int) -> int:
    """Returns the bytes from one element of an axis to the next; 0 where there is only one."""
    return layout.strides[axis] if layout.shape[axis] > 1 else 0
