"""What is kept of a prediction or a target: enough to show it, and to see whether it changed."""

from __future__ import annotations

import numpy as np

from strop.quality.fingerprint import fingerprint_of

LARGEST_KEPT = 64
"""A prediction of more elements is kept as a hash: enough to see whether it changed."""


def compact(value: object) -> object:
    """Returns what is kept of a prediction or target: plain values, small arrays as tuples, the rest as a hash."""
    if isinstance(value, np.ndarray) and value.size <= LARGEST_KEPT and value.dtype != object:
        return value.item() if value.ndim == 0 else tuple(value.reshape(-1).tolist())
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (str, int, float)):
        return value
    if (
        isinstance(value, (list, tuple))
        and len(value) <= LARGEST_KEPT
        and all(isinstance(item, (str, int, float)) for item in value)
    ):
        return tuple(value)
    return f"{type(value).__name__} {fingerprint_of(value)}"
