"""Steps of fusing round quantized values: bytes are read where floats stood, scales are merged."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from strop.compiler.expressions import IDENTITY, Expression, cast, evaluate, operand, operands, substitute
from strop.compiler.levels import Compute, Concatenate, Graph, Operation, PoolWindow, Reduce, Value
from strop.compiler.requantization import simplified

_BYTES: Final = ("uint8", "int8")


def quantize_parts(graph: Graph) -> Graph:
    """What is quantized behind a concatenation is quantized in its parts, so that bytes are joined."""
    consumers, values, places = graph.consumers(), dict(graph.values), graph.producers()
    operations: list[list[Operation]] = [[operation] for operation in graph.operations]
    for index, operation in enumerate(graph.operations):
        if not _is_quantization(operation, graph):
            continue
        name = operation.inputs[0]
        place = places.get(name)
        join = None if place is None else graph.operations[place]
        if place is None or join is None or not isinstance(join.core, Concatenate):
            continue
        if name in graph.outputs or len(consumers[name]) > 1:
            continue
        parts = [f"{operation.output} (part {number})" for number in range(len(join.inputs))]
        for part, source in zip(parts, join.inputs, strict=True):
            values[part] = Value(part, values[source].shape, values[operation.output].dtype)
        operations[place] = []
        operations[index] = [
            *(
                replace(operation, inputs=(source,), output=part)
                for part, source in zip(parts, join.inputs, strict=True)
            ),
            replace(join, inputs=tuple(parts), output=operation.output),
        ]
        del values[name]
    return replace(graph, operations=tuple(one for few in operations for one in few), values=values)


def _is_quantization(operation: Operation, graph: Graph) -> bool:
    """Whether it makes bytes of the floats of one value, without vectors a channel."""
    return _converts(operation, graph, ("float32",), _BYTES)


def _is_dequantization(operation: Operation, graph: Graph) -> bool:
    """Whether it makes floats of the bytes of one value, without vectors a channel."""
    return _converts(operation, graph, _BYTES, ("float32",))


def _converts(operation: Operation, graph: Graph, sources: tuple[str, ...], targets: tuple[str, ...]) -> bool:
    if not isinstance(operation.core, Compute) or len(operation.inputs) != 1 or operation.channels:
        return False
    given, result = graph.values[operation.inputs[0]], graph.values[operation.output]
    return given.dtype in sources and result.dtype in targets and given.shape == result.shape


def read_bytes(graph: Graph) -> Graph:
    """An epilogue that reads what a dequantization makes reads the bytes behind it instead, and does its work.

    That is a quarter of the memory for three instructions. Where no other reader is left, the dequantization goes.
    """
    made = {operation.output: operation for operation in graph.operations if _is_dequantization(operation, graph)}
    if not made:
        return graph
    operations = [_reading_bytes(operation, made, graph) for operation in graph.operations]
    read = {name for operation in operations for name in operation.inputs} | set(graph.outputs)
    kept = tuple(operation for operation in operations if operation.output not in made or operation.output in read)
    names = {name for operation in kept for name in (*operation.inputs, operation.output)}
    names.update((*graph.inputs, *graph.outputs))
    return replace(
        graph, operations=kept, values={name: value for name, value in graph.values.items() if name in names}
    )


def keep_bytes(graph: Graph) -> Graph:
    """What is quantized, made a float again and then only read where bytes do is kept in 8 bits: a quarter to write.

    The dequantization is an operation of its own again, which `read_bytes` gives to the readers.
    """
    consumers, values = graph.consumers(), dict(graph.values)
    operations: list[Operation] = []
    for operation in graph.operations:
        name = operation.output
        split = None if name in graph.outputs else _split(operation.epilogue)
        readers = [graph.operations[index] for index in consumers[name]]
        if split is None or not readers or not all(_reads_bytes(reader, name) for reader in readers):
            operations.append(operation)
            continue
        inner, outer = split
        narrow = Value(f"{name} (in 8 bits)", values[name].shape, inner.dtype)
        values[narrow.name] = narrow
        operations.append(replace(operation, epilogue=inner, output=narrow.name))
        operations.append(Operation(name, Compute(), (narrow.name,), name, epilogue=outer, origin=()))
    return replace(graph, operations=tuple(operations), values=values)


def _split(epilogue: Expression) -> tuple[Expression, Expression] | None:
    """Returns the part of an epilogue that quantizes, and what makes a float of operand 0 in 8 bits behind it."""
    found: list[Expression] = []

    def outer(node: Expression) -> Expression | None:
        if node.operation == "cast" and node.arguments[0].dtype in _BYTES and node.dtype == "float32":
            found.append(node.arguments[0])
            return cast(operand(0, node.arguments[0].dtype), "float32")
        if node.operation == "constant":
            return node
        if node.operation not in ("subtract", "multiply"):
            return None
        arguments = [outer(argument) for argument in node.arguments]
        known = [argument for argument in arguments if argument is not None]
        return replace(node, arguments=tuple(known)) if len(known) == len(arguments) else None

    rest = outer(epilogue)
    if rest is None or len(found) != 1 or found[0].operation != "cast":
        return None
    return found[0], rest


def _reads_bytes(operation: Operation, name: str) -> bool:
    """Whether an operation could read a value's bytes: in its epilogue, or where it looks for the largest."""
    if _is_largest(operation):
        return True
    if not operation.has_code or operation.first_operand == len(operation.inputs):
        return False
    if any(_is_reduced(operation, index) for index, given in enumerate(operation.inputs) if given == name):
        return False
    return name not in operation.inputs[: operation.first_operand]


