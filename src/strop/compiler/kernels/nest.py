"""Loops over tensors of any layout: axes that lie alike in all of them are merged, the outer ones are divided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul

from strop.compiler.emit import Function, Number, Value
from strop.compiler.kernels.contract import Problem
from strop.compiler.layouts import Layout

_UNITS = 64  # as many units as a team may want


@dataclass(frozen=True, slots=True)
class Axis:
    """A loop: how often, and how many bytes each tensor moves a step (0: the tensor repeats)."""

    extent: int
    strides: tuple[int, ...]


def axes_of(problem: Problem) -> list[Axis]:
    """Returns the loops over the output, outermost first in its memory, merged where every tensor allows.

    Tensors: the output, the inputs, then the per-channel vectors. An input with fewer axes, or of extent 1 where the
    output has more, repeats.
    """
    shape, output = problem.output.shape, problem.output.strides
    channel = tuple(4 if axis == 1 else 0 for axis in range(len(shape)))
    tensors = [output, *(_broadcast(layout, shape) for layout in problem.inputs), *[channel] * problem.channels]
    order = sorted((axis for axis in range(len(shape)) if shape[axis] > 1), key=lambda axis: -output[axis])
    merged: list[Axis] = []
    for axis in order:
        new = Axis(shape[axis], tuple(strides[axis] for strides in tensors))
        last = merged[-1] if merged else None
        if last and all(a == b * new.extent for a, b in zip(last.strides, new.strides, strict=True)):
            merged[-1] = Axis(last.extent * new.extent, new.strides)
        else:
            merged.append(new)
    alone = (*(layout.itemsize for layout in (problem.output, *problem.inputs)), *[4] * problem.channels)
    return merged or [Axis(1, alone)]


def _broadcast(layout: Layout, shape: tuple[int, ...]) -> tuple[int, ...]:
    missing = len(shape) - len(layout.shape)
    pairs = zip(layout.shape, layout.strides, shape[missing:], strict=True)
    return (0,) * missing + tuple(0 if mine == 1 < whole else stride for mine, stride, whole in pairs)


def unit_axes(axes: Sequence[Axis]) -> int:
    """Returns how many of the outer loops become units that a team divides: enough of them, no more."""
    products = list(accumulate((axis.extent for axis in axes), mul))
    return next((count + 1 for count, product in enumerate(products) if product >= _UNITS), len(axes))


def units(axes: Sequence[Axis]) -> int:
    """Returns how many units the outer loops make."""
    count = 1
    for axis in axes[: unit_axes(axes)]:
        count *= axis.extent
    return count


def walk_units(
    f: Function,
    axes: Sequence[Axis],
    begin: Value,
    end: Value,
    pointers: Sequence[Value],
    body: Callable[[list[Value], list[Number]], None],
) -> None:
    """Runs `body(pointers, index of each axis)` for the units from `begin` to `end`, and all loops inside them."""
    outer = unit_axes(axes)

    def unit(index: Number, _: list[Value]) -> None:
        rest = f.add(begin, index)
        places: list[Number] = []
        for axis in reversed(axes[:outer]):
            places.insert(0, f.remainder(rest, axis.extent))
            rest = f.divide(rest, axis.extent)
        at = list(pointers)
        for axis, place in zip(axes, places, strict=False):
            at = advance(f, axis, at, place)
        walk(f, axes[outer:], at, lambda inner, more: body(inner, [*places, *more]))

    f.loop(f.sub(end, begin), unit, may_be_empty=True)


def walk(
    f: Function, axes: Sequence[Axis], pointers: Sequence[Value], body: Callable[[list[Value], list[Number]], None]
) -> None:
    """Runs `body(pointers, index of each axis)` for every step of these loops, the first outermost."""
    if not axes:
        body(list(pointers), [])
        return

    def step(index: Number, _: list[Value]) -> None:
        at = advance(f, axes[0], pointers, index)
        walk(f, axes[1:], at, lambda inner, places: body(inner, [index, *places]))

    f.loop(axes[0].extent, step)


def advance(f: Function, axis: Axis, pointers: Sequence[Value], by: Number) -> list[Value]:
    """Returns the pointers `by` steps of the axis further."""
    return [
        f.offset(pointer, f.mul(by, stride)) if stride else pointer
        for pointer, stride in zip(pointers, axis.strides, strict=True)
    ]
