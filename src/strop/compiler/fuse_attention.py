"""Finds attention, however exporters write it, and computes queries, keys and values by one product.

    softmax(scale * q k^T + mask) v

is two products with a softmax between them. What lies between the first and the softmax may scale the scores (by a
product or a quotient) and leave some out (by a sum with a mask, or a choice between scores and a very low number); q
and k may have been scaled before. How heads were made out of rows is no matter here: reshapes, transpositions, splits
and squeezes are views, and stay.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from strop.compiler.expressions import IDENTITY, Expression, constant, operand
from strop.compiler.levels import (
    Attend,
    Compute,
    Convolve,
    Graph,
    MatrixMultiply,
    Operation,
    Reduce,
    Reshape,
    Slice,
    Transpose,
    Value,
)

_LOW: Final = -1e9
"""Numbers below leave a score out whatever it was: adding them to it does what choosing them instead does."""


def fuse_attention(graph: Graph) -> Graph:
    """Makes an Attend of each product, softmax and product that belong together."""
    return _Finder(graph).run()


@dataclass(frozen=True, slots=True)
class _Scores:
    """What was found between the first product and the softmax: the product, and what its result went through."""

    product: Operation
    scale: float
    mask: str
    seen: tuple[str, ...]  # the values inside


class _Finder:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values = dict(graph.values)
        self.makers = {operation.output: operation for operation in graph.operations}
        self.consumers = graph.consumers()
        self.made: dict[str, list[Operation]] = {}  # by the output they stand for

    def run(self) -> Graph:
        gone: set[str] = set()
        for operation in self.graph.operations:
            found = self._found(operation)
            if found is not None:
                gone.update(found.seen)
                self.made[operation.output] = list(self._operations(operation, found))
        kept: list[Operation] = []
        for operation in self.graph.operations:
            if operation.output not in gone:
                kept.extend(self.made.get(operation.output, [operation]))
        return without_unread(replace(self.graph, operations=tuple(kept), values=self.values))

    def _inner(self, name: str) -> Operation | None:
        """Returns what computes a value that only one operation reads and nobody outside sees."""
        if name in self.graph.outputs or len(self.consumers.get(name, ())) != 1:
            return None
        return self.makers.get(name)

    def _found(self, operation: Operation) -> _Scores | None:
        if not isinstance(operation.core, MatrixMultiply):
            return None
        rank = len(self.values[operation.output].shape)
        softmax = self._inner(operation.inputs[0])
        if softmax is None or not _is_softmax(softmax, rank - 1) or rank not in (3, 4):
            return None
        found = self._scores(softmax.inputs[0], (softmax.output,))
        if found is None:
            return None
        shapes = [self.values[name].shape for name in (*found.product.inputs, operation.inputs[1])]
        if len({shape[:-2] for shape in shapes}) != 1 or (found.mask and len(self.values[found.mask].shape) > rank):
            return None
        return found

    def _scores(self, name: str, seen: tuple[str, ...]) -> _Scores | None:
        """Goes back from the softmax's operand to the product: a mask at most, and scales before it."""
        scale, mask = 1.0, ""
        while True:
            maker = self._inner(name)
            if maker is None:
                return None
            seen = (*seen, name)
            if isinstance(maker.core, MatrixMultiply):
                return _Scores(maker, scale, mask, seen)
            if not isinstance(maker.core, Compute) or maker.channels:
                return None
            factor = _factor(maker.epilogue)
            if factor is not None:
                name, scale = maker.inputs[0], scale * factor
                continue
            # A scale found so far comes behind the mask, and would scale that too: a form nobody writes.
            if mask or scale != 1 or self.values[name].shape != self._full_shape(maker):
                return None
            added = self._added(maker)
            if added is None:
                return None
            name, mask = added

    def _full_shape(self, maker: Operation) -> tuple[int, ...]:
        return max((self.values[name].shape for name in maker.inputs), key=math.prod)

    def _added(self, maker: Operation) -> tuple[str, str] | None:
        """Returns the scores and the mask that a sum adds to them, or that a choice amounts to."""
        expression, inputs = maker.epilogue, maker.inputs
        if expression.operation == "add" and len(inputs) == 2:
            places = [int(argument.number) for argument in expression.arguments if argument.operation == "operand"]
            if sorted(places) != [0, 1]:
                return None
            shape = self.values[maker.output].shape
            for scores, mask in (inputs, inputs[::-1]):
                if self.values[scores].shape == shape and self._leads_to_product(scores):
                    return scores, mask
            return None
        if expression.operation == "where" and len(inputs) == 2:
            return self._chosen(maker)
        return None

    def _chosen(self, maker: Operation) -> tuple[str, str] | None:
        """where(condition, scores, low) or where(condition, low, scores) as scores and a mask that is made for it."""
        condition, first, second = maker.epilogue.arguments
        low, scores = (first, second) if first.operation == "constant" else (second, first)
        if low.operation != "constant" or not low.number <= _LOW or scores.operation != "operand":
            return None
        if condition.operation != "operand" or condition.number == scores.number:
            return None
        name, chooses = maker.inputs[int(scores.number)], maker.inputs[int(condition.number)]
        if not self._leads_to_product(name) or self.values[name].shape != self.values[maker.output].shape:
            return None
        mask = f"{maker.output} (mask)"
        self.values[mask] = Value(mask, self.values[chooses].shape)
        zero = constant(0)
        parts = (operand(0, "bool"), low, zero) if first is low else (operand(0, "bool"), zero, low)
        epilogue = Expression("where", parts)
        made = Operation(maker.name, Compute(), (chooses,), mask, epilogue, axis=maker.axis, origin=maker.origin)
        self.makers[mask] = made
        return name, mask

    def _leads_to_product(self, name: str) -> bool:
        maker = self._inner(name)
        while maker is not None and isinstance(maker.core, Compute) and _factor(maker.epilogue) is not None:
            maker = self._inner(maker.inputs[0])
        return maker is not None and isinstance(maker.core, MatrixMultiply)

    def _unscaled(self, name: str) -> tuple[str, float]:
        """Returns the value that `name` is a multiple of, where somebody scaled it for this alone, and the factor."""
        scale = 1.0
        maker = self._inner(name)
        while maker is not None and isinstance(maker.core, Compute) and not maker.channels:
            factor = _factor(maker.epilogue)
            if factor is None:
                break
            name, scale = maker.inputs[0], scale * factor
            maker = self._inner(name)
        return name, scale

    def _operations(self, operation: Operation, found: _Scores) -> Iterator[Operation]:
        """Yields what stands for the second product: views of its operands, the Attend, a view of its result."""
        output, origin = operation.output, [*found.product.origin, *operation.origin]
        for name in found.seen:
            origin += self.makers[name].origin
        if found.mask in self.makers and found.mask not in self.graph.values:
            yield self.makers[found.mask]

        def view(core: Reshape | Transpose, source: str, shape: tuple[int, ...], what: str) -> Operation:
            name = f"{output} ({what})"
            self.values[name] = Value(name, shape, self.values[source].dtype)
            return Operation(operation.name, core, (source,), name, axis=len(shape) - 1, origin=())

        query, query_scale = self._unscaled(found.product.inputs[0])
        key, key_scale = self._unscaled(found.product.inputs[1])
        shape = self.values[key].shape
        turned = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
        back = view(Transpose(turned), key, tuple(shape[axis] for axis in turned), "keys")
        yield back
        names = [query, back.output, operation.inputs[1], *([found.mask] if found.mask else [])]
        for place, name in enumerate(names):
            own = self.values[name].shape
            if len(own) < 4:
                whole = view(Reshape(), name, (1,) * (4 - len(own)) + own, f"operand {place}")
                yield whole
                names[place] = whole.output
        images, heads, rows, _ = self.values[names[0]].shape
        width = self.values[names[2]].shape[3]
        result = f"{output} (heads side by side)"
        self.values[result] = Value(result, (images, rows, heads, width))
        scale = float(np.float32(found.scale * query_scale * key_scale))
        yield Operation(
            operation.name, Attend(scale), tuple(names), result, axis=3, origin=tuple(dict.fromkeys(origin))
        )
        apart = Operation(operation.name, Transpose((0, 2, 1, 3)), (result,), output, axis=3, origin=())
        if len(self.values[output].shape) == 4:
            yield apart
            return
        whole = view(Transpose((0, 2, 1, 3)), result, (images, heads, rows, width), "heads apart")
        yield whole
        yield replace(apart, core=Reshape(), inputs=(whole.output,), axis=2)


