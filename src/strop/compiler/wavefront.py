"""Stacked recurrent layers side by side: while one layer takes its next steps, the layer behind takes the ones before.

Each layer is cut into pieces of time, with its products; pieces of one `Turn.wave` can run at the same time, one layer
a thread, with a barrier before each wave:

    wave        0          1          2          3
    layer 0  steps 0-16  17-33     34-50       ...
    layer 1              0-16      17-33      34-50

It is done to every model of this kind, whatever the number of threads, so that this number changes no result; so only
where it costs one thread next to nothing: where a piece is long, and the weights of all layers stay in its L2 cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from strop.compiler.expressions import operands
from strop.compiler.layouts import Shape
from strop.compiler.levels import Concatenate, Convolve, Graph, Operation, Recur, Reshape, Slice, Turn, Value

MOST_PIECES: Final = 6
"""Pieces a layer is cut into: each costs a barrier (much more than its 1 us where other programs take the cores), and
with fewer the first and the last wave, in which threads are idle, are longer."""

LEAST_STEPS: Final = 8
"""Steps of a piece: so many rows a product needs to be worth its weights."""

LEAST_BYTES: Final = 500_000
"""Weights that a piece goes through, some 5 us: a barrier takes up to 1 us."""

MOST_WEIGHTS: Final = 1_500_000
"""Bytes of all layers together, so that one thread keeps them in L2 (2 MB on servers) when it goes round them."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """A recurrence, and the product of its inputs with the weights (None for the first layer: it stays whole)."""

    recurrence: Operation
    core: Recur
    product: Operation | None


def pipeline_recurrences(graph: Graph) -> Graph:
    """Cuts stacks of recurrences of one sequence into pieces."""
    while stacks := _stacks(graph):
        graph = _cut(_rows_taken_directly(graph), stacks[0])
    return graph


def _stacks(graph: Graph) -> list[list[_Layer]]:
    """Returns the stacks worth cutting, each from its first layer on."""
    found: list[list[_Layer]] = []
    inside: set[str] = set()
    for operation in graph.operations:
        if not isinstance(operation.core, Recur) or operation.output in inside or not _is_plain(graph, operation):
            continue
        stack = [_Layer(operation, operation.core, None)]
        while (following := _next(graph, stack[-1])) is not None:
            stack.append(following)
        inside.update(layer.recurrence.output for layer in stack)
        steps = _steps(graph, operation)
        weights = [layer.core.weights.nbytes for layer in stack]
        total = sum(weights) + sum(
            layer.product.core.weights.nbytes
            for layer in stack
            if layer.product is not None and isinstance(layer.product.core, Convolve)
        )
        pieces = _pieces(steps)
        if len(stack) < 2 or not pieces or min(weights) * pieces[0] < LEAST_BYTES or total > MOST_WEIGHTS:
            continue
        if _ends_are_read_later(graph, stack, steps):
            found.append(stack)
    return found


def _is_plain(graph: Graph, operation: Operation) -> bool:
    """Whether it is one sequence, forwards, all of it."""
    core = operation.core
    if not isinstance(core, Recur) or operation.turn is not None:
        return False
    return core.reverse == (False,) and "lengths" not in core.given and graph.values[operation.output].shape[1] == 1


def _steps(graph: Graph, operation: Operation) -> int:
    return graph.values[operation.inputs[0]].shape[0]


def _pieces(steps: int) -> list[int]:
    """Returns the steps of each piece, [] where there are too few."""
    count = min(MOST_PIECES, steps // LEAST_STEPS)
    if count < 2:
        return []
    each = -(-steps // count)
    return [min(each, steps - start) for start in range(0, steps, each)]


def _next(graph: Graph, layer: _Layer) -> _Layer | None:
    """Returns the layer that reads all steps of this one, where nothing else does (but its last states)."""
    consumers, name = graph.consumers(), layer.recurrence.output
    steps = _steps(graph, layer.recurrence)
    if name in graph.outputs:
        return None
    readers = [graph.operations[index] for index in consumers[name]]
    whole = [reader for reader in readers if not _is_last(graph, reader, steps)]
    if len(whole) != 1:
        return None
    while isinstance(whole[0].core, (Reshape, Slice)):
        view = whole[0]
        if isinstance(view.core, Slice) and (any(view.core.starts) or graph.values[view.output].shape[0] != steps):
            return None
        if view.output in graph.outputs or len(consumers[view.output]) != 1:
            return None
        name = view.output
        whole = [graph.operations[consumers[name][0]]]
    product, shape = whole[0], graph.values[name].shape
    if not isinstance(product.core, Convolve) or not product.core.rows or product.inputs != (name,):
        return None
    units = graph.values[layer.recurrence.output].shape[2]
    if shape != (steps, 1, units) or operands(product.epilogue) not in ([], [0]) or product.output in graph.outputs:
        return None
    if len(consumers[product.output]) != 1:
        return None
    reader = graph.operations[consumers[product.output][0]]
    if not isinstance(reader.core, Recur) or not _is_plain(graph, reader) or reader.inputs[0] != product.output:
        return None
    return _Layer(reader, reader.core, product)


def _is_last(graph: Graph, reader: Operation, steps: int) -> bool:
    """Whether it takes one row of a recurrence: the last step, or a state behind it."""
    if not isinstance(reader.core, Slice) or reader.output in graph.outputs:
        return False
    return graph.values[reader.output].shape[0] == 1 and reader.core.starts[0] >= steps - 1


def _ends_are_read_later(graph: Graph, stack: list[_Layer], steps: int) -> bool:
    """Whether who reads the last states of any layer comes behind the last layer, where all pieces will be."""
    place, consumers = graph.operations.index(stack[-1].recurrence), graph.consumers()
    return all(
        index > place
        for view in _views_of_stack(graph, stack, steps).values()
        if view.inputs[0] in {layer.recurrence.output for layer in stack} and _is_last(graph, view, steps)
        for index in consumers[view.output]
    )


def _rows_taken_directly(graph: Graph) -> Graph:
    """Slices of recurrences under another shape, which only has axes of one more or less, become slices of them."""
    producers, operations, values = graph.producers(), [], dict(graph.values)
    for operation in graph.operations:
        source = operation.inputs[0] if isinstance(operation.core, Slice) else ""
        while source in producers and isinstance(graph.operations[producers[source]].core, Reshape):
            source = graph.operations[producers[source]].inputs[0]
        core = operation.core
        is_from_recurrence = source in producers and isinstance(graph.operations[producers[source]].core, Recur)
        if not isinstance(core, Slice) or not is_from_recurrence or source == operation.inputs[0]:
            operations.append(operation)
            continue
        seen, own = values[operation.inputs[0]].shape, values[source].shape
        axes = [axis for axis, size in enumerate(seen) if size > 1]
        real = [axis for axis, size in enumerate(own) if size > 1]
        if [seen[axis] for axis in axes] != [own[axis] for axis in real]:
            operations.append(operation)
            continue
        starts, steps, shape = [0] * len(own), [1] * len(own), [1] * len(own)
        for mine, theirs in zip(real, axes, strict=True):
            starts[mine], steps[mine] = core.starts[theirs], core.steps[theirs]
            shape[mine] = values[operation.output].shape[theirs]
        name = f"{operation.output} (directly)"
        values[name] = Value(name, tuple(shape))
        taken = Slice(tuple(starts), tuple(steps))
        operations.append(replace(operation, core=taken, inputs=(source,), output=name, axis=2))
        operations.append(replace(operation, core=Reshape(), inputs=(name,)))
    return _without_unread(replace(graph, operations=tuple(operations), values=values))


def _without_unread(graph: Graph) -> Graph:
    """Leaves out views that nobody reads."""
    read, kept = set(graph.outputs), []
    for operation in reversed(graph.operations):
        if operation.has_code or operation.output in read:
            read.update(operation.inputs)
            kept.append(operation)
    return replace(graph, operations=tuple(reversed(kept)), values=_used(graph.values, kept, graph))


class _Cutter:
    """The operations and values in place of a stack's."""

    def __init__(self, graph: Graph) -> None:
        self.values: dict[str, Value] = dict(graph.values)
        self.operations: list[Operation] = []

    def add(self, operation: Operation, shape: Shape) -> str:
        """Adds an operation that gives a value of this shape."""
        self.values[operation.output] = Value(operation.output, shape)
        self.operations.append(operation)
        return operation.output

    def rows(self, like: Operation, source: str, start: int, count: int, output: str) -> str:
        """Adds a view of `count` rows of a value."""
        shape = self.values[source].shape
        if count == shape[0]:
            return source
        core = Slice((start, *(0 for _ in shape[1:])), (1,) * len(shape))
        made = Operation(like.name, core, (source,), output, axis=like.axis, origin=like.origin)
        return self.add(made, (count, *shape[1:]))


