"""LSTM, GRU and RNN: one matrix product for the inputs of all steps, then the recurrence; its results are views."""

from __future__ import annotations

import numpy as np
import onnx_ir

from strop.compiler import cells
from strop.compiler.cells import Activation, Cell
from strop.compiler.expressions import add, channel, operand
from strop.compiler.layouts import Shape
from strop.compiler.levels import Convolve, Recur, Slice, Transpose
from strop.compiler.lowering.scope import NotCovered, Scope
from strop.passes.graph import float_attribute, input_at, int_attribute

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_BLOCK = 16  # hidden units whose gates stand side by side


def lower_recurrent(node: onnx_ir.Node, scope: Scope) -> None:
    """LSTM, GRU, RNN with constant weights, in one or both directions."""
    by_batch = int_attribute(node, "layout", 0) == 1
    source = scope.floats(node.inputs[0], rank=3).name
    if by_batch:
        source = _swapped(scope, source, None)
    steps, batch, _ = scope.values[source].shape
    weights = scope.need_constant(node.inputs[1], "the weights of a recurrent operator")
    recurrent = scope.need_constant(node.inputs[2], "the recurrent weights")
    directions, rows, units = recurrent.shape
    gates = _GATES[node.op_type]
    if rows != gates * units:
        raise NotCovered("recurrent weights of another shape")
    bias = np.zeros((directions, 2, gates, units), np.float32)
    if input_at(node, 3) is not None:
        bias[...] = scope.need_constant(node.inputs[3], "the bias").reshape(bias.shape)
    cell = _cell(node, directions)
    vectors = _vectors(node, scope, cell, bias)
    if node.op_type == "GRU" and vectors:
        bias[:, 1, 2] = 0  # its place is inside the reset gate
    shares = _input_product(scope, source, weights, bias.sum(axis=1))
    inputs, given = [shares], []
    for index, name in ((5, "hidden"), (6, "cell")):
        if input_at(node, index) is not None and (name == "hidden" or cell.has_cell):
            known = scope.constant(node.inputs[index])
            if known is not None and not known.any():
                continue
            own = scope.floats(node.inputs[index], rank=3).name
            inputs.append(_swapped(scope, own, None) if by_batch else own)
            given.append(name)
    lengths = _lengths(node, scope, steps, batch)
    if lengths:
        inputs.append(lengths)
        given.append("lengths")
    direction = node.attributes.get("direction")
    word = "forward" if direction is None else direction.as_string()
    reverse = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[word]
    if len(reverse) != directions:
        raise NotCovered("recurrent weights of another number of directions")
    wanted = [_is_used(node, index) for index in range(3)]
    finals = ["hidden"] if wanted[1] and (directions > 1 or lengths) else []
    finals += ["cell"] if wanted[2] else []
    core = Recur(
        cell,
        np.ascontiguousarray(recurrent, np.float32),
        reverse,
        tuple(given),
        tuple(finals),
        tuple(vectors),
    )
    shape = (steps + len(finals), batch, directions * units)
    result = scope.add(core, inputs, shape, axis=-1)
    apart = (batch, directions, units)
    if wanted[0]:
        whole = _rows(scope, result, 0, steps)
        order = (1, 0, 2, 3) if by_batch else (0, 2, 1, 3)
        _turned(scope, scope.reshape(whole, (steps, *apart)), order, node.outputs[0])
    for index, name in ((1, "hidden"), (2, "cell")):
        if not wanted[index]:
            continue
        place = steps + finals.index(name) if name in finals else 0 if reverse[0] else steps - 1
        state = scope.reshape(_rows(scope, result, place, 1), apart)
        _turned(scope, state, (0, 1, 2) if by_batch else (1, 0, 2), node.outputs[index])


def _cell(node: onnx_ir.Node, directions: int) -> Cell:
    clip = float_attribute(node, "clip", 0.0)
    activations = _activations(node, directions)
    if node.op_type == "RNN":
        return cells.rnn(activations or (cells.TANH,), clip)
    if node.op_type == "GRU":
        before = bool(int_attribute(node, "linear_before_reset", 0))
        return cells.gru(activations or (cells.SIGMOID, cells.TANH), clip, linear_before_reset=before)
    if int_attribute(node, "input_forget", 0):
        raise NotCovered("coupled input and forget gates")
    peepholes = input_at(node, 7) is not None
    return cells.lstm(activations or (cells.SIGMOID, cells.TANH, cells.TANH), clip, peepholes=peepholes)


