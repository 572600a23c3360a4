"""The third level's data: where each value lies in which buffer, and the steps that compute on these views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from strop.compiler.kernels.contract import Kernel
from strop.compiler.layouts import NO_HALO, Layout, Shape
from strop.compiler.levels import Graph, Operation


@dataclass(frozen=True, slots=True)
class Buffer:
    """Memory of `bytes` bytes: in the arena, an array of the caller's (number `index`), or a constant."""

    name: str
    kind: Literal["arena", "input", "output", "constant"]
    bytes: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """A value's place: `offset` bytes into a buffer lies its first element, the others as `layout` says."""

    buffer: str
    offset: int
    layout: Layout

    def slice(self, starts: Shape, shape: Shape, steps: Shape | None = None) -> View:
        """Returns the view of a part; a halo stays where rows and columns stay whole."""
        layout = self.layout
        by = tuple(step if n > 1 else 1 for step, n in zip(steps or (1,) * len(shape), shape, strict=True))
        offset = sum(start * stride for start, stride in zip(starts, layout.strides, strict=True))
        strides = tuple(stride * step for stride, step in zip(layout.strides, by, strict=True))
        halo = layout.halo if shape[2:] == layout.shape[2:] else NO_HALO
        return View(self.buffer, self.offset + offset, Layout(shape, strides, layout.dtype, halo, layout.fill))

    def transpose(self, permutation: tuple[int, ...]) -> View:
        """Returns the view with its axes in another order."""
        layout = self.layout
        shape = tuple(layout.shape[axis] for axis in permutation)
        strides = tuple(layout.strides[axis] for axis in permutation)
        return View(self.buffer, self.offset, Layout(shape, strides, layout.dtype))

    def reshape(self, shape: Shape) -> View | None:
        """Returns the view under another shape, or None where no strides can say that."""
        strides = reshaped_strides(self.layout, shape)
        return None if strides is None else View(self.buffer, self.offset, Layout(shape, strides, self.layout.dtype))

    def __str__(self) -> str:
        return f"{self.buffer}+{self.offset} {self.layout}"


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What one kernel is to do: an operation on views, or, where there is none, zeros for the halo of `output`.

    kernel: the family that `output` and `inputs` were laid out for. A copy that layout put in has no origin.
    """

    name: str
    operation: Operation | None
    inputs: tuple[View, ...]
    output: View
    kernel: Kernel

    @property
    def is_copy(self) -> bool:
        """Whether it only brings a value into another layout."""
        return self.operation is not None and not self.operation.origin


@dataclass(frozen=True, slots=True, eq=False)
class ViewGraph:
    """The steps in order, the buffers they work on, and the view of every value (of `graph`, the fused operations)."""

    graph: Graph
    buffers: Mapping[str, Buffer]
    views: Mapping[str, View]
    steps: tuple[Step, ...]

    @property
    def copies(self) -> int:
        """How many copies layout had to put in."""
        return sum(step.is_copy for step in self.steps)

    def lines(self) -> Iterator[str]:
        """Yields the level as text: buffers, views, steps."""
        yield f"views of {self.graph.name}"
        for buffer in self.buffers.values():
            yield f"  buffer {buffer.name}: {buffer.kind}, {buffer.bytes} bytes"
        for name, view in self.views.items():
            yield f"  value {name} at {view}"
        for step in self.steps:
            what = "border" if step.operation is None else "copy" if step.is_copy else str(step.operation.core)
            reads = "; ".join(map(str, step.inputs))
            behind = f" then {step.operation.epilogue}" if step.operation and not step.is_copy else ""
            yield f"  {step.name}: {what} [{step.kernel.family}] of ({reads}){behind} to {step.output}"

    def __str__(self) -> str:
        return "\n".join(self.lines())


def reshaped_strides(layout: Layout, shape: Shape) -> tuple[int, ...] | None:
    """Returns the strides under which elements of `layout`, in C order, have another shape; None where none do.

    Example:
        >>> from strop.compiler.layouts import channels_last
        >>> reshaped_strides(channels_last((2, 3, 1, 1)), (2, 3))
        (12, 4)
    """
    old = [(n, s) for n, s in zip(layout.shape, layout.strides, strict=True) if n != 1]
    strides, place = [0] * len(shape), 0
    axis = 0
    while axis < len(shape):
        if shape[axis] == 1:
            axis += 1
            continue
        if place == len(old):
            return None
        # Take axes from either side until both hold as many elements.
        last, end = place + 1, axis + 1
        have, want = old[place][0], shape[axis]
        while have != want:
            if have < want:
                if last == len(old):
                    return None
                have, last = have * old[last][0], last + 1
            else:
                want, end = want * shape[end], end + 1
        if any(old[i][1] != old[i + 1][0] * old[i + 1][1] for i in range(place, last - 1)):
            return None
        step = old[last - 1][1]
        for inner in reversed(range(axis, end)):
            strides[inner] = step
            step *= shape[inner]
        place, axis = last, end
    # Axes of one element get what C order would give them: kernels look at strides, not at extents.
    step = layout.itemsize
    for inner in reversed(range(len(shape))):
        if shape[inner] == 1:
            strides[inner] = step
        step = strides[inner] * shape[inner]
    return tuple(strides)


def constant_view(name: str, array: np.ndarray, *, channels_last: bool) -> View:
    """Returns the view in which a constant is kept: compact, what repeats once only."""
    order = [0, *range(2, array.ndim), 1] if channels_last and array.ndim == 4 else list(range(array.ndim))
    strides, step = [0] * array.ndim, array.itemsize
    for axis in reversed(order):
        if array.strides[axis] != 0 and array.shape[axis] > 1:
            strides[axis] = step
            step *= array.shape[axis]
    return View(name, 0, Layout(array.shape, tuple(strides), str(array.dtype)))


def constant_bytes(array: np.ndarray, layout: Layout) -> np.ndarray:
    """Returns a constant's elements in the order in which `constant_view` lays them out."""
    distinct = array[tuple(slice(None) if stride else slice(0, 1) for stride in layout.strides)]
    order = sorted(range(array.ndim), key=lambda axis: -layout.strides[axis])
    return np.ascontiguousarray(distinct.transpose(order)).reshape(-1)
