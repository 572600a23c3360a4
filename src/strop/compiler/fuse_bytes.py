"""Steps of fusing round quantized values: bytes are read where floats stood, scales are merged."""

from __future__ import annotations

from dataclasses import replace

from strop.compiler.expressions import Expression, cast, operand, operands, substitute
from strop.compiler.levels import Compute, Graph, Operation, Reduce, Value
from strop.compiler.requantization import simplified


def read_bytes(graph: Graph) -> Graph:
    """An epilogue that reads what a dequantization makes reads the bytes behind it instead, and does its work.

    That is a quarter of the memory for three instructions. Where no other reader is left, the dequantization goes.
    """
    made = {operation.output: operation for operation in graph.operations if _is_dequantization(operation, graph)}
    if not made:
        return graph
    operations = [_reading_bytes(operation, made) for operation in graph.operations]
    read = {name for operation in operations for name in operation.inputs} | set(graph.outputs)
    kept = tuple(operation for operation in operations if operation.output not in made or operation.output in read)
    names = {name for operation in kept for name in (*operation.inputs, operation.output)}
    names.update((*graph.inputs, *graph.outputs))
    return replace(
        graph, operations=kept, values={name: value for name, value in graph.values.items() if name in names}
    )


def keep_bytes(graph: Graph) -> Graph:
    """What is quantized, made a float again and then only read by epilogues is kept in 8 bits: a quarter to write.

    The dequantization is an operation of its own again, which `read_bytes` gives to the readers.
    """
    consumers, values = graph.consumers(), dict(graph.values)
    operations: list[Operation] = []
    for operation in graph.operations:
        name = operation.output
        split = None if name in graph.outputs else _split(operation.epilogue)
        readers = [graph.operations[index] for index in consumers[name]]
        if split is None or not readers or not all(_reads_beside(reader, name) for reader in readers):
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
        if node.operation == "cast" and node.arguments[0].dtype in ("uint8", "int8") and node.dtype == "float32":
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


def _reads_beside(operation: Operation, name: str) -> bool:
    """Whether an operation reads a value in its epilogue only, beside what its core computes."""
    is_sound = operation.has_code and operation.first_operand > 0
    if any(_is_reduced(operation, index) for index, given in enumerate(operation.inputs) if given == name):
        return False
    return is_sound and name not in operation.inputs[: operation.first_operand]


def merge_scales(graph: Graph) -> Graph:
    """Simplifies epilogues whose result is quantized; what only quantizes keeps to ONNX's letter."""
    operations = []
    for operation in graph.operations:
        if not isinstance(operation.core, Compute) and graph.values[operation.output].dtype in ("uint8", "int8"):
            epilogue, channels = simplified(operation.epilogue, operation.channels)
            operation = replace(operation, epilogue=epilogue, channels=channels)
        operations.append(operation)
    return replace(graph, operations=tuple(operations))


def _is_dequantization(operation: Operation, graph: Graph) -> bool:
    """Whether it makes floats of the bytes of one value, without vectors a channel."""
    return (
        isinstance(operation.core, Compute)
        and len(operation.inputs) == 1
        and not operation.channels
        and graph.values[operation.inputs[0]].dtype in ("uint8", "int8")
        and graph.values[operation.output].dtype == "float32"
        and graph.values[operation.inputs[0]].shape == graph.values[operation.output].shape
    )


def _reading_bytes(operation: Operation, made: dict[str, Operation]) -> Operation:
    """Returns the operation with the operands of its epilogue that are dequantized replaced by their bytes."""
    if operation.output in made or not operation.has_code:
        return operation
    inputs, origin = list(operation.inputs), list(operation.origin)
    work: dict[int, Expression] = {}
    for index in range(operation.first_operand, len(inputs)):
        source = made.get(inputs[index])
        if source is not None and not _is_reduced(operation, index):
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


def _is_reduced(operation: Operation, index: int) -> bool:
    """Whether a reduction reads that operand before its epilogue."""
    return isinstance(operation.core, Reduce) and index in operands(operation.core.prologue)


def _renumbered(leaf: Expression, number: int) -> Expression | None:
    return operand(number, leaf.dtype) if leaf.operation == "operand" else None
