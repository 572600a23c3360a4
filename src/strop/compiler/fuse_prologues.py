"""Fuses what is computed element by element into the statistics that read it: a residual sum before a normalization."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from strop.compiler.expressions import Expression, channel, operand, operands, substitute
from strop.compiler.levels import Compute, Graph, Operation, Reduce

MOST_INPUTS: Final = 5
"""Tensors that statistics read at once."""


def fuse_prologues(graph: Graph) -> Graph:
    """Moves each pointwise operation that only a reduction or normalization reads into its prologue."""
    consumers, producers = graph.consumers(), graph.producers()
    operations: list[Operation | None] = list(graph.operations)
    for index, operation in enumerate(graph.operations):
        current = operation
        if not isinstance(operation.core, Reduce):
            continue
        for name in operation.inputs:
            place = producers.get(name)
            before = None if place is None else operations[place]
            if before is None or name in graph.outputs or len(consumers[name]) > 1:
                continue
            fused = _within(before, current, graph)
            if fused is not None and place is not None:
                operations[place], operations[index] = None, fused
                current = fused
    kept = [operation for operation in operations if operation is not None]
    names = {name for operation in kept for name in (*operation.inputs, operation.output)}
    names.update((*graph.inputs, *graph.outputs))
    values = {name: value for name, value in graph.values.items() if name in names}
    return replace(graph, operations=tuple(kept), values=values)


def _within(before: Operation, after: Operation, graph: Graph) -> Operation | None:
    """Returns the reduction `after` with the work of `before` in its prologue, or None where that cannot be."""
    core, place = after.core, after.inputs.index(before.output)
    assert isinstance(core, Reduce)
    value = graph.values[before.output]
    if not isinstance(before.core, Compute) or value.shape != core.shape or value.dtype != "float32":
        return None
    if after.inputs.count(before.output) > 1 or (place and place in operands(after.epilogue)):
        return None
    if before.channels and (core.program.result is None or (after.channels and before.axis != after.axis)):
        return None
    if not before.inputs or len(before.inputs) + len(after.inputs) - 1 > MOST_INPUTS:
        return None
    more, shift = len(before.inputs) - 1, len(before.channels)

    def own(leaf: Expression) -> Expression | None:
        """Renumbers the leaves of `before`."""
        return operand(int(leaf.number) + place, leaf.dtype) if leaf.operation == "operand" else None

    def later(leaf: Expression, *, epilogue: bool) -> Expression | None:
        number = int(leaf.number)
        if leaf.operation == "channel":
            return channel(number + shift)
        if leaf.operation != "operand" or (epilogue and number == 0):
            return None
        if number == place:
            return substitute(before.epilogue, own)
        return operand(number + more if number > place else number, leaf.dtype)

    prologue = substitute(core.prologue, lambda leaf: later(leaf, epilogue=False))
    return replace(
        after,
        core=replace(core, prologue=prologue),
        inputs=(*after.inputs[:place], *before.inputs, *after.inputs[place + 1 :]),
        epilogue=substitute(after.epilogue, lambda leaf: later(leaf, epilogue=True)),
        channels=(*before.channels, *after.channels),
        axis=before.axis if before.channels else after.axis,
        origin=tuple(dict.fromkeys((*before.origin, *after.origin))),
    )
