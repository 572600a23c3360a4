"""Decides where each value lies: its order of axes, its halo, which buffer it shares, and where a copy must be.

Every kernel says what it needs. Images lie channels-last, their pixels spaced to avoid cache aliasing, with the zeros
around them that any of their readers wants; arrays of the caller are dense. Three ways to save memory and copies, each
a `Home` of a value in that of another: a part of a join, the place of an operand that dies where it is added (in
place), an output; the last and the first also where only views (reshapes, transpositions) lie between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from strop.compiler.asking import Ask, usual_layout, usual_layouts
from strop.compiler.choose import Choice
from strop.compiler.expressions import operand
from strop.compiler.kernels.contract import Kernel, Needs
from strop.compiler.layouts import NO_HALO, Halo, Layout, Shape, channels_last, dense
from strop.compiler.levels import (
    JOINS,
    Compute,
    Concatenate,
    Convolve,
    Gather,
    Graph,
    Interleave,
    Operation,
    Reshape,
    Slice,
    Transpose,
    Value,
    parts_of,
)
from strop.compiler.views import Buffer, Step, View, ViewGraph, constant_view, reshaped_strides


@dataclass(frozen=True, slots=True)
class Home:
    """Where a value lies that has no buffer of its own: in that of `value`, which is written later.

    starts, steps, shape: where its part of a join begins, and which elements it is; None where it is the same place.
    through: the views that make the part of the value, the last one first.
    """

    value: str
    starts: Shape | None = None
    steps: Shape | None = None
    shape: Shape = ()
    through: tuple[Operation, ...] = ()

    def inside(self, whole: View, graph: Graph) -> View | None:
        """Returns the value's view in that of `value`; None where no strides can say it."""
        view: View | None = whole if self.starts is None else whole.slice(self.starts, self.shape, self.steps)
        for operation in self.through:
            if view is not None and isinstance(operation.core, Transpose):
                order = operation.core.permutation
                view = view.transpose(tuple(order.index(axis) for axis in range(len(order))))
            elif view is not None:
                view = view.reshape(graph.values[operation.inputs[0]].shape)
        return view


@dataclass(slots=True)
class _Layouter:
    graph: Graph
    ask: Ask
    makers: dict[str, Operation]  # who computes each value
    kernels: dict[str, Kernel] = field(default_factory=dict)
    needs: dict[str, Needs] = field(default_factory=dict)
    halos: dict[str, Halo] = field(default_factory=dict)
    fills: dict[str, int] = field(default_factory=dict)  # what readers want in the halo of a value
    homes: dict[str, Home] = field(default_factory=dict)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    views: dict[str, View] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    copies: dict[tuple[str, str, bool, int], View] = field(default_factory=dict)
    wholes: dict[str, View] = field(default_factory=dict)  # of each buffer of the arena: the view that fills it


def lay_out(graph: Graph, ask: Ask) -> ViewGraph:
    """Returns the views of all values of a fused graph and the steps that compute them.

    ask: `choose` for this machine's code; it raises NoKernelError where nothing computes an operation.
    """
    work = _Layouter(graph, ask, {operation.output: operation for operation in graph.operations})
    _ask_kernels(work)
    _collect_halos(work)
    _find_homes(work)
    _place_doors(work)
    for operation in graph.operations:
        _add(work, operation)
    _add_borders(work)
    return ViewGraph(graph, work.buffers, work.views, tuple(work.steps))


# -- what kernels want


def _ask_kernels(work: _Layouter) -> None:
    graph = work.graph
    for operation in graph.operations:
        if not operation.has_code:
            continue
        layouts, output = usual_layouts(graph, operation)
        choice = None
        first = operation.inputs[0] if operation.inputs else ""
        if first in graph.inputs and not isinstance(operation.core, Compute):
            choice = _from_caller(work, operation, layouts, output)
        choice = choice or work.ask(operation, layouts, output)
        work.kernels[operation.output], work.needs[operation.output] = choice.kernel, choice.needs


def _from_caller(work: _Layouter, operation: Operation, layouts: list[Layout], output: Layout) -> Choice | None:
    """Returns the kernel that reads the caller's array as it is, where there is one."""
    value = work.graph.values[operation.inputs[0]]
    given = dense(value.shape, value.dtype)
    if _is_ordered(given, operation, "channels_last"):
        return None
    try:
        choice = work.ask(operation, [given, *layouts[1:]], output)
    except LookupError:
        return None
    return choice if choice.needs.input_order != "channels_last" else None


