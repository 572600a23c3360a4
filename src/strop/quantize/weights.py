"""Weights in 8 bits: symmetric, one scale per output channel (or one in all), -127..127; biases in 32 bits."""

from __future__ import annotations

import numpy as np

from strop.quantize.affine import SMALLEST_SCALE

INT8_LIMIT = 127
INT7_LIMIT = 63
"""With 7-bit weights the sum of two products u8 * s8 fits 16 bits, so no CPU overflows."""

_SMALLEST_CHANNEL = 2.0**-24
_BIAS_LIMIT = 2.0**30


def weight_scales(
    weights: np.ndarray,
    *,
    axis: int | None,
    limit: int = INT8_LIMIT,
    bias: np.ndarray | None = None,
    input_scale: float = 1.0,
) -> np.ndarray:
    """Returns the float32 scales for symmetric weights: the largest magnitude lands on `limit`.

    A channel that is (almost) zero would get a scale so small that its bias, counted in units of
    input_scale * scale, no longer fits 32 bits: its scale is raised as far as the bias asks.
    """
    other = tuple(index for index in range(weights.ndim) if index != axis)
    magnitude = np.abs(weights.astype(np.float64)).max(axis=other if axis is not None else None, initial=0.0)
    scale = np.atleast_1d(magnitude) / limit
    largest = float(scale.max(initial=0.0))
    floor = max(largest * _SMALLEST_CHANNEL, SMALLEST_SCALE) if largest > 0 else 1.0 / limit
    scale = np.maximum(scale, floor)
    if bias is not None:
        needed = np.abs(bias.astype(np.float64).reshape(-1)) / (input_scale * _BIAS_LIMIT)
        scale = np.maximum(scale, needed if axis is not None else needed.max(initial=0.0))
    result = np.asarray(scale, np.float32)
    return result if axis is not None else result.reshape(())


def quantize_weights(
    weights: np.ndarray, scale: np.ndarray, *, axis: int | None, limit: int = INT8_LIMIT
) -> np.ndarray:
    """Returns the int8 codes of `weights`, rounded to nearest, within -limit..limit."""
    spread = _along(scale, axis, weights.ndim)
    return np.asarray(np.clip(np.rint(weights.astype(np.float32) / spread), -limit, limit), np.int8)


def quantize_bias(
    bias: np.ndarray, *, input_scale: np.float32, weight_scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (int32 codes, float32 scales = input_scale * weight_scale): the unit of the integer accumulator."""
    unit = (np.float32(input_scale) * np.broadcast_to(weight_scale, bias.shape)).astype(np.float32)
    codes = np.rint(bias.astype(np.float64) / unit.astype(np.float64))
    limit = float(np.iinfo(np.int32).max)
    return np.clip(codes, -limit, limit).astype(np.int32), unit


def _along(scale: np.ndarray, axis: int | None, rank: int) -> np.ndarray:
    if axis is None:
        return scale
    shape = [1] * rank
    shape[axis] = -1
    return np.asarray(scale.reshape(shape))
