"""Packing of weights and per-channel vectors into the panels that register tiles read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from strop.compiler.kernels.contract import Convolution
from strop.compiler.kernels.matrix_tile import PANEL, STEP, Tile, step_count


def pack_panels(weights: np.ndarray, groups: int) -> np.ndarray:
    """Returns weights (output channels, taps, channels of a run) as [group][panel][tap][step][lane][channel of a step].

    Missing output channels and channels of a step are zero. One float32 is a step, or four int8.
    """
    outputs, taps, run = weights.shape
    each, depth = outputs // groups, STEP // weights.itemsize
    panels, steps = -(-each // PANEL), step_count(run, weights.itemsize)
    whole = weights.reshape(groups, each, taps, run)
    if (each, run) != (panels * PANEL, steps * depth):
        whole = np.zeros((groups, panels * PANEL, taps, steps * depth), weights.dtype)
        whole[:, :each, :, :run] = weights.reshape(groups, each, taps, run)
    split = whole.reshape(groups, panels, PANEL, taps, steps, depth)
    return np.ascontiguousarray(split.transpose(0, 1, 3, 4, 2, 5)).reshape(-1)


def pack_channel_blocks(problem: Convolution, channels: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Returns the per-channel numbers as [group][panel][vector][lane], float32.

    For an int32 accumulator the last vector is what it starts with: an int32 bias, which is the one element of
    `channels` more than `problem.channels`, where there is one, less the input's zero point times the sum of weights.
    """
    outputs = problem.weights[0]
    vectors = [np.broadcast_to(np.ravel(vector), (outputs,)) for vector in channels]
    bits = [vector.astype(np.float32).view(np.int32) for vector in vectors[: problem.channels]]
    if problem.accumulator == "int32":
        bias = vectors[problem.channels].astype(np.int64) if len(vectors) > problem.channels else 0
        sums = weights.reshape(outputs, -1).astype(np.int64).sum(axis=1)
        bits.append((bias - problem.input_zero * sums).astype(np.int32))
    each = outputs // problem.groups
    panels = -(-each // PANEL)
    blocks = np.zeros((problem.groups, panels * PANEL, Tile.numbers(problem.channels, problem.accumulator)), np.int32)
    for index, vector in enumerate(bits):
        blocks[:, :each, index] = vector.reshape(problem.groups, each)
    split = blocks.reshape(problem.groups, panels, PANEL, -1).transpose(0, 1, 3, 2)
    return np.ascontiguousarray(split).reshape(-1).view(np.float32)
