"""What a model's weights are like, and copies of it with other weights, to try out what a change would bring."""

from __future__ import annotations

import numpy as np
import onnx

from strop.model.model import Model
from strop.model.walk import walk_graphs

_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)


def zero_share(model: Model) -> float:
    """Returns the share of exact zeros among the weights: floating initializers of two axes or more; 0 without any.

    Example:
        >>> from strop.model.load import load_model
        >>> from strop.testing.models import multilayer_perceptron
        >>> zero_share(load_model(multilayer_perceptron()))
        0.0
    """
    zeros = total = 0
    for tensor in _weights(model.to_proto()):
        values = onnx.numpy_helper.to_array(tensor)
        zeros += int(values.size - np.count_nonzero(values))
        total += values.size
    return zeros / total if total else 0.0


def with_zeros(model: Model, share: float) -> Model:
    """Returns a copy whose smallest weights are zero, `share` of each tensor's: as sparse as pruning would make it.

    Its outputs are wrong, its shapes and types the same: it is for timing only.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model.to_proto())
    for tensor in _weights(copy):
        values = onnx.numpy_helper.to_array(tensor).copy()
        count = round(share * values.size)
        if count:
            flat = values.reshape(-1)
            flat[np.argpartition(np.abs(flat), count - 1)[:count]] = 0
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return model.with_proto(copy)


def _weights(proto: onnx.ModelProto) -> list[onnx.TensorProto]:
    graphs = walk_graphs(proto.graph)
    return [tensor for graph in graphs for tensor in graph.initializer if _is_weight(tensor)]


def _is_weight(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type in _FLOATS and len(tensor.dims) >= 2