def _collect_halos(work: _Layouter) -> None:
    """Unites what the readers of each value want around it."""
    for operation in work.graph.operations:
        needs = work.needs.get(operation.output)
        if needs is not None and needs.halo:
            name = operation.inputs[0]
            while True:
                work.halos[name] = work.halos.get(name, NO_HALO).union(needs.halo)
                work.fills.setdefault(name, _fill_of(operation))
                maker = work.makers.get(name)
                if maker is None or not isinstance(maker.core, Slice):
                    break
                before = maker.inputs[0]
                if work.graph.values[before].shape[2:] != work.graph.values[name].shape[2:]:
                    break
                name = before  # some of an image's channels have the halo of the image


# -- who shares a buffer with whom


def _find_homes(work: _Layouter) -> None:
    """Goes backwards, so that a home is known before those who move into it."""
    graph = work.graph
    last_use = _last_uses(graph, graph.consumers())

    def movable(name: str) -> bool:
        """Whether the value is computed here, by code or a concatenation, and has no place yet."""
        maker = work.makers.get(name)
        return maker is not None and not maker.is_view and name not in graph.outputs and name not in work.homes

    for index in reversed(range(len(graph.operations))):
        operation = graph.operations[index]
        if isinstance(operation.core, JOINS):
            _move_into_parts(work, operation, operation.core, movable)
        elif operation.is_view and operation.output in graph.outputs:
            name, through = _behind_views(work, operation.output, movable)
            home = Home(operation.output, through=through)
            value = graph.values[operation.output]
            view = home.inside(View("", 0, dense(value.shape, value.dtype)), graph) if name else None
            if view and not work.halos.get(name, NO_HALO) and _can_write(work, work.makers[name], view.layout):
                work.homes[name] = home
        elif operation.has_code:
            for name in _dying(graph, operation):
                if (
                    movable(name)
                    and work.makers[name].has_code  # what lives in a concatenation may be read after it
                    and last_use[name] == (index, True)
                    and _root(work, operation.output) not in graph.outputs
                    and _fits_home(work, work.makers[name], operation)
                ):
                    work.homes[name] = Home(operation.output)
                    break


def _move_into_parts(
    work: _Layouter, operation: Operation, core: Concatenate | Interleave, movable: Callable[[str], bool]
) -> None:
    graph = work.graph
    whole = graph.values[operation.output]
    is_output = _lies_in_output(work, _root(work, operation.output))
    place = _future_view(work, operation.output)
    keeps_halo = isinstance(core, Concatenate) and core.axis == 1 and not is_output
    shapes = [graph.values[name].shape for name in operation.inputs]
    parts = parts_of(core, shapes, whole.shape)
    for operand_name, shape, (starts, steps) in zip(operation.inputs, shapes, parts, strict=True):
        name, through = _behind_views(work, operand_name, movable)
        if not name or operation.inputs.count(operand_name) > 1:
            continue
        if work.halos.get(name, NO_HALO) and (through or not keeps_halo):
            continue
        if through and len(whole.shape) == 4 and not is_output:  # where a halo may come between rows
            continue
        home = Home(operation.output, starts, steps, shape, through)
        view = home.inside(place, graph)
        if view is not None and _can_write(work, work.makers[name], view.layout):
            work.homes[name] = home


def _behind_views(work: _Layouter, name: str, movable: Callable[[str], bool]) -> tuple[str, tuple[Operation, ...]]:
    """Returns the movable value that this one is, or is a view of, and the views between; "" where there is none."""
    through: list[Operation] = []
    while not movable(name):
        maker = work.makers.get(name)
        if (
            maker is None
            or not isinstance(maker.core, (Reshape, Transpose))
            or (through and name in work.graph.outputs)
        ):
            return "", ()
        through.append(maker)
        name = maker.inputs[0]
    return name, tuple(through)


