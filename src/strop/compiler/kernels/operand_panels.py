"""Packs a computed operand into the panels that register tiles read as weights: [panel][step][16 lanes]."""

from __future__ import annotations

from strop.compiler.emit import Function, Number, Value
from strop.compiler.kernels.matrix_tile import PANEL
from strop.compiler.kernels.pointwise import load_apart
from strop.compiler.kernels.transpose import transpose_square

Steps = tuple[int, int]
"""Bytes from row to row and from column to column."""


def transpose_into_panels(
    f: Function,
    source: Value,
    strides: Steps,
    *,
    first: Number,
    rows: Value,
    depth: int,
    width: int,
    target: Value,
) -> None:
    """Packs `width` rows of `depth` columns, from row `first` on: lanes are rows, steps columns.

    Rows behind the last of all `rows` repeat it, so that nothing else is read and every lane holds a number.
    """
    lanes = f.isa.lanes
    last = f.sub(rows, 1)

    def group(index: Number, _: list[Value]) -> None:
        lane = f.mul(index, lanes)
        pointers = []
        for row in range(lanes):
            place = f.minimum(f.add(f.add(first, lane), row), last)
            pointers.append(f.offset(source, f.mul(place, strides[0])))
        panel = f.mul(f.divide(lane, PANEL), depth * PANEL * 4)
        at = f.offset(f.offset(target, panel), f.mul(f.remainder(lane, PANEL), 4))

        def block(column: Number, columns: int) -> None:
            by = f.mul(column, strides[1])
            vectors = [load_apart(f, f.isa.vector, f.offset(p, by), 0, strides[1] or 4, columns) for p in pointers]
            to = f.offset(at, f.mul(column, PANEL * 4))
            for step, vector in enumerate(transpose_square(f, vectors)[:columns]):
                f.store(vector, to, step * PANEL * 4)

        f.loop(depth // lanes, lambda chunk, _: block(f.mul(chunk, lanes), lanes))
        if depth % lanes:
            block(depth - depth % lanes, depth % lanes)

    f.loop(width // lanes, group)


def copy_into_panels(f: Function, source: Value, strides: Steps, *, rows: Number, width: int, target: Value) -> None:
    """Packs all `rows` of `width` columns: lanes are columns, steps rows; lanes that are no column hold zeros."""
    lanes, column = f.isa.lanes, strides[1] or 4
    size = f.mul(rows, PANEL * 4)

    def panel(number: Number, columns: int) -> None:
        start = f.offset(source, f.mul(number, PANEL * column))
        panel_at = f.offset(target, f.mul(number, size))

        def row(index: Number, _: list[Value]) -> None:
            here = f.offset(start, f.mul(index, strides[0]))
            to = f.offset(panel_at, f.mul(index, PANEL * 4))
            for first in range(0, PANEL, lanes):
                count = max(0, min(lanes, columns - first))
                value = f.zero(f.isa.vector)
                if count:
                    value = load_apart(f, f.isa.vector, here, first * column, column, count)
                f.store(value, to, first * 4)

        f.loop(rows, row)

    f.loop(width // PANEL, lambda number, _: panel(number, PANEL))
    if width % PANEL:
        panel(width // PANEL, width % PANEL)
