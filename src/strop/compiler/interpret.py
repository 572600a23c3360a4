"""Operations in numpy: what they mean, sums in float64. Slow; the oracle of every level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from strop.compiler import expressions
from strop.compiler.kernels import contract, references
from strop.compiler.layouts import Layout, dense
from strop.compiler.levels import (
    Attend,
    Block,
    Concatenate,
    Convolve,
    Extreme,
    Gather,
    Graph,
    Interleave,
    MatrixMultiply,
    Operation,
    PoolWindow,
    Recur,
    Reduce,
    Resample,
    Reshape,
    Slice,
    Transpose,
    Value,
)


def run_graph(graph: Graph, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns every value of the graph by name, for these inputs."""
    values = {**graph.constants, **inputs}
    for operation in graph.operations:
        arrays = [values[name] for name in operation.inputs]
        values[operation.output] = run_operation(operation, arrays, graph.values[operation.output])
    return values


def run_operation(operation: Operation, inputs: Sequence[np.ndarray], output: Value) -> np.ndarray:
    """Returns what one operation computes from arrays with ONNX's axes."""
    core = operation.core
    if isinstance(core, Reshape):
        return inputs[0].reshape(output.shape)
    if isinstance(core, Transpose):
        return inputs[0].transpose(core.permutation)
    if isinstance(core, Slice):
        bounds = zip(core.starts, core.steps, output.shape, strict=True)
        return inputs[0][tuple(slice(start, start + step * count, step) for start, step, count in bounds)]
    if isinstance(core, Concatenate):
        return np.concatenate(inputs, axis=core.axis)
    if isinstance(core, Interleave):
        return _interleave(core, inputs, output)
    if isinstance(core, Block):
        (last,) = core.graph.outputs
        image = run_graph(core.graph, dict(zip(operation.inputs, inputs, strict=True)))[last]
        return references.with_means(image, core.means)
    operands = list(inputs)
    if isinstance(core, Convolve):
        operands[0] = _convolve(core, inputs[0], output.shape)
    elif isinstance(core, PoolWindow):
        operands[0] = _pool(core, inputs[0], output.shape)
    elif isinstance(core, Resample):
        same = contract.Resampling((_plain(inputs[0]),), dense(output.shape), rows=core.rows, columns=core.columns)
        operands[0] = references.resample(same, inputs[:1])
    elif isinstance(core, Gather):
        operands[0] = _gather(core, inputs, output)
    elif isinstance(core, Recur):
        operands[0] = _recur(core, inputs, output)
    elif isinstance(core, MatrixMultiply):
        operands[0] = references.matrix_product(inputs).astype(np.float32)
    elif isinstance(core, Attend):
        plain = contract.Attention(tuple(map(_plain, inputs)), dense(output.shape), scale=core.scale)
        operands[0] = references.attention(plain, inputs).astype(np.float32)
    vectors = [align_channels(vector, operation.axis, len(output.shape)) for vector in operation.channels]
    if isinstance(core, Reduce):
        operands[0] = _reduce(core, inputs, vectors)
    elif isinstance(core, Extreme):
        found = contract.Place((), dense(output.shape), axis=core.axis, largest=core.largest, last=core.last)
        return references.place(found, inputs[0]).astype(np.int64)
    result = expressions.evaluate(operation.epilogue, operands, vectors)
    return np.broadcast_to(result, output.shape).astype(output.dtype)


def align_channels(vector: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """Returns a per-channel vector with as many axes as the output, so that it broadcasts along `axis`."""
    return vector.reshape([-1 if i == axis else 1 for i in range(rank)])


def _reduce(core: Reduce, inputs: Sequence[np.ndarray], vectors: Sequence[np.ndarray]) -> np.ndarray:
    elements = np.broadcast_to(expressions.evaluate(core.prologue, inputs, vectors), core.shape).astype(np.float64)
    return references.run_program(core.program, elements, core.axes, core.groups).astype(np.float32)


def _convolve(core: Convolve, image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if core.rows:
        matrix = core.weights[:, :, 0, 0].T
        if core.accumulator == "int32":
            numbers = np.matmul(image.astype(np.int64) - core.input_zero, matrix.astype(np.int64))
            return np.asarray(numbers if core.bias is None else numbers + core.bias, np.int32)
        return np.asarray(np.matmul(image.astype(np.float64), matrix.astype(np.float64)), np.float32)
    problem = contract.Convolution(
        (_plain(image),),
        dense(shape),
        weights=core.weights.shape,
        strides=core.strides,
        dilations=core.dilations,
        pads=core.pads,
        groups=core.groups,
        weight_dtype=str(core.weights.dtype),
        accumulator=core.accumulator,
        input_zero=core.input_zero,
    )
    result = references.convolve(problem, image, core.weights)
    if core.bias is not None:
        result = result + core.bias.astype(np.int64)[:, None, None]
    return np.asarray(result, core.accumulator)


def _pool(core: PoolWindow, image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    problem = contract.Pool(
        (_plain(image),),
        dense(shape),
        kind=core.kind,
        kernel=core.kernel,
        strides=core.strides,
        dilations=core.dilations,
        pads=core.pads,
        count_pads=core.count_pads,
    )
    return references.pool(problem, [image])


def _interleave(core: Interleave, inputs: Sequence[np.ndarray], output: Value) -> np.ndarray:
    result = np.empty(output.shape, output.dtype)
    for start, array in zip(core.starts(output.shape), inputs, strict=True):
        result[tuple(slice(first, None, step) for first, step in zip(start, core.steps, strict=True))] = array
    return result


def _recur(core: Recur, inputs: Sequence[np.ndarray], output: Value) -> np.ndarray:
    problem = contract.Recurrence(
        tuple(map(_plain, inputs)),
        dense(output.shape),
        cell=core.cell,
        reverse=core.reverse,
        given=core.given,
        finals=core.finals,
    )
    return references.recurrence(problem, inputs, core.weights, core.vectors).astype(np.float32)


def _gather(core: Gather, inputs: Sequence[np.ndarray], output: Value) -> np.ndarray:
    problem = contract.Gathering(
        tuple(map(_plain, inputs[:2])),
        dense(output.shape, output.dtype),
        data=core.data,
        indices=core.indices,
        picks=core.picks,
        tuples=core.tuples,
    )
    return references.gather(problem, inputs)


def _plain(array: np.ndarray) -> Layout:
    return dense(array.shape, str(array.dtype))