def _future_view(work: _Layouter, name: str) -> View:
    """Returns how a value will lie, but for its halo: in its home, or in a buffer of its own."""
    home, value = work.homes.get(name), work.graph.values[name]
    if home is not None:
        view = home.inside(_future_view(work, home.value), work.graph)
        assert view is not None
        return view
    if _lies_in_output(work, name):
        return View("", 0, dense(value.shape, value.dtype))
    return View("", 0, _usual(work, value, NO_HALO))


def _lies_in_output(work: _Layouter, name: str) -> bool:
    """Whether a value that has no home is written into the caller's array, and not copied there in the end."""
    value, maker = work.graph.values[name], work.makers[name]
    if name not in work.graph.outputs:
        return False
    return maker.is_view or _can_write(work, maker, dense(value.shape, value.dtype))


def _usual(work: _Layouter, value: Value, halo: Halo) -> Layout:
    """Returns the layout of a value that has a buffer of its own."""
    maker = work.makers[value.name]
    if not isinstance(maker.core, JOINS):
        return usual_layout(value, maker.axis, halo)
    if len(value.shape) == 3 and isinstance(maker.core, Concatenate) and maker.core.axis == 2:
        before = [work.makers.get(name) for name in maker.inputs]
        flattened = [
            each is not None and isinstance(each.core, Reshape) and len(work.graph.values[each.inputs[0]].shape) == 4
            for each in before
        ]
        if all(flattened):  # pixels of several images behind each other: as the images lie
            return channels_last(value.shape, value.dtype)
    return usual_layout(value, 1 if len(value.shape) == 4 else maker.axis, halo)


def _dying(graph: Graph, operation: Operation) -> list[str]:
    """Returns the operands in whose place the result may be written: like it, and read element by element only."""
    output = graph.values[operation.output]
    if isinstance(operation.core, Gather):  # it reads its indices more than once
        return []
    first = operation.first_operand
    core_reads = operation.inputs[:first]
    return [
        name
        for name in operation.inputs[first:]
        if name not in core_reads
        and (graph.values[name].shape, graph.values[name].dtype) == (output.shape, output.dtype)
    ]


def _last_uses(graph: Graph, consumers: dict[str, list[int]]) -> dict[str, tuple[int, bool]]:
    """Returns for each value the index of the last operation that reads it, and whether it does so directly.

    Who reads a view of it, or a concatenation that it may be part of, reads it.
    """
    found: dict[str, tuple[int, bool]] = {}
    computed = {operation.output: None for operation in graph.operations}
    for name in reversed([*(name for name in graph.values if name not in computed), *computed]):
        uses = [(-1, True)]
        for index in consumers[name]:
            operation = graph.operations[index]
            uses.append((index, operation.has_code))
            if not operation.has_code:
                later = found[operation.output][0]
                uses.append((later, False))
                if operation.output in graph.outputs:
                    uses.append((len(graph.operations), False))
        last = max(use[0] for use in uses)
        found[name] = (last, all(direct for index, direct in uses if index == last))
    return found


def _root(work: _Layouter, name: str) -> str:
    while name in work.homes:
        name = work.homes[name].value
    return name


def _can_write(work: _Layouter, operation: Operation, layout: Layout) -> bool:
    """Whether the kernel of the operation can write its output so; a concatenation can where its parts do."""
    if not operation.has_code:
        return layout.is_channels_last if len(layout.shape) in (2, 4) else True
    return _is_ordered(layout, operation, work.needs[operation.output].output_order)


def _fits_home(work: _Layouter, operation: Operation, host: Operation) -> bool:
    """Whether the operation can write where its `host` writes."""
    orders = [work.needs[each.output].output_order for each in (operation, host)]
    if not work.needs[host.output].in_place:
        return False
    return "dense" not in orders and (operation.axis == host.axis or len(work.graph.values[host.output].shape) != 4)


def _is_ordered(layout: Layout, operation: Operation, order: str) -> bool:
    if order == "any":
        return True
    if order == "dense":
        return layout.is_dense
    axis = operation.axis if operation.axis < len(layout.shape) else -1
    return layout.strides[axis] == layout.itemsize or layout.shape[axis] == 1


# -- placing


