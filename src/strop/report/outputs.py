"""Describes the outputs of a run: names, types, shapes and ranges, and the values where they are few."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

FEW = 20


def describe_outputs(outputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the document `strop.run/1`; an output of at most 20 elements is there in full.

    Example:
        >>> import numpy as np
        >>> describe_outputs({"y": np.array([1.0, 3.0], np.float32)})["outputs"][0]["max"]
        3.0
    """
    return {"schema": "strop.run/1", "outputs": [_describe(name, array) for name, array in outputs.items()]}


def _describe(name: str, array: np.ndarray) -> dict[str, Any]:
    numbers = array.dtype.kind in "fiub" and array.size > 0
    finite = array[np.isfinite(array)] if numbers and array.dtype.kind == "f" else array
    return {
        "name": name,
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "min": finite.min().item() if numbers and finite.size else None,
        "max": finite.max().item() if numbers and finite.size else None,
        "not_finite": int(array.size - finite.size) if numbers else 0,
        "values": array.tolist() if array.size <= FEW and finite.size == array.size else None,
    }
