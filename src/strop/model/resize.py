"""Resizes images as Pillow does: bilinear or bicubic, with antialiasing, to the last bit, in numpy.

Each output pixel is a weighted sum over the input pixels under a filter that widens when shrinking; along one
axis, then the other, 8-bit between, with Pillow's fixed-point weights (src/libImaging/Resample.c, Pillow 13).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

_PRECISION_BITS = 32 - 8 - 2


def resize(image: np.ndarray, height: int, width: int, *, filter_name: str = "bilinear") -> np.ndarray:
    """Returns the uint8 image [height, width, channels] made from a uint8 image of another size."""
    # Rounding between the two makes their order visible: the width goes first unless only the height shrinks.
    height_first = height < image.shape[0] and width > image.shape[1]
    for axis in (0, 1) if height_first else (1, 0):
        size = (height, width)[axis]
        if image.shape[axis] != size:
            image = _along_rows(image.swapaxes(0, axis), size, filter_name).swapaxes(0, axis)
    return np.ascontiguousarray(image)


def _along_rows(image: np.ndarray, size: int, filter_name: str) -> np.ndarray:
    indices, weights = _taps(image.shape[0], size, filter_name)
    total = np.full((size, *image.shape[1:]), 1 << (_PRECISION_BITS - 1), np.int32)
    for tap in range(indices.shape[1]):
        total += image[indices[:, tap]] * weights[:, tap].reshape(-1, *[1] * (image.ndim - 1))
    rounded: np.ndarray = np.clip(total >> _PRECISION_BITS, 0, 255).astype(np.uint8)
    return rounded


@lru_cache(maxsize=64)
def _taps(old: int, new: int, filter_name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns, for each output position, the input positions [new, taps] and their weights, int32 with 22 bits."""
    support, function = FILTERS[filter_name]
    scale = old / new
    stretch = max(scale, 1.0)
    center = (np.arange(new) + 0.5) * scale
    first = np.maximum((center - support * stretch + 0.5).astype(np.int64), 0)
    last = np.minimum((center + support * stretch + 0.5).astype(np.int64), old)
    indices = first[:, None] + np.arange(int((last - first).max()))
    weights = np.where(indices < last[:, None], function((indices - center[:, None] + 0.5) / stretch), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    fixed = np.trunc(weights * (1 << _PRECISION_BITS) + np.copysign(0.5, weights)).astype(np.int32)
    return np.minimum(indices, old - 1), fixed


def _triangle(x: np.ndarray) -> np.ndarray:
    y: np.ndarray = np.maximum(1.0 - np.abs(x), 0.0)
    return y


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic with a = -0.5."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


FILTERS: dict[str, tuple[float, Callable[[np.ndarray], np.ndarray]]] = {
    "bilinear": (1.0, _triangle),
    "bicubic": (2.0, _cubic),
}
"""By name: half the filter's width at scale 1, and the filter."""