def _cut(graph: Graph, stack: list[_Layer]) -> Graph:
    steps = _steps(graph, stack[0].recurrence)
    sizes = _pieces(steps)
    cutter = _Cutter(graph)
    last_pieces = [""] * len(stack)
    pieces: list[list[str]] = [[] for _ in stack]
    for wave in range(len(sizes) + len(stack) - 1):
        for number in reversed(range(len(stack))):  # the layers behind first: they need what the wave before wrote
            piece = wave - number
            if 0 <= piece < len(sizes):
                source = pieces[number - 1][piece] if number else ""
                made = _piece(cutter, stack[number], sizes, piece, source, last_pieces[number], Turn(wave, number))
                last_pieces[number] = made
                pieces[number].append(made)
    place = max(graph.operations.index(layer.recurrence) for layer in stack)
    own = {layer.recurrence.output for layer in stack}
    own |= {layer.product.output for layer in stack if layer.product is not None}
    moved = _views_of_stack(graph, stack, steps)
    last = dict(zip((layer.recurrence.output for layer in stack), last_pieces, strict=True))
    for view in moved.values():
        if view.inputs[0] in last and _is_last(graph, view, steps):
            row = view.core.starts[0] - steps + sizes[-1] if isinstance(view.core, Slice) else 0
            shape = graph.values[view.output].shape
            core = Slice((row, *(0 for _ in shape[1:])), (1,) * len(shape))
            cutter.operations.append(replace(view, core=core, inputs=(last[view.inputs[0]],)))
    end = stack[-1].recurrence
    if _is_read(graph, end.output, moved):
        _join(cutter, graph, stack[-1], pieces[-1], sizes)
    operations: list[Operation] = []
    for index, operation in enumerate(graph.operations):
        if operation.output not in own and operation.output not in moved:
            operations.append(operation)
        if index == place:
            operations.extend(cutter.operations)
    return replace(graph, operations=tuple(operations), values=_used(cutter.values, operations, graph))


