"""A graph for every size of its inputs, learned from the graphs of a few.

Lowering and fusing work on numbers. Where they give the same operations for several sizes, what differs are numbers
that are sums and products of sizes: extents, where slices begin. So a graph for other sizes is read off between those
of `corners`, which are each size and the one above it, for every combination of sizes; and at `check`, sizes apart from
these, it must give what lowering gives, or else there is no template.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from strop.compiler.levels import Graph

Sizes = tuple[int, ...]
"""A number for each symbol, in one order."""


class NoTemplateError(LookupError):
    """Graphs of several sizes differ in more than sizes; the message says where."""


@dataclass(frozen=True, slots=True, eq=False)
class _Varying:
    """A number that differs: its value at each corner."""

    corners: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """A tuple, mapping or dataclass of which some part varies."""

    kind: type
    parts: tuple[tuple[Any, Any], ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Filled:
    """An array that repeats one element; its shape varies."""

    element: np.ndarray
    shape: Any


class ShapeTemplate:
    """Graphs by sizes.

    Args:
        first: the lower of the two sizes of each symbol at which graphs are known.
        corners: the graphs for all combinations of these sizes and the next, in the order of `corners_of`.
    """

    def __init__(self, first: Sizes, corners: Sequence[Graph]) -> None:
        self._first = first
        self._graph = _unified(list(corners), "the graph")

    def graph(self, sizes: Sizes) -> Graph:
        """Returns the graph for these sizes."""
        weights = []
        for choice in itertools.product((0, 1), repeat=len(sizes)):
            shares = [
                (size - low) if upper else (low + 1 - size)
                for size, low, upper in zip(sizes, self._first, choice, strict=True)
            ]
            weights.append(math.prod(shares))
        made = _made(self._graph, weights)
        assert isinstance(made, Graph)
        return made

    def check(self, sizes: Sizes, graph: Graph) -> None:
        """Raises NoTemplateError where the graph for these sizes is another one."""
        found = _unified([self.graph(sizes), graph], "the graph")
        if not isinstance(found, Graph):
            raise NoTemplateError("sizes that are no sums of products of the inputs' sizes")


def corners_of(first: Sizes) -> list[Sizes]:
    """Returns the sizes at which a template needs graphs: each and the next above it, in all combinations."""
    choices = itertools.product((0, 1), repeat=len(first))
    return [tuple(low + upper for low, upper in zip(first, choice, strict=True)) for choice in choices]


def _unified(things: Sequence[Any], place: str) -> Any:
    """Returns the thing where all are equal, else what varies of them; raises NoTemplateError."""
    first = things[0]
    if all(thing is first for thing in things):
        return first
    if any(type(thing) is not type(first) for thing in things):
        raise NoTemplateError(f"{place} is of several kinds")
    if isinstance(first, np.ndarray):
        return _unified_array(things, place)
    if isinstance(first, bool | str | float | None):
        if any(thing != first for thing in things):
            raise NoTemplateError(f"{place} is {' or '.join(map(str, things))}")
        return first
    if isinstance(first, int):
        return first if all(thing == first for thing in things) else _Varying(tuple(things))
    if isinstance(first, Mapping):
        return _unified_parts(things, [tuple(thing) for thing in things], place, lambda thing, key: thing[key])
    if isinstance(first, tuple):
        return _unified_parts(things, [range(len(thing)) for thing in things], place, lambda thing, key: thing[key])
    if is_dataclass(first):
        names = [tuple(field.name for field in fields(first))] * len(things)
        return _unified_parts(things, names, place, getattr)
    raise NoTemplateError(f"{place} is a {type(first).__name__}")


def _unified_parts(things: Sequence[Any], keys: Sequence[Any], place: str, get: Any) -> Any:
    if any(each != keys[0] for each in keys):
        raise NoTemplateError(f"{place} has several sets of parts")
    first = things[0]
    parts = [(key, _unified([get(thing, key) for thing in things], f"{place}, {key}")) for key in keys[0]]
    if not any(isinstance(part, _Varying | _Made | _Filled) for _, part in parts):
        return first
    return _Made(type(first), tuple(parts))


def _unified_array(things: Sequence[np.ndarray], place: str) -> Any:
    first = things[0]
    if any(thing.dtype != first.dtype or thing.ndim != first.ndim for thing in things):
        raise NoTemplateError(f"{place} is of several types")
    shapes = _unified([thing.shape for thing in things], f"{place}, its shape")
    if not isinstance(shapes, _Made):
        if not all(np.array_equal(thing, first) for thing in things[1:]):
            raise NoTemplateError(f"{place} has several values")
        return first
    element = first.reshape(-1)[:1]
    if any(thing.size == 0 or np.any(thing != element) for thing in things):
        raise NoTemplateError(f"{place} has several lengths")
    return _Filled(element, shapes)


def _made(template: Any, weights: Sequence[int]) -> Any:
    """Returns the thing for the sizes that give corners these weights."""
    if isinstance(template, _Varying):
        return sum(weight * value for weight, value in zip(weights, template.corners, strict=True))
    if isinstance(template, _Filled):
        return np.broadcast_to(template.element, _made(template.shape, weights))
    if not isinstance(template, _Made):
        return template
    parts = [(key, _made(part, weights)) for key, part in template.parts]
    if issubclass(template.kind, tuple):
        return tuple(part for _, part in parts)
    if issubclass(template.kind, Mapping):
        return dict(parts)
    return template.kind(**dict(parts))