def drop_copies(graph: Graph) -> Graph:
    """Bytes made floats and quantized to the same bytes again are what they were."""
    same: dict[str, str] = {}
    operations = []
    for operation in graph.operations:
        inputs = tuple(same.get(name, name) for name in operation.inputs)
        if operation.output not in graph.outputs and _is_copy(operation, graph):
            same[operation.output] = inputs[0]
            continue
        if _is_largest(operation) and _gives_its_bytes(operation, graph):
            operation = replace(operation, epilogue=operand(0, graph.values[operation.output].dtype))
        operations.append(replace(operation, inputs=inputs))
    values = {name: value for name, value in graph.values.items() if name not in same}
    return replace(graph, operations=tuple(operations), values=values)


def _is_copy(operation: Operation, graph: Graph) -> bool:
    is_alone = isinstance(operation.core, Compute) and len(operation.inputs) == 1
    if not is_alone or graph.values[operation.inputs[0]].shape != graph.values[operation.output].shape:
        return False
    return _gives_its_bytes(operation, graph)


def _gives_its_bytes(operation: Operation, graph: Graph) -> bool:
    """Whether the epilogue makes every byte of the first input that byte again: all 256 are tried."""
    dtype = graph.values[operation.inputs[0]].dtype
    if dtype not in _BYTES or graph.values[operation.output].dtype != dtype or len(operation.inputs) > 1:
        return False
    if operation.channels or operation.epilogue == IDENTITY:
        return False
    every = _every(dtype)
    return bool(np.array_equal(evaluate(operation.epilogue, [every]), every))


def _keeps_order(operation: Operation, graph: Graph) -> bool:
    """Whether larger bytes become larger floats: not where a scale is negative."""
    floats = evaluate(operation.epilogue, [_every(graph.values[operation.inputs[0]].dtype)])
    return bool(np.all(np.diff(floats) > 0))


def _every(dtype: str) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.arange(limits.min, limits.max + 1).astype(dtype)


def merge_scales(graph: Graph) -> Graph:
    """Simplifies epilogues whose result is quantized; what only quantizes keeps to ONNX's letter."""
    operations = []
    for operation in graph.operations:
        if not isinstance(operation.core, Compute) and graph.values[operation.output].dtype in _BYTES:
            epilogue, channels = simplified(operation.epilogue, operation.channels)
            operation = replace(operation, epilogue=epilogue, channels=channels)
        operations.append(operation)
    return replace(graph, operations=tuple(operations))


def _reading_bytes(operation: Operation, made: dict[str, Operation], graph: Graph) -> Operation:
    """Returns the operation with the operands of its epilogue that are dequantized replaced by their bytes."""
    if operation.output in made or not operation.has_code:
        return operation
    inputs, origin = list(operation.inputs), list(operation.origin)
    work: dict[int, Expression] = {}
    first = 0 if _is_largest(operation) else operation.first_operand
    for index in range(first, len(inputs)):
        source = made.get(inputs[index])
        if source is None or _is_reduced(operation, index):
            continue
        if index >= operation.first_operand or _keeps_order(source, graph):
            work[index] = source.epilogue
            inputs[index] = source.inputs[0]
            origin += source.origin
    if not work:
        return operation

    def bytes_of(leaf: Expression) -> Expression | None:
        if leaf.operation != "operand" or int(leaf.number) not in work:
            return None
        number = int(leaf.number)
        return substitute(work[number], lambda inner: _renumbered(inner, number))

    epilogue = substitute(operation.epilogue, bytes_of)
    return replace(operation, inputs=tuple(inputs), epilogue=epilogue, origin=tuple(dict.fromkeys(origin)))


def _is_largest(operation: Operation) -> bool:
    """Whether it looks for the largest of what it reads: among bytes as among what they stand for."""
    return isinstance(operation.core, PoolWindow) and operation.core.kind == "max"


def _is_reduced(operation: Operation, index: int) -> bool:
    """Whether a reduction reads that operand before its epilogue."""
    return isinstance(operation.core, Reduce) and index in operands(operation.core.prologue)


def _renumbered(leaf: Expression, number: int) -> Expression | None:
    return operand(number, leaf.dtype) if leaf.operation == "operand" else None
