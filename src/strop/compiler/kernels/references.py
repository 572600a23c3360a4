"""What kernels must compute, in numpy: float64 for floats, exact integers for integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from strop.compiler.cells import CELL, HIDDEN, INPUTS, PLACES, SUMS
from strop.compiler.expressions import evaluate
from strop.compiler.kernels.contract import (
    Attention,
    Convolution,
    FusedBlock,
    Gathering,
    Place,
    Pointwise,
    Pool,
    Problem,
    Recurrence,
    Resampling,
    Statistics,
)
from strop.compiler.statistics import Program


def convolve(problem: Convolution, image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the convolution of N x C x H x W images without epilogue: float64, or int64 less the zero point.

    Padding is zero, for integers the zero point, so that it adds nothing either way.
    """
    is_float = problem.accumulator == "float32"
    wide = np.float64 if is_float else np.int64
    values = image.astype(wide) - (0 if is_float else problem.input_zero)
    top, left, bottom, right = problem.pads
    images, _, height, width = problem.output.shape
    padded = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)))
    outputs, inputs, rows, columns = problem.weights
    groups, each = problem.groups, outputs // problem.groups
    result = np.zeros((images, outputs, height, width), wide)
    (down, across), (far_down, far_across) = problem.strides, problem.dilations
    for u in range(rows):
        for v in range(columns):
            y, x = u * far_down, v * far_across
            window = padded[:, :, y : y + (height - 1) * down + 1 : down, x : x + (width - 1) * across + 1 : across]
            for group in range(groups):
                part = window[:, group * inputs : (group + 1) * inputs]
                filters = weights[group * each : (group + 1) * each, :, u, v].astype(wide)
                result[:, group * each : (group + 1) * each] += np.einsum("ncyx,oc->noyx", part, filters)
    return result