def _place_doors(work: _Layouter) -> None:
    """Gives the caller's arrays and the constants their views."""
    graph = work.graph
    for index, name in enumerate(graph.inputs):
        value = graph.values[name]
        layout = dense(value.shape, value.dtype)
        work.buffers[name] = Buffer(name, "input", value.bytes, index)
        work.views[name] = View(name, 0, layout)
    for name, array in graph.constants.items():
        view = constant_view(name, array, channels_last=array.ndim == 4)
        work.buffers[name] = Buffer(name, "constant", view.layout.span)
        work.views[name] = view


def _view(work: _Layouter, name: str) -> View:
    """Returns the view of a value that code or a concatenation writes, made with its buffer when first asked for."""
    if name in work.views:
        return work.views[name]
    graph, home = work.graph, work.homes.get(name)
    value = graph.values[name]
    if home is None:
        view = _own_place(work, value)
    else:
        found = home.inside(_view(work, home.value), graph)
        assert found is not None
        view = found
    work.views[name] = view
    return view


def _own_place(work: _Layouter, value: Value) -> View:
    graph = work.graph
    plain = dense(value.shape, value.dtype)
    if _lies_in_output(work, value.name):
        index = graph.outputs.index(value.name)
        work.buffers[f"output {index}"] = Buffer(f"output {index}", "output", value.bytes, index)
        return View(f"output {index}", 0, plain)
    needs = work.needs.get(value.name)
    halo, fill = NO_HALO, 0
    for name in work.halos:  # all who live here want their halo here
        if _root(work, name) == value.name:
            halo, fill = halo.union(work.halos[name]), work.fills[name]
    layout = plain if needs is not None and needs.output_order == "dense" else _usual(work, value, halo)
    return _new_buffer(work, value.name, replace(layout, fill=fill))


def _new_buffer(work: _Layouter, name: str, layout: Layout) -> View:
    work.buffers[name] = Buffer(name, "arena", layout.span)
    work.wholes[name] = View(name, layout.before, layout)
    return work.wholes[name]


# -- steps


def _add(work: _Layouter, operation: Operation) -> None:
    graph = work.graph
    if operation.is_view:
        _add_view(work, operation)
    elif isinstance(operation.core, JOINS):
        whole = _view(work, operation.output)
        shapes = [graph.values[name].shape for name in operation.inputs]
        parts = parts_of(operation.core, shapes, whole.layout.shape)
        for name, shape, (starts, steps) in zip(operation.inputs, shapes, parts, strict=True):
            part = whole.slice(starts, shape, steps)
            if (work.views[name].buffer, work.views[name].offset) != (part.buffer, part.offset):
                _copy(work, name, work.views[name], part)
    else:
        inputs = tuple(_readable(work, operation, place) for place in range(len(operation.inputs)))
        kernel, output = work.kernels[operation.output], _view(work, operation.output)
        if isinstance(operation.core, Compute):  # any layout will do, but some kernels are faster than others
            kernel = work.ask(operation, [view.layout for view in inputs], replace(output.layout, halo=NO_HALO)).kernel
        work.steps.append(Step(operation.name, operation, inputs, output, kernel))
    _copy_to_output(work, operation.output)


def _add_view(work: _Layouter, operation: Operation) -> None:
    source, shape = work.views[operation.inputs[0]], work.graph.values[operation.output].shape
    core = operation.core
    if isinstance(core, Transpose):
        view: View | None = source.transpose(core.permutation)
    elif isinstance(core, Slice):
        view = source.slice(core.starts, shape, core.steps)
    else:
        view = source.reshape(shape)
        if view is None:
            view, place = _reshaped(work, operation)
            _copy(work, operation.inputs[0], source, place)
    assert view is not None
    work.views[operation.output] = view


def _reshaped(work: _Layouter, operation: Operation) -> tuple[View, View]:
    """Returns a new place for the value of a reshape, and how its operand is written there."""
    graph, before = work.graph, work.graph.values[operation.inputs[0]]
    value = graph.values[operation.output]
    if value.name in graph.outputs:
        view = _own_place(work, value)
        place = view.reshape(before.shape)
        assert place is not None
        return view, place
    wanted = [
        work.needs[reader.output].input_order
        for reader in graph.operations
        if reader.has_code and reader.inputs and reader.inputs[0] == value.name
    ]
    if "channels_last" in wanted:
        layout = usual_layout(value, 1, work.halos.get(value.name, NO_HALO))
        strides = reshaped_strides(layout, before.shape)
        if strides is not None and not work.fills.get(value.name):
            view = _new_buffer(work, f"{value.name} (reshaped)", layout)
            return view, replace(view, layout=Layout(before.shape, strides, value.dtype))
    place = _new_buffer(work, f"{before.name} (dense)", dense(before.shape, before.dtype))
    plain = place.reshape(value.shape)
    assert plain is not None
    return plain, place


