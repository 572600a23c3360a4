"""JSON documents that every reader accepts: what is not finite becomes null, so that no record is lost over a NaN."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np


def plain(value: object) -> object:
    """Returns `value` as JSON can hold it: keys as text, tuples as lists, numpy numbers as numbers, NaN as null.

    Example:
        >>> plain({"a": (np.float32(0.5), float("nan"))})
        {'a': [0.5, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def to_text(value: object, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """Returns `value` as JSON text."""
    return json.dumps(plain(value), indent=indent, sort_keys=sort_keys, allow_nan=False)
