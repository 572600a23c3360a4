"""The few operations that building needs in numpy: what a layer gives decides how the next one's weights are scaled."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def convolve(x: Array, weights: Array, *, stride: int, padding: int, groups: int) -> Array:
    """Returns the convolution of x [B, C, H, W] with weights [N, C / groups, K, K]; groups: 1, or one a channel."""
    kernel = weights.shape[2]
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    height, width = ((size - kernel) // stride + 1 for size in padded.shape[2:])
    total = np.zeros((len(x), weights.shape[0], height * width), np.float32)
    for row in range(kernel):
        for column in range(kernel):
            part = padded[:, :, row::stride, column::stride][:, :, :height, :width].reshape(*x.shape[:2], -1)
            tap = weights[:, :, row, column]
            total += tap * part if groups > 1 else tap @ part
    return total.reshape(len(x), -1, height, width)


def spread(x: Array, weights: Array) -> Array:
    """Returns the transposed convolution of x [B, C, H, W] with weights [C, N, K, K] and stride K."""
    kernel = weights.shape[2]
    parts = np.einsum("bchw,cnij->bnhiwj", x, weights, optimize=True)
    return parts.reshape(len(x), -1, x.shape[2] * kernel, x.shape[3] * kernel)


def largest(x: Array, kernel: int, *, stride: int, padding: int, ceil_mode: int) -> Array:
    """Returns the maxima of square windows; ceil_mode: windows that reach beyond the edge count, too."""
    size = x.shape[2] + 2 * padding - kernel
    count = (-(-size // stride) if ceil_mode else size // stride) + 1
    beyond = max(0, (count - 1) * stride + kernel - x.shape[2] - padding)
    edges = ((0, 0), (0, 0), (padding, beyond), (padding, beyond))
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(x, edges, constant_values=-np.inf), (kernel, kernel), (2, 3)
    )
    return windows[:, :, ::stride, ::stride][:, :, :count, :count].max(axis=(4, 5))


def sigmoid(x: Array) -> Array:
    """Returns 1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def hard_sigmoid(x: Array) -> Array:
    """Returns x / 6 + 1 / 2, cut to 0 and 1."""
    return np.clip(x / 6 + 0.5, 0, 1)