def _readable(work: _Layouter, operation: Operation, place: int) -> View:
    """Returns a view of an operand that the operation's kernel can read: the value's own, or a copy."""
    needs, name = work.needs[operation.output], operation.inputs[place]
    view = work.views[name]
    if place == 0 or isinstance(operation.core, Compute):
        order, halo = needs.input_order, needs.halo if place == 0 else NO_HALO
    else:
        order, halo = ("any" if needs.output_order == "any" else "channels_last"), NO_HALO
    fill = _fill_of(operation) if halo else view.layout.fill
    axis = operation.axis if operation.axis < len(view.layout.shape) else -1
    is_number = not view.layout.shape
    repeats = place > 0 and (is_number or 0 in (view.layout.strides[axis], view.layout.shape[axis] - 1))
    if (repeats or _is_ordered(view.layout, operation, order)) and (
        view.layout.halo.covers(halo) and view.layout.fill == fill and not _overreads(work, operation, view)
    ):
        return view
    is_image = order != "dense" and operation.axis == 1
    key = (name, order, is_image, fill)
    if key not in work.copies:
        value = work.graph.values[name]
        wanted = work.halos.get(name, NO_HALO)
        layout = dense(value.shape, value.dtype) if order == "dense" else _channels_together(value, operation, wanted)
        kind = order.replace("_", " ") + (" image" if is_image else "")
        buffer = f"{name} ({kind}{f' of {fill}' if fill else ''})"
        work.copies[key] = _new_buffer(work, buffer, replace(layout, fill=fill))
        _copy(work, name, view, work.copies[key])
    return work.copies[key]


def _overreads(work: _Layouter, operation: Operation, view: View) -> bool:
    """Whether the kernel would read past the caller's array, which unlike our buffers has no slack behind it.

    Integer products read channels by fours; every other kernel is tested to read nothing beyond its operands.
    """
    core = operation.core
    in_fours = isinstance(core, Convolve) and core.accumulator == "int32" and core.weights.shape[1] % 4 != 0
    return in_fours and work.buffers[view.buffer].kind == "input"


def _fill_of(operation: Operation) -> int:
    """Returns what a convolution reads beyond the edges of its image."""
    return operation.core.input_zero if isinstance(operation.core, Convolve) else 0


def _channels_together(value: Value, operation: Operation, halo: Halo) -> Layout:
    """Returns a layout in which the channels of the operation lie together."""
    if operation.axis == 1:
        return usual_layout(value, 1, halo)
    return dense(value.shape, value.dtype)


def _copy(work: _Layouter, name: str, source: View, target: View) -> None:
    same = operand(0, source.layout.dtype)
    operation = Operation(f"copy {name}", Compute(), (name,), name, same)
    layouts = [source.layout], replace(target.layout, halo=NO_HALO)
    work.steps.append(Step(f"copy {name}", operation, (source,), target, work.ask(operation, *layouts).kernel))


def _copy_to_output(work: _Layouter, name: str) -> None:
    """Copies a value that is an output of the graph and lies elsewhere."""
    if name not in work.graph.outputs:
        return
    index = work.graph.outputs.index(name)
    value = work.graph.values[name]
    buffer = f"output {index}"
    if work.views[name].buffer == buffer:
        return
    work.buffers[buffer] = Buffer(buffer, "output", value.bytes, index)
    _copy(work, name, work.views[name], View(buffer, 0, dense(value.shape, value.dtype)))


def _add_borders(work: _Layouter) -> None:
    """Puts the step that clears a halo before the first that writes into its buffer."""
    steps: list[Step] = []
    for step in work.steps:
        whole = work.wholes.pop(step.output.buffer, None)
        if whole is not None and whole.layout.halo:
            kernel = work.ask(None, [], whole.layout).kernel
            steps.append(Step(f"border of {whole.buffer}", None, (), whole, kernel))
        steps.append(step)
    work.steps = steps
