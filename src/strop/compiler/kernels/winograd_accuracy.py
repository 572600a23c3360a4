"""How much rounding Winograd convolution adds, and for which filters that is too much.

For every output channel o, with eps = 2**-24, X the largest |x| of a tile's input pixels and C input channels:

    |error| <= amplification[o] * (C + STEPS) * eps * X * sum |w[o]|

amplification[o] is |A^T| ((|G w G^T| * (|B^T| 1 |B|)) |A| at its largest place, summed over the input channels, divided
by sum |w[o]|: what the intermediate numbers may be larger than the convolution's own. (A direct sum has 9 C in place of
amplification * (C + STEPS); in both, errors that add up by chance make it about the square root.) It is at most 16 for
F(2x2, 3x3) and 205 for F(4x4, 3x3), which only a filter that is a single corner reaches; trained filters have 35 to 60,
and what has more than LIMIT is refused.

Against the largest |x| conv |w| of the channel, on inputs with large means, zero-sum filters, an outlier pixel, filters
and channels of very different size, errors stay below MEASURED * eps (the tests hold them to it). A NaN or an infinity
never gets lost, but spreads: all results of the tiles whose (size + 2) x (size + 2) input pixels hold it are NaN, where
ONNX has it in the 3 x 3 pixels around, and infinities there. Redoing such tiles would need the filters a second time.
`winograd="off"` keeps to the letter.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from strop.compiler.kernels.winograd_transforms import filter_matrix, input_matrix, output_matrix

STEPS: Final = 20
"""Roundings of an element on its way, beside those of the sum over input channels."""

LIMIT: Final = {2: 16.5, 4: 64.0}
"""The largest amplification that is accepted."""

MEASURED: Final = {2: 6.0, 4: 24.0}
"""The largest error of a channel on hard inputs, in eps times its largest |x| conv |w|."""

_FILTERS_AT_ONCE: Final = 2048
"""Filters whose transforms stay in the L2 cache."""

_SMALLEST: Final = 1e-30
"""Filters below this might lose digits to flushed denormals."""

_LARGEST: Final = 1e30


def amplification(weights: np.ndarray, size: int) -> np.ndarray:
    """Returns the amplification of each output channel's filters (output channels, input channels, 3, 3); 0 for zeros.

    Example:
        >>> corner = np.zeros((1, 1, 3, 3)); corner[0, 0, 2, 2] = 1
        >>> [round(float(amplification(corner, size)[0])) for size in (2, 4)]
        [16, 205]
    """
    outward, inward = np.abs(output_matrix(size)), np.abs(input_matrix(size))
    reach = (inward @ np.ones((size + 2, size + 2)) @ inward.T).reshape(-1)
    spread = np.kron(outward, outward) * reach
    matrix = np.kron(filter_matrix(size), filter_matrix(size)).astype(np.float32)
    results = np.zeros(len(weights))
    every = weights.reshape(len(weights), -1, 9)
    inputs = every.shape[1]
    step = max(1, _FILTERS_AT_ONCE // inputs)
    memory = np.empty((step * inputs, len(matrix)), np.float32)
    for first in range(0, len(weights), step):
        filters = every[first : first + step].astype(np.float32)
        own = np.abs(filters).sum(axis=(1, 2), dtype=np.float64)
        transformed = np.matmul(filters.reshape(-1, 9), matrix.T, out=memory[: len(filters) * inputs])
        np.abs(transformed, out=transformed)
        sums = np.ones((1, inputs), np.float32) @ transformed.reshape(len(filters), inputs, len(matrix))
        largest = (sums[:, 0] @ spread.T).max(axis=1)
        results[first : first + step] = np.divide(largest, own, out=np.zeros_like(own), where=own > 0)
    return results


def doubt(weights: np.ndarray, size: int) -> str:
    """Returns "" where the error bound holds and is small enough for these filters, else why not."""
    most = np.abs(weights).max(axis=(1, 2, 3), initial=0.0)
    if not np.isfinite(most).all():
        return "a filter is not finite"
    if most.max(initial=0.0) > _LARGEST or (most[most > 0] < _SMALLEST).any():
        return "a filter is so large or small that numbers could leave float32's range"
    worst = float(amplification(weights, size).max(initial=0.0))
    if worst > LIMIT[size]:
        return f"rounding errors could grow {worst:.0f} times, more than {LIMIT[size]:.0f}"
    return ""
