"""What a model itself does to its input first: mean and scale that were folded into it, which data must not repeat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from strop.model.model import Model

_PASSED = frozenset({"Cast", "Transpose", "Identity", "Squeeze", "Unsqueeze"})
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div"})


@dataclass(frozen=True, slots=True)
class OwnNormalization:
    """The model's first step is y = (x - mean) / deviation, per channel or for all; nodes: which ones do it."""

    input: str
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    nodes: tuple[str, ...]

    @property
    def words(self) -> str:
        """The step as a formula, means over the channels."""
        mean, deviation = float(np.mean(self.mean)), float(np.mean(self.deviation))
        return f"(x / {deviation:.4g})" if mean == 0 else f"(x - {mean:.4g}) / {deviation:.4g}"


def own_normalization(model: Model) -> list[OwnNormalization]:
    """Returns, for each input that is normalized by the model before anything else, how.

    Followed are sums and products with constants, and a batch normalization, from the input to the first other node.
    """
    graph = model.proto.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in set(node.input):
            users.setdefault(name, []).append(node)
    found = [_follow(spec.name, users, constants) for spec in model.inputs if spec.dtype.startswith(("float", "uint"))]
    return [one for one in found if one is not None]


def _follow(
    name: str, users: dict[str, list[onnx.NodeProto]], constants: dict[str, onnx.TensorProto]
) -> OwnNormalization | None:
    scale, offset = np.ones(1), np.zeros(1)
    nodes: list[str] = []
    value = name
    while len(users.get(value, [])) == 1:
        (node,) = users[value]
        if node.op_type in _ARITHMETIC:
            step = _arithmetic(node, value, constants)
        elif node.op_type == "BatchNormalization" and node.input[0] == value:
            step = _batch_normalization(node, constants)
        elif node.op_type in _PASSED and node.input[0] == value:
            value = node.output[0]
            continue
        else:
            break
        if step is None or not _fit(scale, step[0]) or not _fit(scale, step[1]):
            break
        scale, offset = scale * step[0], offset * step[0] + step[1]
        nodes.append(node.name)
        value = node.output[0]
    if not nodes or not np.all(np.isfinite(scale)) or np.any(scale == 0):
        return None
    mean, deviation = (-offset / scale + 0.0, 1 / np.abs(scale))
    if np.allclose(mean, 0) and np.allclose(deviation, 1):
        return None
    return OwnNormalization(name, tuple(mean.tolist()), tuple(deviation.tolist()), tuple(nodes))


def _arithmetic(
    node: onnx.NodeProto, value: str, constants: dict[str, onnx.TensorProto]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns scale and offset of y = scale x + offset, None where the other side is no constant per channel."""
    first = node.input[0] == value
    other = constants.get(node.input[1] if first else node.input[0])
    if other is None:
        return None
    array = numpy_helper.to_array(other).astype(np.float64)
    if array.size != max((*array.shape, 1)):  # more than one axis
        return None
    constant, one, none = array.reshape(-1), np.ones(1), np.zeros(1)
    if node.op_type == "Add":
        return one, constant
    if node.op_type == "Sub":
        return (one, -constant) if first else (-one, constant)
    if node.op_type == "Mul":
        return constant, none
    if first and np.all(constant != 0):
        return 1 / constant, none
    return None


def _batch_normalization(
    node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns its own mean and deviation only: what is learnt behind them says nothing about the data."""
    if not all(name in constants for name in node.input[3:5]):
        return None
    epsilon = next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), 1e-5)
    mean, variance = (numpy_helper.to_array(constants[name]).astype(np.float64) for name in node.input[3:5])
    scale = 1 / np.sqrt(variance + epsilon)
    return scale, -mean * scale


def _fit(first: np.ndarray, second: np.ndarray) -> bool:
    return 1 in (first.size, second.size) or first.size == second.size