def _is_softmax(operation: Operation, axis: int) -> bool:
    core = operation.core
    is_alone = len(operation.inputs) == 1 and operation.epilogue == IDENTITY
    if not isinstance(core, Reduce) or not is_alone or core.prologue != IDENTITY:
        return False
    return core.program.name == "softmax" and core.axes == (axis,) and core.groups == 1


def _factor(expression: Expression) -> float | None:
    """Returns c where the expression is operand 0 times c; None for every other."""
    if expression.operation not in ("multiply", "divide"):
        return None
    first, second = expression.arguments
    if expression.operation == "multiply" and first.operation == "constant":
        first, second = second, first
    if first != operand(0) or second.operation != "constant" or second.number == 0:
        return None
    return second.number if expression.operation == "multiply" else 1 / second.number


def without_unread(graph: Graph) -> Graph:
    """Returns the graph without operations and values that nobody reads."""
    needed, kept = set(graph.outputs), []
    for operation in reversed(graph.operations):
        if operation.output in needed:
            needed.update(operation.inputs)
            kept.append(operation)
    needed.update(graph.inputs)
    values = {name: value for name, value in graph.values.items() if name in needed}
    return replace(graph, operations=tuple(reversed(kept)), values=values)


def join_projections(graph: Graph) -> Graph:
    """Makes one product of those of the same rows whose results, seen in whatever way, are operands of attention."""
    consumers = graph.consumers()

    def is_projection(name: str) -> bool:
        readers = [graph.operations[index] for index in consumers[name]]
        views = [reader for reader in readers if reader.is_view]
        return bool(readers) and all(
            isinstance(reader.core, Attend) or (reader in views and is_projection(reader.output)) for reader in readers
        )

    groups: dict[tuple[str, Expression, int, str, int], list[Operation]] = {}
    for operation in graph.operations:
        core = operation.core
        if not isinstance(core, Convolve) or not core.rows or core.bias is not None:
            continue
        is_alone = len(operation.inputs) == 1 and operation.output not in graph.outputs
        is_float = graph.values[operation.output].dtype == "float32"
        if is_float and is_alone and is_projection(operation.output):
            given, numbers = operation.inputs[0], len(operation.channels)
            key = (given, operation.epilogue, numbers, str(core.weights.dtype), core.input_zero)
            groups.setdefault(key, []).append(operation)
    values = dict(graph.values)
    made: dict[str, list[Operation]] = {}
    gone: set[str] = set()
    for group in groups.values():
        if len(group) > 1:
            joined, parts = _joined(group, values)
            values[joined[1].name] = joined[1]
            made[group[0].output] = [joined[0], *parts]
            gone.update(operation.output for operation in group[1:])
    operations: list[Operation] = []
    for operation in graph.operations:
        if operation.output not in gone:
            operations.extend(made.get(operation.output, [operation]))
    return replace(graph, operations=tuple(operations), values=values)


def _joined(group: list[Operation], values: dict[str, Value]) -> tuple[tuple[Operation, Value], list[Operation]]:
    """Returns the product that computes all of a group, its value, and the slices that are the group's values."""
    first = group[0]
    cores = [operation.core for operation in group if isinstance(operation.core, Convolve)]
    widths = [core.weights.shape[0] for core in cores]
    shape = (*values[first.output].shape[:-1], sum(widths))
    whole = Value(f"{first.output} (and others)", shape)
    vectors = zip(*(operation.channels for operation in group), strict=True)
    joined = replace(
        first,
        core=replace(cores[0], weights=np.concatenate([core.weights for core in cores])),
        output=whole.name,
        channels=tuple(np.concatenate(each) for each in vectors),
        origin=tuple(dict.fromkeys(name for operation in group for name in operation.origin)),
    )
    parts, start = [], 0
    for operation, width in zip(group, widths, strict=True):
        starts = (*(0,) * (len(shape) - 1), start)
        core = Slice(starts, (1,) * len(shape))
        parts.append(Operation(operation.name, core, (whole.name,), operation.output, axis=len(shape) - 1, origin=()))
        start += width
    return (joined, whole), parts
