"""Steps of fusing round joins: what is split and joined again stays whole, what follows phases is done on each."""

from __future__ import annotations

from dataclasses import replace

from strop.compiler.levels import Compute, Concatenate, Graph, Interleave, Operation, Slice, Value


def join_slices(graph: Graph) -> Graph:
    """A concatenation of all slices of a value takes the value: so it can be written there, and its slices are views.

    That is how a block keeps both halves of its channels beside what it makes of one of them.
    """
    makers = {operation.output: operation for operation in graph.operations}
    operations = list(graph.operations)
    for index, operation in enumerate(operations):
        if isinstance(operation.core, Concatenate):
            operations[index] = replace(operation, inputs=_joined(graph, makers, operation, operation.core.axis))
    read = {name for operation in operations for name in operation.inputs} | set(graph.outputs)
    kept = tuple(each for each in operations if not isinstance(each.core, Slice) or each.output in read)
    names = {name for operation in kept for name in (*operation.inputs, operation.output)}
    names.update((*graph.inputs, *graph.outputs))
    values = {name: value for name, value in graph.values.items() if name in names}
    return replace(graph, operations=kept, values=values)


def _joined(graph: Graph, makers: dict[str, Operation], operation: Operation, axis: int) -> tuple[str, ...]:
    """Returns the operands of a concatenation, slices that together are all of a value replaced by that."""
    found: list[str] = []
    names = list(operation.inputs)
    while names:
        count, source = _all_of(graph, makers, names, axis)
        found.append(source if count else names[0])
        del names[: max(1, count)]
    return tuple(found)


def _all_of(graph: Graph, makers: dict[str, Operation], names: list[str], axis: int) -> tuple[int, str]:
    """Returns how many of the first operands are all of a value in order, and its name; 0 where they are not."""
    first = makers.get(names[0])
    if first is None or not isinstance(first.core, Slice):
        return 0, ""
    source = first.inputs[0]
    whole, end = graph.values[source].shape, 0
    for count, name in enumerate(names, start=1):
        maker, shape = makers.get(name), graph.values[name].shape
        if maker is None or not isinstance(maker.core, Slice) or maker.inputs[0] != source or any(
            step != 1 for step in maker.core.steps
        ):  # fmt: skip
            return 0, ""
        begins = tuple(end if i == axis else 0 for i in range(len(shape)))
        if maker.core.starts != begins or any(n != size for i, (n, size) in enumerate(zip(shape, whole, strict=True))
                                              if i != axis):  # fmt: skip
            return 0, ""
        end += shape[axis]
        if end == whole[axis]:
            return count, source
    return 0, ""


def behind_phases(graph: Graph) -> Graph:
    """What is computed element by element of interleaved phases is computed of each phase instead."""
    consumers, values = graph.consumers(), dict(graph.values)
    places = graph.producers()
    operations: list[list[Operation]] = [[operation] for operation in graph.operations]
    for index, operation in enumerate(graph.operations):
        if not isinstance(operation.core, Compute) or len(operation.inputs) != 1:
            continue
        name = operation.inputs[0]
        place = places.get(name)
        join = None if place is None else graph.operations[place]
        if join is None or place is None or not isinstance(join.core, Interleave) or name in graph.outputs:
            continue
        if len(consumers[name]) > 1 or (operation.channels and operation.axis != 1) or len(operations[place]) > 1:
            continue
        result = values[operation.output]
        if result.shape != values[name].shape:
            continue
        phases = [f"{operation.output} (phase {number})" for number in range(len(join.inputs))]
        operations[place], operations[index] = [], []
        for phase, source in zip(phases, join.inputs, strict=True):
            values[phase] = Value(phase, values[source].shape, result.dtype)
            operations[index].append(replace(operation, inputs=(source,), output=phase))
        operations[index].append(replace(join, inputs=tuple(phases), output=operation.output))
        del values[name]
    kept = tuple(operation for few in operations for operation in few)
    return replace(graph, operations=kept, values=values)
