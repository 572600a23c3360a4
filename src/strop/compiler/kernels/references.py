"""What kernels compute, in numpy, by their definitions: slow, plain, and what everything fast is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from strop.compiler.expressions import evaluate
from strop.compiler.kernels.contract import Pool, Problem


def finish(
    problem: Problem, result: np.ndarray, inputs: Sequence[np.ndarray], channels: Sequence[np.ndarray]
) -> np.ndarray:
    """Returns the epilogue of `problem` applied to the core's result."""
    vectors = [np.reshape(vector, (-1,) + (1,) * (result.ndim - 2)) for vector in channels]
    value = evaluate(problem.epilogue, [result, *inputs[1:]], vectors)
    return np.broadcast_to(value, problem.output.shape).astype(problem.output.dtype)


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
    return finish(problem, out.astype(np.float32), inputs, channels)