def _activations(node: onnx_ir.Node, directions: int) -> tuple[Activation, ...]:
    """Returns the activations of one direction, () for the usual ones; both directions must have the same."""
    attribute = node.attributes.get("activations")
    if attribute is None:
        return ()
    numbers = []
    for name in ("activation_alpha", "activation_beta"):
        listed = node.attributes.get(name)
        numbers.append([] if listed is None else list(listed.as_floats()))
    found = []
    names = [name.lower() for name in attribute.as_strings()]
    # Only activations that have a number take one from the lists (as ONNX Runtime reads them).
    for name in names:
        if name not in cells.DEFAULTS:
            raise NotCovered(f"the activation {name}")
        alpha, beta = cells.DEFAULTS[name]
        if name in cells.WITH_ALPHA and numbers[0]:
            alpha = numbers[0].pop(0)
        if name in cells.WITH_BETA and numbers[1]:
            beta = numbers[1].pop(0)
        found.append(Activation(name, alpha, beta))
    each = len(found) // directions
    if any(found[each * d : each * (d + 1)] != found[:each] for d in range(directions)):
        raise NotCovered("directions of other activations")
    return tuple(found[:each])


def _vectors(node: onnx_ir.Node, scope: Scope, cell: Cell, bias: np.ndarray) -> list[np.ndarray]:
    """Returns the numbers of hidden units that the cell reads, each vector for all directions in a row."""
    if not cell.vectors:
        return []
    if node.op_type == "GRU":
        return [bias[:, 1, 2].reshape(-1).copy()]
    peepholes = scope.need_constant(node.inputs[7], "the peepholes").reshape(bias.shape[0], 3, -1)
    return [np.ascontiguousarray(peepholes[:, index], np.float32).reshape(-1) for index in range(3)]


def _input_product(scope: Scope, source: str, weights: np.ndarray, bias: np.ndarray) -> str:
    """Adds the product of all steps; its channels are [direction][block of units][gate][unit], zeros where none is."""
    directions, gates, units = bias.shape
    blocks = -(-units // _BLOCK)

    def ordered(array: np.ndarray) -> np.ndarray:
        """Returns an array of direction, gate, unit and more, in the order of the channels."""
        whole = np.zeros((directions, gates, blocks * _BLOCK, *array.shape[3:]), np.float32)
        whole[:, :, :units] = array
        split = whole.reshape(directions, gates, blocks, _BLOCK, -1).transpose(0, 2, 1, 3, 4)
        return np.ascontiguousarray(split).reshape(directions * blocks * gates * _BLOCK, -1)

    matrix = ordered(weights.reshape(directions, gates, units, -1))
    shape = (*scope.values[source].shape[:2], matrix.shape[0])
    core = Convolve(matrix[:, :, None, None], rows=True)
    if not bias.any():
        return scope.add(core, [source], shape, axis=-1)
    shift = ordered(bias).reshape(-1)
    return scope.add(core, [source], shape, epilogue=add(operand(0), channel(0)), channels=[shift], axis=-1)


def _lengths(node: onnx_ir.Node, scope: Scope, steps: int, batch: int) -> str:
    """Returns the name of the sequences' lengths, 1 x batch x 1, "" where all are whole."""
    given = input_at(node, 4)
    if given is None:
        return ""
    known = scope.constant(given)
    if known is not None and (known == steps).all():
        return ""
    value = scope.value(given)
    if value.dtype != "int32":
        raise NotCovered(f"lengths of {value.dtype}")
    return scope.reshape(value.name, (1, batch, 1))


def _is_used(node: onnx_ir.Node, index: int) -> bool:
    if index >= len(node.outputs) or not node.outputs[index].name:
        return False
    output = node.outputs[index]
    return bool(output.uses()) or output.is_graph_output()


def _rows(scope: Scope, source: str, start: int, count: int) -> str:
    """Returns the name of `count` of a value's first axis."""
    value = scope.values[source]
    shape: Shape = (count, *value.shape[1:])
    if shape == value.shape:
        return source
    starts = (start, *(0 for _ in shape[1:]))
    return scope.add(Slice(starts, (1,) * len(shape)), [source], shape, dtype=value.dtype)


def _swapped(scope: Scope, source: str, output: onnx_ir.Value | None) -> str:
    """Returns the name of a value of three axes with its first two exchanged."""
    return _turned(scope, source, (1, 0, 2), output)


def _turned(scope: Scope, source: str, order: tuple[int, ...], output: onnx_ir.Value | None) -> str:
    """Returns the name of a transposed value; a reshape where only axes of one element move."""
    value = scope.values[source]
    shape = tuple(value.shape[axis] for axis in order)
    rank = range(len(order))
    if [axis for axis in order if value.shape[axis] != 1] == [axis for axis in rank if value.shape[axis] != 1]:
        return scope.reshape(source, shape, output=output)
    return scope.add(Transpose(order), [source], shape, output=output, dtype=value.dtype)
