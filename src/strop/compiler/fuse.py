"""Fuses operations: what is computed element by element moves into the epilogue of what computes its operand.

A list of small steps, each graph -> graph: `fuse` is their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from strop.compiler.blocks import gate_products, make_blocks, means_of_blocks
from strop.compiler.expressions import IDENTITY, Expression, channel, flops, leaves, operand, substitute
from strop.compiler.fuse_attention import fuse_attention, join_projections
from strop.compiler.fuse_bytes import drop_copies, keep_bytes, merge_scales, quantize_parts, read_bytes
from strop.compiler.fuse_joins import behind_phases, join_slices
from strop.compiler.fuse_prologues import fuse_prologues
from strop.compiler.levels import Compute, Convolve, Graph, Operation, PoolWindow, Reduce, Resample, Reshape, Value
from strop.compiler.wavefront import pipeline_recurrences

MOST_OPERANDS: Final = 4
"""Tensors that an epilogue reads besides the core's result: each takes registers from the kernel."""

MOST_LEAVES: Final = 24
"""Leaves of an epilogue, beyond which chains are left apart: code grows with them, and the gain does not."""

MOST_WORK: Final = 128
"""Instructions of an epilogue, for the same reason."""


def fuse(graph: Graph) -> Graph:
    """Returns the graph with its operations fused."""
    for step in STEPS:
        graph = step(graph)
    return graph


def flatten_into_convolution(graph: Graph) -> Graph:
    """A matrix product of a flattened image becomes a convolution whose kernel is the image.

    So nothing depends on the order in which the image's elements lie. Images of one pixel stay: flat already.
    """
    producers, consumers = graph.producers(), graph.consumers()
    operations, values = list(graph.operations), dict(graph.values)
    for index, operation in enumerate(operations):
        core = operation.core
        if not isinstance(core, Convolve) or not core.rows or len(operation.inputs) > 1:
            continue
        flat = operation.inputs[0]
        source = operations[producers[flat]] if flat in producers else None
        if source is None or not isinstance(source.core, Reshape) or len(consumers[flat]) > 1 or flat in graph.outputs:
            continue
        image, rows = values[source.inputs[0]].shape, values[flat].shape
        if len(image) != 4 or len(rows) != 2 or image[0] != rows[0] or image[2:] == (1, 1):
            continue
        whole = f"{operation.output} (as an image)"
        values[whole] = Value(whole, (*values[operation.output].shape, 1, 1))
        filters = core.weights.reshape(core.weights.shape[0], *image[1:])
        origin = _joined(source, operation)
        operations[producers[flat]] = replace(
            operation,
            core=replace(core, weights=filters, rows=False),
            inputs=source.inputs,
            output=whole,
            axis=1,
            origin=origin,
        )
        operations[index] = Operation(operation.name, Reshape(), (whole,), operation.output, origin=operation.origin)
    return replace(graph, operations=tuple(operations), values=_used(values, operations, graph))


def fuse_epilogues(graph: Graph) -> Graph:
    """Moves each pointwise operation behind the latest operation that computes one of its operands for it alone."""
    consumers = graph.consumers()
    operations: list[Operation | None] = list(graph.operations)
    producers = graph.producers()
    for index, operation in enumerate(graph.operations):
        current = operations[index]
        assert current is not None
        if not isinstance(operation.core, Compute):
            continue
        for name in sorted(current.inputs, key=lambda each: -producers.get(each, -1)):
            place = producers.get(name)
            before = None if place is None else operations[place]
            if before is None or name in graph.outputs or len(consumers[name]) > 1:
                continue
            fused = _behind(before, current, graph)
            if fused is not None and place is not None:
                operations[place], operations[index] = None, fused
                break
    kept = [operation for operation in operations if operation is not None]
    return replace(graph, operations=tuple(kept), values=_used(graph.values, kept, graph))


def _behind(before: Operation, after: Operation, graph: Graph) -> Operation | None:
    """Returns `after`'s work as the epilogue of `before`, or None where that cannot be."""
    first, second = graph.values[before.output], graph.values[after.output]
    if not isinstance(before.core, (Convolve, PoolWindow, Resample, Reduce, Compute)) or first.shape != second.shape:
        return None
    dtypes = {graph.values[name].dtype for name in (after.output, *after.inputs)}
    if not isinstance(before.core, Compute) and dtypes & {"int64", "bool"}:
        return None  # the stores of other kernels are of one to four bytes
    if before.axis != after.axis and before.channels and after.channels:
        return None
    if not before.channels and not isinstance(before.core, Compute) and after.channels and before.axis != after.axis:
        return None
    inputs = list(before.inputs)
    numbers = {}
    for place, name in enumerate(after.inputs):
        if name == before.output:
            continue
        # The core's operand cannot serve the epilogue too: operand 0 is the core's result there.
        if name not in (inputs if isinstance(before.core, Compute) else inputs[1:]):
            inputs.append(name)
        numbers[place] = len(inputs) - 1 - inputs[::-1].index(name)
    if len(inputs) - 1 > MOST_OPERANDS:
        return None
    shift = len(before.channels)

    def move(leaf: Expression) -> Expression | None:
        if leaf.operation == "operand":
            place = int(leaf.number)
            if place in numbers or before.epilogue == IDENTITY:
                return operand(numbers.get(place, 0), leaf.dtype)
            return before.epilogue
        return channel(int(leaf.number) + shift) if leaf.operation == "channel" else None

    epilogue = substitute(after.epilogue, move)
    if after.epilogue != IDENTITY and (_count(epilogue) > MOST_LEAVES or flops(epilogue) > MOST_WORK):
        return None
    epilogue, channels = _distinct(epilogue, (*before.channels, *after.channels))
    return Operation(
        name=before.name if not isinstance(before.core, Compute) else after.name,
        core=before.core,
        inputs=tuple(inputs),
        output=after.output,
        epilogue=epilogue,
        channels=channels,
        axis=before.axis if before.channels or not isinstance(before.core, Compute) else after.axis,
        origin=_joined(before, after),
    )


def _distinct(epilogue: Expression, channels: Sequence[np.ndarray]) -> tuple[Expression, tuple[np.ndarray, ...]]:
    """Returns the epilogue without vectors that it does not read."""
    used = sorted({int(leaf.number) for leaf in leaves(epilogue) if leaf.operation == "channel"})
    renamed = substitute(
        epilogue, lambda leaf: channel(used.index(int(leaf.number))) if leaf.operation == "channel" else None
    )
    return renamed, tuple(channels[index] for index in used)


def _count(expression: Expression) -> int:
    return sum(map(_count, expression.arguments)) if expression.arguments else 1


def _joined(first: Operation, second: Operation) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first.origin, *second.origin)))


def _used(values: Mapping[str, Value], operations: Sequence[Operation], graph: Graph) -> dict[str, Value]:
    names = {name for operation in operations for name in (*operation.inputs, operation.output)}
    names.update((*graph.inputs, *graph.outputs))
    return {name: value for name, value in values.items() if name in names}


STEPS: Final[Sequence[Callable[[Graph], Graph]]] = (
    join_slices,
    quantize_parts,
    behind_phases,
    flatten_into_convolution,
    fuse_attention,
    fuse_epilogues,
    keep_bytes,
    read_bytes,
    drop_copies,
    merge_scales,
    fuse_prologues,
    join_projections,
    make_blocks,
    means_of_blocks,
    gate_products,
    pipeline_recurrences,
)
"""All of them, in their order."""
