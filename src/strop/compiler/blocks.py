"""Makes blocks: depthwise convolutions with the 1x1 convolutions round them, and gates with the products behind them.

What lies between is several times as large as what goes in and comes out. Where it would leave the caches, or nearly,
a block keeps it in them. It pays no more where maps are small and weights many: a block reads its weights anew for
every group of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from strop.compiler.expressions import multiply, operand
from strop.compiler.layouts import Shape
from strop.compiler.levels import Block, Compute, Convolve, Graph, Operation, PoolWindow, Slice, Value

LEAST_BYTES: Final = 2**20
"""Bytes that must be saved from going through memory, for a block to pay."""

MOST_WEIGHTS: Final = 384 * 2**10
"""Bytes of weights that may be read for every group of rows: they must stay in L2 beside the rows."""


def make_blocks(graph: Graph) -> Graph:
    """Returns the graph with blocks where they pay."""
    producers, consumers = graph.producers(), graph.consumers()
    operations: list[Operation | None] = list(graph.operations)
    for index, operation in enumerate(graph.operations):
        if not _is_depthwise(operation):
            continue
        before = _only_reader(graph, operation.inputs[0], producers, consumers)
        front = None
        if before is not None and (_is_front(graph.operations[before], graph)):
            front = operations[before] if operations[before] is graph.operations[before] else None
        after = consumers[operation.output]
        back = None
        if len(after) == 1 and operation.output not in graph.outputs and len(operation.inputs) == 1:
            reader = graph.operations[after[0]]
            back = reader if _is_pointwise(reader) and reader.inputs.count(operation.output) == 1 else None
            back = back if back is not None and back.inputs[0] == operation.output else None
        if len(operation.inputs) > 1:
            front = None
        chosen = _best(graph, front, operation, back)
        if len(chosen) < 2:
            continue
        places = [i for i, each in ((before, front), (index, operation), (after[0] if back else None, back))
                  if each is not None and each in chosen]  # fmt: skip
        for place in places:
            operations[place or 0] = None
        operations[places[-1] or 0] = _block(graph, chosen)
    return _rebuilt(graph, operations)


def _rebuilt(graph: Graph, operations: Sequence[Operation | None]) -> Graph:
    """Returns the graph with these operations, and the values that they still have."""
    kept = [operation for operation in operations if operation is not None]
    names = {name for operation in kept for name in (*operation.inputs, operation.output)}
    names.update((*graph.inputs, *graph.outputs))
    values = {name: value for name, value in graph.values.items() if name in names}
    return replace(graph, operations=tuple(kept), values=values)


def means_of_blocks(graph: Graph) -> Graph:
    """Returns the graph with the means of groups of rows written by blocks whose image is averaged as a whole."""
    consumers = graph.consumers()
    values = dict(graph.values)
    operations: list[Operation] = []
    replaced: dict[int, Operation] = {}
    for index, operation in enumerate(graph.operations):
        operations.append(replaced.get(index, operation))
        core, name = operation.core, operation.output
        if not isinstance(core, Block) or not _is_depthwise(core.graph.operations[-1]) or name in graph.outputs:
            continue
        averages = [i for i in consumers[name] if _averages(graph.operations[i], values[name].shape)]
        rows = _rows_of_means(core.graph.operations[-1], values[name].shape)
        if not averages or not rows:
            continue
        images, channels, height, width = values[name].shape
        whole, means = f"{name} and means", f"means of {name}"
        count = height // rows
        values[whole] = Value(whole, (images, channels, height + 1, width))
        values[means] = Value(means, (images, channels, 1, count))
        operations[-1] = replace(operation, core=Block(core.graph, rows), output=whole)
        for part, row in ((name, 0), (means, height)):
            operations.append(Operation(part, Slice((0, 0, row, 0), (1, 1, 1, 1)), (whole,), part))
        for place in averages:
            reader = graph.operations[place]
            replaced[place] = replace(
                reader, core=PoolWindow("average", (1, count)), inputs=(means, *reader.inputs[1:])
            )
    return _rebuilt(replace(graph, values=values), operations)


def _averages(operation: Operation, shape: Shape) -> bool:
    """Whether it computes the mean of all pixels of an image."""
    core = operation.core
    return isinstance(core, PoolWindow) and core.kind == "average" and core.kernel == shape[2:] and not any(core.pads)


def _rows_of_means(depthwise: Operation, shape: Shape) -> int:
    """Returns the rows of a group, 0 where a row of the image has no room for the means of all groups."""
    assert isinstance(depthwise.core, Convolve)
    rows = 2 if shape[2] % 2 == 0 and depthwise.core.weights.shape[3] <= 5 else 1
    return rows if shape[2] // rows <= shape[3] else 0


def gate_products(graph: Graph) -> Graph:
    """Returns the graph with products of an image and a number a channel inside the 1x1 convolutions that read them."""
    consumers = graph.consumers()
    operations: list[Operation | None] = list(graph.operations)
    for index, operation in enumerate(graph.operations):
        gate = _gate_of(graph, operation)
        readers = consumers[operation.output]
        if gate is None or len(readers) != 1 or operation.output in graph.outputs:
            continue
        reader = graph.operations[readers[0]]
        if not _is_pointwise(reader) or operation.output in reader.inputs[1:]:
            continue
        operations[index] = None
        operations[readers[0]] = _block(graph, [gate, reader])
    return _rebuilt(graph, operations)


def _gate_of(graph: Graph, operation: Operation) -> Operation | None:
    """Returns an operation as an image (its input 0) times a gate, None where it is none."""
    if not isinstance(operation.core, Compute) or len(operation.inputs) != 2 or operation.axis != 1:
        return None
    if operation.epilogue not in (multiply(operand(0), operand(1)), multiply(operand(1), operand(0))):
        return None
    shape = graph.values[operation.output].shape
    image, gate = sorted(operation.inputs, key=lambda name: graph.values[name].shape != shape)
    if len(shape) != 4 or shape[2:] == (1, 1) or graph.values[image].shape != shape:
        return None
    if graph.values[gate].shape != (*shape[:2], 1, 1) or gate in graph.constants:
        return None
    return replace(operation, inputs=(image, gate), epilogue=multiply(operand(0), operand(1)))


def _is_depthwise(operation: Operation) -> bool:
    core = operation.core
    if not isinstance(core, Convolve) or core.rows or core.accumulator != "float32":
        return False
    return bool(core.groups == core.weights.shape[0] > 1 and core.weights.shape[1] == 1)


def _is_pointwise(operation: Operation) -> bool:
    """Whether it is a 1x1 convolution of every pixel."""
    core = operation.core
    if not isinstance(core, Convolve) or core.rows or core.accumulator != "float32" or core.groups != 1:
        return False
    return core.weights.shape[2:] == (1, 1) and core.strides == (1, 1) and not any(core.pads)


def _is_front(operation: Operation, graph: Graph) -> bool:
    """Whether it may be a block's first stage: a 1x1 convolution, or a stem that reads the caller's image."""
    if len(operation.inputs) != 1:
        return False
    core = operation.core
    if _is_pointwise(operation):
        return True
    if not isinstance(core, Convolve) or core.rows or core.groups != 1 or core.accumulator != "float32":
        return False
    return core.weights.shape[1] <= 4 and operation.inputs[0] in graph.inputs


def _only_reader(
    graph: Graph, name: str, producers: Mapping[str, int], consumers: Mapping[str, Sequence[int]]
) -> int | None:
    """Returns who computes a value that one operation alone reads."""
    return producers.get(name) if len(consumers[name]) == 1 and name not in graph.outputs else None


def _best(graph: Graph, front: Operation | None, middle: Operation, back: Operation | None) -> list[Operation]:
    """Returns the operations to take together: those that save most, the depthwise one alone where nothing pays."""
    best, most = [middle], 0.0
    for first in (front, None):
        for last in (back, None):
            tried = [operation for operation in (first, middle, last) if operation is not None]
            saved = _saved(graph, tried)
            if len(tried) > 1 and saved > most:
                best, most = tried, saved
    return best


def _saved(graph: Graph, stages: Sequence[Operation]) -> float:
    """Returns the bytes that a block keeps in the caches, 0 where it does not pay."""
    inner = sum(2 * graph.values[stage.output].bytes for stage in stages[:-1])
    weights = sum(stage.core.weights.nbytes for stage in stages if isinstance(stage.core, Convolve))
    rows = graph.values[stages[-1].output].shape[2]
    if inner < LEAST_BYTES or weights > MOST_WEIGHTS or rows < 2:
        return 0.0
    return float(inner)


def _block(graph: Graph, stages: Sequence[Operation]) -> Operation:
    """Returns the operations as one."""
    last = stages[-1]
    inner = {stage.output for stage in stages[:-1]}
    inputs = tuple(dict.fromkeys(name for stage in stages for name in stage.inputs if name not in inner))
    values: dict[str, Value] = {name: graph.values[name] for name in (*inputs, *inner, last.output)}
    origin = tuple(dict.fromkeys(name for stage in stages for name in stage.origin))
    core = Block(Graph(last.name, inputs, (last.output,), values, tuple(stages)))
    return Operation(stages[0].name, core, inputs, last.output, origin=origin)