def convolution(
    problem: Convolution, inputs: Sequence[np.ndarray], weights: np.ndarray, channels: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """Returns the convolution with its epilogue, as the output's dtype for integers and in float64 for floats.

    inputs: in ONNX's order of axes; channels: per-channel vectors, and for an int32 accumulator perhaps one more, its
    int32 bias.
    """
    result = convolve(problem, inputs[0], weights)
    vectors = [np.reshape(np.broadcast_to(np.ravel(c), result.shape[1]), (1, -1, 1, 1)) for c in channels]
    if problem.accumulator == "int32":
        if len(vectors) > problem.channels:
            result = result + vectors[-1].astype(np.int64)
        exact = evaluate(problem.epilogue, [result.astype(np.int32), *inputs[1:]], vectors)
        return np.broadcast_to(exact, problem.output.shape).astype(problem.output.dtype)
    operands = [result, *(value.astype(np.float64) for value in inputs[1:])]
    wide = evaluate(problem.epilogue, operands, [vector.astype(np.float64) for vector in vectors])
    return np.broadcast_to(wide, problem.output.shape)


def block(
    problem: FusedBlock, inputs: Sequence[np.ndarray], weights: np.ndarray, channels: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """Returns what a block's stages compute one after the other, in float64."""
    value = inputs[0] * inputs[problem.gate].astype(np.float64) if problem.gate else inputs[0]
    for (stage, own, vectors), extras in zip(problem.parts(weights, channels), problem.operands, strict=True):
        value = convolution(stage, [value, *(inputs[index] for index in extras)], own, vectors)
    return with_means(value, problem.means)


def with_means(image: np.ndarray, rows: int) -> np.ndarray:
    """Returns an image with a row more, whose pixel i is the mean of `rows` rows from i * rows on; 0: the image."""
    if not rows:
        return image
    images, channels, height, width = image.shape
    row = np.zeros((images, channels, 1, width), image.dtype)
    groups = image.reshape(images, channels, height // rows, rows * width)
    row[:, :, 0, : height // rows] = groups.mean(axis=3, dtype=np.float64)
    return np.concatenate([image, row], axis=2)


def magnitude(problem: Convolution, image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns |x| conv |w|, which rounding errors are measured against."""
    return convolve(problem, np.abs(image), np.abs(weights))


def pointwise(problem: Pointwise, inputs: Sequence[np.ndarray], channels: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Returns the expression applied to the inputs, which broadcast to the output's shape."""
    axes = len(problem.output.shape)
    vectors = [np.reshape(vector, (-1,) + (1,) * (axes - 2)) for vector in channels]
    whole = [np.broadcast_to(array, problem.output.shape) for array in inputs]
    return np.broadcast_to(evaluate(problem.epilogue, whole, vectors), problem.output.shape).astype(
        problem.output.dtype
    )


def pool(problem: Pool, inputs: Sequence[np.ndarray], channels: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Returns max or average pooling, by its definition, in float64 for averages."""
    image = inputs[0]
    top, left = problem.pads[:2]
    out = np.empty(problem.output.shape, image.dtype if problem.kind == "max" else np.float64)
    for i in range(out.shape[2]):
        rows = [i * problem.strides[0] - top + k * problem.dilations[0] for k in range(problem.kernel[0])]
        for j in range(out.shape[3]):
            columns = [j * problem.strides[1] - left + k * problem.dilations[1] for k in range(problem.kernel[1])]
            inside = np.ix_(
                [y for y in rows if 0 <= y < image.shape[2]], [x for x in columns if 0 <= x < image.shape[3]]
            )
            window = image[:, :, inside[0], inside[1]]
            if problem.kind == "max":
                out[:, :, i, j] = window.max(axis=(2, 3))
                continue
            count = window.shape[2] * window.shape[3]
            if problem.count_pads:
                count = sum(y < image.shape[2] + problem.pads[2] for y in rows) * sum(
                    x < image.shape[3] + problem.pads[3] for x in columns
                )
            out[:, :, i, j] = window.sum(axis=(2, 3), dtype=np.float64) / count
    return _finish(problem, out if problem.kind == "max" else out.astype(np.float32), inputs, channels)


def resample(problem: Resampling, inputs: Sequence[np.ndarray], channels: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Returns the image whose rows and columns are mixes of the input's, mixed in float64."""
    image = inputs[0].astype(np.float64)
    for axis, places in ((2, problem.rows), (3, problem.columns)):
        first, second, shares = (np.array(column) for column in zip(*places, strict=True))
        share = shares.astype(np.float32).astype(np.float64).reshape((-1,) + (1,) * (3 - axis))
        low, high = image.take(first, axis), image.take(second, axis)
        image = np.where(share == 0, low, low + share * (high - low))  # a place that is not mixed in adds no infinity
    return _finish(problem, image.astype(np.float32), inputs, channels)


def gather(problem: Gathering, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the elements that the indices name; those out of range name the nearest in range."""
    data, indices = inputs
    shape = problem.output.shape
    grid = np.indices(shape)
    own: list[np.ndarray] = [np.zeros(shape, np.int64)] * data.ndim
    places: list[np.ndarray] = [np.zeros(shape, np.int64)] * indices.ndim
    for axis, (inside, named) in enumerate(zip(problem.data, problem.indices, strict=True)):
        if inside >= 0:
            own[inside] = grid[axis]
        if named >= 0:
            places[named] = grid[axis]
    for number, axis in enumerate(problem.picks):
        if problem.tuples:
            places[-1] = np.full(shape, number)
        extent = data.shape[axis]
        place = indices[tuple(places)].astype(np.int64)
        own[axis] = np.clip(np.where(place < 0, place + extent, place), 0, extent - 1)
    return np.asarray(data[tuple(own)])


def _finish(
    problem: Problem, result: np.ndarray, inputs: Sequence[np.ndarray], channels: Sequence[np.ndarray]
) -> np.ndarray:
    """Returns the epilogue of `problem` applied to the core's result."""
    vectors = [np.reshape(vector, (-1,) + (1,) * (result.ndim - 2)) for vector in channels]
    value = evaluate(problem.epilogue, [result, *inputs[1:]], vectors)
    return np.broadcast_to(value, problem.output.shape).astype(problem.output.dtype)


def attention(problem: Attention, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """Returns softmax(scale * query key^T + mask) value with the heads side by side, in float64."""
    query, key, value = (array.astype(np.float64) for array in inputs[:3])
    scores = np.einsum("ahld,ahsd->ahls", query, key) * problem.scale
    if len(inputs) > 3:
        scores = scores + inputs[3]
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    return np.asarray(np.einsum("ahls,ahse->alhe", shares, value))


def recurrence(
    problem: Recurrence, inputs: Sequence[np.ndarray], weights: np.ndarray, vectors: Sequence[np.ndarray]
) -> np.ndarray:
    """Returns the states of all steps, as ONNX defines the operators, in float64."""
    cell, units, batch = problem.cell, problem.units, problem.batch
    named = dict(zip(("input", *problem.given), inputs, strict=True))
    lengths = np.full(batch, problem.steps)
    if "lengths" in named:
        lengths = np.clip(named["lengths"].reshape(-1), 0, problem.steps)
    whole = np.zeros(problem.output.shape)
    shares = named["input"].astype(np.float64).reshape(problem.steps, batch, len(problem.reverse), -1, cell.gates, 16)
    for direction, is_reverse in enumerate(problem.reverse):
        own = slice(direction * units, (direction + 1) * units)
        matrices = weights[direction].astype(np.float64).reshape(cell.gates, units, units)
        channels = [vector.reshape(len(problem.reverse), units)[direction].astype(np.float64) for vector in vectors]
        for row in range(batch):
            states = np.zeros((PLACES, units))
            for place, name in ((HIDDEN, "hidden"), (CELL, "cell")):
                if name in named:
                    states[place] = named[name][direction, row]
            steps = range(lengths[row])
            for step in reversed(steps) if is_reverse else steps:
                share = shares[step, row, direction].transpose(1, 0, 2).reshape(cell.gates, -1)[:, :units]
                for phase in cell.phases:
                    for gate in phase.gates:
                        product = matrices[gate] @ states[phase.source]
                        states[SUMS + gate] = product if gate in phase.apart else product + share[gate]
                        states[INPUTS + gate] = share[gate]
                    for place, expression in phase.results:
                        states[place] = evaluate(expression, list(states), channels)
                whole[step, row, own] = states[HIDDEN]
            for place, name in enumerate(problem.finals):
                whole[problem.steps + place, row, own] = states[HIDDEN if name == "hidden" else CELL]
    return whole


def matrix_product(inputs: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the products of two operands' matrices, in float64."""
    return np.asarray(np.matmul(inputs[0].astype(np.float64), inputs[1].astype(np.float64)))


def statistics(problem: Statistics, inputs: Sequence[np.ndarray], channels: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Returns a reduction or normalization with prologue and epilogue, in float64."""
    axes = len(problem.extents)
    vectors = [np.reshape(vector, (-1,) + (1,) * (axes - 2)).astype(np.float64) for vector in channels]
    wide = [array.astype(np.float64) if array.dtype == np.float32 else array for array in inputs]
    elements = np.broadcast_to(evaluate(problem.prologue, wide, vectors), problem.extents)
    result = run_program(problem.program, elements, problem.axes, problem.groups)
    finished = evaluate(problem.epilogue, [result, *wide[1:]], vectors)
    return np.broadcast_to(finished, problem.output.shape).astype(problem.output.dtype)


def run_program(program: Program, elements: np.ndarray, axes: Sequence[int], groups: int = 1) -> np.ndarray:
    """Returns what a program makes of elements, in their precision; reduced axes stay, with one element."""
    shape = elements.shape
    if groups > 1:
        elements = elements.reshape(shape[0], groups, shape[1] // groups, *shape[2:])
        axes = [axis + 1 for axis in axes]
    combine: dict[str, Callable[..., np.ndarray]] = {"sum": np.sum, "product": np.prod, "minimum": np.min}
    found: list[np.ndarray] = []
    for statistic in program.statistics:
        values = np.broadcast_to(evaluate(statistic.element, [elements, *found]), elements.shape)
        number = combine.get(statistic.combine, np.max)(values, axis=tuple(axes), keepdims=True)
        found.append(evaluate(statistic.finish, [number, *found]))
    if program.result is None:
        return found[-1]
    return np.reshape(evaluate(program.result, [elements, *found]), shape)


def place(problem: Place, elements: np.ndarray) -> np.ndarray:
    """Returns where the largest or smallest elements are."""
    axis, count = problem.axis, elements.shape[problem.axis]
    pick = np.argmax if problem.largest else np.argmin
    if problem.last:
        return np.asarray(count - 1 - np.expand_dims(pick(np.flip(elements, axis), axis=axis), axis))
    return np.expand_dims(pick(elements, axis=axis), axis)
