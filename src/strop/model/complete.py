"""Gives outputs the rank that their model does not tell."""

from __future__ import annotations

import numpy as np
import onnx

from strop.errors import StropError
from strop.model.infer import inferred_types
from strop.model.model import Model, shape_of
from strop.model.oracle import Unoptimized
from strop.model.random_inputs import runnable_inputs
from strop.model.shape_edit import set_shape


def complete_outputs(proto: onnx.ModelProto) -> None:
    """Writes a shape for each output that has none, in place: by inference, else by running the model.

    Runs tell the rank and leave the sizes open. An output that neither tells stays as it is.
    """
    if not _without_shape(proto):
        return
    types = inferred_types(proto)
    for output in _without_shape(proto):
        known = types.get(output.name)
        if known is not None and known.shape is not None:
            set_shape(output, known.shape)
    if not _without_shape(proto):
        return
    try:
        run = Unoptimized(proto)
        values = run(runnable_inputs(Model(proto, name="the model"), run=run))
    except StropError:
        return
    for output in _without_shape(proto):
        value = values[output.name]
        if isinstance(value, np.ndarray):
            set_shape(output, [None] * value.ndim)


def _without_shape(proto: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    outputs = proto.graph.output
    return [o for o in outputs if o.type.HasField("tensor_type") and shape_of(o.type.tensor_type) is None]
