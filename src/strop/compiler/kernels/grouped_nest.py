"""Loops over groups of elements: kept axes choose the group, reduced ones its elements; vectors run along either.

Along a reduced axis ("across") a vector holds elements of one group, and lanes are combined at the end. Along a kept
axis every lane is a group of its own, and a block of vectors is combined element by element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from strop.compiler.emit import Function, Number, Value
from strop.compiler.kernels.nest import Axis, advance
from strop.compiler.layouts import Layout, Shape

_LONG = 512  # steps of a loop beyond which sums are taken by parts, which round less
_PART = 256


@dataclass(frozen=True, slots=True)
class Grouped:
    """kept: loops over groups, outermost first; reduced: loops over a group; vector: the axis along which vectors run.

    The vector's axis is in neither list. With `across` it is a reduced one; without, vectors form blocks of `vectors`,
    and the last loop of `kept` counts them. scratch: bytes of a thread's workspace that hold a number an element: its
    pointer is the last of all.
    """

    kept: list[Axis]
    reduced: list[Axis]
    vector: Axis
    across: bool
    vectors: int
    scratch: int


def grouped(
    extents: Shape,
    reduced: Sequence[int],
    groups: int,
    tensors: Sequence[tuple[int, ...]],
    items: Sequence[int],
    lanes: int,
) -> Grouped:
    """Returns the loops over elements of these extents; `tensors`: byte strides, the output first, `items`: sizes.

    groups: into how many parts axis 1 is divided where it is reduced.
    """
    rows = [(extent, tuple(t[axis] for t in tensors), axis in reduced) for axis, extent in enumerate(extents)]
    if groups > 1:
        extent, strides, _ = rows[1]
        each = extent // groups
        rows[1:2] = [(groups, tuple(s * each for s in strides), False), (each, strides, True)]
    rows = sorted((row for row in rows if row[0] > 1), key=lambda row: -max(row[1][1:], default=0))
    lists = [_merged([Axis(n, s) for n, s, is_reduced in rows if is_reduced is wanted]) for wanted in (False, True)]

    def fitness(axis: Axis) -> tuple[int, int]:
        """How many tensors lie along it, and how many vectors it gives."""
        near = sum(stride == item for stride, item in zip(axis.strides, items, strict=True))
        apart = sum(stride not in (0, item) for stride, item in zip(axis.strides, items, strict=True))
        return near - 4 * apart, min(axis.extent, 4 * lanes)

    every = [(axis, is_reduced) for is_reduced in (True, False) for axis in lists[is_reduced]]
    vector, across = max(every, key=lambda pair: fitness(pair[0]), default=(Axis(1, tuple(items)), True))
    kept, inner = ([axis for axis in each if axis is not vector] for each in lists)
    vectors = min(4, -(-vector.extent // lanes))
    if across:
        step = -(-vector.extent // lanes) * lanes * 4
    else:
        step = vectors * lanes * 4
        block = vectors * lanes
        kept.append(Axis(-(-vector.extent // block), tuple(stride * block for stride in vector.strides)))
    with_scratch: list[Axis] = []
    for axis in reversed(inner):
        with_scratch.insert(0, Axis(axis.extent, (*axis.strides, step)))
        step *= axis.extent
    kept = [Axis(axis.extent, (*axis.strides, 0)) for axis in kept]
    return Grouped(kept, with_scratch, Axis(vector.extent, (*vector.strides, 4)), across, vectors, step)


def _merged(axes: Sequence[Axis]) -> list[Axis]:
    merged: list[Axis] = []
    for axis in axes:
        last = merged[-1] if merged else None
        if last and all(a == b * axis.extent for a, b in zip(last.strides, axis.strides, strict=True)):
            merged[-1] = Axis(last.extent * axis.extent, axis.strides)
        else:
            merged.append(axis)
    return merged


Visit = Callable[[list[Value], list[int], list[Value]], list[Value]]
"""Takes pointers, the lanes of each vector there, and what is carried, of which it gives what follows."""


def walk_group(
    f: Function,
    loops: Grouped,
    pointers: list[Value],
    lanes: list[int],
    visit: Visit,
    start: Sequence[Value] = (),
    join: Callable[[Value, Value], Value] | None = None,
) -> list[Value]:
    """Visits all elements of a group (of a block of groups); returns what is carried out.

    lanes: of a block's vectors, where vectors are not across. join: how parts that each begin with `start` become one.
    """

    def part(axes: Sequence[Axis], at: list[Value], carried: list[Value]) -> list[Value]:
        """Runs inner loops from `start`, so that long sums are sums of sums."""
        if join is None:
            return run(axes, at, carried)
        inner = run(axes, at, list(start))
        return [join(before, now) for before, now in zip(carried, inner, strict=True)]

    def run(axes: Sequence[Axis], at: list[Value], carried: list[Value]) -> list[Value]:
        if not axes:
            return _along(f, loops, at, visit, carried) if loops.across else visit(at, lanes, carried)
        axis, *deeper = axes
        if deeper or loops.across:
            return f.loop(axis.extent, lambda i, now: part(deeper, advance(f, axis, at, i), now), carried)
        if axis.extent <= _LONG or join is None:
            return f.loop(axis.extent, lambda i, now: visit(advance(f, axis, at, i), lanes, now), carried)
        whole = replace(axis, extent=_PART)
        step = Axis(axis.extent // _PART, tuple(stride * _PART for stride in axis.strides))
        carried = f.loop(step.extent, lambda i, now: part([whole], advance(f, step, at, i), now), carried)
        rest = axis.extent % _PART
        if rest:
            carried = part([replace(axis, extent=rest)], advance(f, step, at, step.extent), carried)
        return carried

    return run(loops.reduced, pointers, list(start))


def _along(f: Function, loops: Grouped, at: list[Value], visit: Visit, carried: list[Value]) -> list[Value]:
    """Visits the vector's axis in blocks; the last vector may have fewer lanes."""
    axis, width = loops.vector, f.isa.lanes
    block = width * loops.vectors

    def step(index: Number, now: list[Value]) -> list[Value]:
        return visit(advance(f, axis, at, f.mul(index, block)), [width] * loops.vectors, now)

    carried = f.loop(axis.extent // block, step, carried)
    rest = axis.extent % block
    if rest:
        counts = [min(width, rest - first) for first in range(0, rest, width)]
        carried = visit(advance(f, axis, at, axis.extent - rest), counts, carried)
    return carried


def each_block(f: Function, loops: Grouped, places: Sequence[Number], body: Callable[[list[int]], None]) -> None:
    """Runs `body(lanes of each vector)` for the block of groups whose place is the last of `places`."""
    width = f.isa.lanes
    whole = [width] * loops.vectors
    rest = loops.vector.extent % (width * loops.vectors)
    if loops.across or not rest:
        body(whole)
        return
    part = [min(width, rest - first) for first in range(0, rest, width)]
    count = loops.kept[-1].extent
    if count == 1:
        body(part)
        return
    place, last = f.number(places[-1]), f.number(count - 1)
    f.when(f.compare("eq", place, last), lambda: body(part))
    f.when(f.compare("ne", place, last), lambda: body(whole))


def broadcast_strides(layout: Layout, extents: Shape) -> tuple[int, ...]:
    """Returns a layout's strides under these extents: 0 where it repeats."""
    missing = len(extents) - len(layout.shape)
    pairs = zip(layout.shape, layout.strides, extents[missing:], strict=True)
    return (0,) * missing + tuple(0 if mine == 1 else stride for mine, stride, _ in pairs)