def _piece(cutter: _Cutter, layer: _Layer, sizes: list[int], piece: int, source: str, before: str, turn: Turn) -> str:
    """Adds one piece of a layer and returns its name: its steps, then the cell state after them, where there is one."""
    whole, core, size = layer.recurrence, layer.core, sizes[piece]
    name = f"{whole.output} (piece {piece})"
    if layer.product is None:
        shares = cutter.rows(whole, whole.inputs[0], sum(sizes[:piece]), size, f"{name} input")
    else:
        product = layer.product
        rows = cutter.rows(product, source, 0, size, f"{name} rows")
        shape = (size, *cutter.values[product.output].shape[1:])
        made = replace(product, inputs=(rows,), output=f"{product.output} (piece {piece})", turn=turn)
        shares = cutter.add(made, shape)
    inputs, given = whole.inputs[1:], core.given
    if piece:
        inputs, given = (cutter.rows(whole, before, sizes[piece - 1] - 1, 1, f"{name} hidden"),), ("hidden",)
        if core.cell.has_cell:
            inputs += (cutter.rows(whole, before, sizes[piece - 1], 1, f"{name} cell"),)
            given += ("cell",)
    finals: tuple[str, ...] = ("cell",) if core.cell.has_cell else ()
    if piece == len(sizes) - 1:
        finals = core.finals
    made = replace(
        whole, core=replace(core, given=given, finals=finals), inputs=(shares, *inputs), output=name, turn=turn
    )
    return cutter.add(made, (size + len(finals), *cutter.values[whole.output].shape[1:]))


def _views_of_stack(graph: Graph, stack: list[_Layer], steps: int) -> dict[str, Operation]:
    """Returns the views that go: those between layers, and single rows of any layer's end, which are made anew."""
    found: dict[str, Operation] = {}
    consumers = graph.consumers()
    for layer in stack:
        for index in consumers[layer.recurrence.output]:
            reader = graph.operations[index]
            if _is_last(graph, reader, steps):
                found[reader.output] = reader
    producers = graph.producers()
    for layer in stack[1:]:
        assert layer.product is not None
        name = layer.product.inputs[0]
        while not isinstance(graph.operations[producers[name]].core, Recur):
            view = graph.operations[producers[name]]
            found[view.output] = view
            name = view.inputs[0]
    return found


def _is_read(graph: Graph, name: str, moved: Mapping[str, Operation]) -> bool:
    if name in graph.outputs:
        return True
    return any(name in operation.inputs and operation.output not in moved for operation in graph.operations)


def _join(cutter: _Cutter, graph: Graph, layer: _Layer, pieces: list[str], sizes: list[int]) -> None:
    """Adds the value of all steps (and the states behind them) of the last layer."""
    whole = layer.recurrence
    parts = []
    for number, (name, size) in enumerate(zip(pieces, sizes, strict=True)):
        count = size + (len(layer.core.finals) if number == len(pieces) - 1 else 0)
        parts.append(cutter.rows(whole, name, 0, count, f"{name} steps"))
    shape = graph.values[whole.output].shape
    joined = Operation(whole.name, Concatenate(0), tuple(parts), whole.output, axis=whole.axis, origin=whole.origin)
    cutter.add(joined, shape)


def _used(values: Mapping[str, Value], operations: list[Operation], graph: Graph) -> dict[str, Value]:
    names = {name for operation in operations for name in (*operation.inputs, operation.output)}
    names.update((*graph.inputs, *graph.outputs, *graph.constants))
    return {name: value for name, value in values.items() if name in names}
