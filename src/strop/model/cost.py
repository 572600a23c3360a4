"""What each node costs: multiply-accumulates, bytes read and written, parameters.

Counted by formula where arithmetic dominates (convolutions, matrix products, recurrent layers, Einsum); all other
nodes cost the bytes they move. A multiply-accumulate is one, not two operations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import onnx

from strop.model.infer import ValueType, infer_shapes
from strop.model.model import Model
from strop.model.walk import walk_graphs

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NodeCost:
    """One node's cost; `macs` and the bytes are None where shapes are not known, or nodes lie inside it (If, Loop).

    parameters: the elements of the weights that this node is the first to use.
    """

    name: str
    op_type: str
    macs: int | None
    bytes_read: int | None
    bytes_written: int | None
    parameters: int

    def to_json(self) -> dict[str, object]:
        """Returns the fields as a JSON object."""
        return asdict(self)


def node_costs(model: Model, inputs: Mapping[str, np.ndarray] | None) -> list[NodeCost]:
    """Returns the cost of every node, at the shapes of `inputs`; None: at inferred shapes, as far as those go."""
    types = infer_shapes(model, inputs)
    weights = {tensor.name: tensor for tensor in model.to_proto().graph.initializer}
    counted: set[str] = set()
    costs = []
    for node in model.to_proto().graph.node:
        own = [name for name in node.input if name in weights and name not in counted]
        counted.update(own)
        costs.append(
            NodeCost(
                node.name,
                node.op_type,
                _macs(node, types),
                _bytes(set(node.input), types) if not _has_body(node) else None,
                _bytes(node.output, types),
                sum(math.prod(weights[name].dims) for name in dict.fromkeys(own) if _is_parameter(weights[name])),
            )
        )
    return costs


def total_macs(costs: Iterable[NodeCost]) -> int | None:
    """Returns the sum of multiply-accumulates; None where a node's are not known."""
    macs = [cost.macs for cost in costs]
    return None if any(count is None for count in macs) else sum(count or 0 for count in macs)


def parameter_count(model: Model) -> int:
    """Returns the number of weights: elements of all initializers that are no integers of 32 or 64 bits."""
    return sum(
        math.prod(tensor.dims)
        for graph in walk_graphs(model.to_proto().graph)
        for tensor in graph.initializer
        if _is_parameter(tensor)
    )


def _is_parameter(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type not in (
        onnx.TensorProto.INT64,
        onnx.TensorProto.INT32,
        onnx.TensorProto.BOOL,
        onnx.TensorProto.STRING,
    )


def _has_body(node: onnx.NodeProto) -> bool:
    return any(attribute.type == onnx.AttributeProto.GRAPH for attribute in node.attribute)


def _bytes(names: Iterable[str], types: Mapping[str, ValueType]) -> int | None:
    total = 0
    for name in filter(None, names):
        shape, dtype = _known(types.get(name)), types[name].dtype if name in types else None
        if shape is None or dtype is None:
            return None
        total += math.prod(shape) * np.dtype(dtype).itemsize
    return total


def _macs(node: onnx.NodeProto, types: Mapping[str, ValueType]) -> int | None:
    if _has_body(node):
        return None
    formula = _FORMULAS.get(node.op_type)
    if formula is None:
        return 0
    inputs = [_known(types.get(name)) for name in node.input]
    output = next((_known(types.get(name)) for name in node.output if name), None)
    try:
        return formula(node, inputs, output)
    except (TypeError, IndexError, KeyError):  # a shape that is needed is not known
        return None


def _known(value: ValueType | None) -> Shape | None:
    if value is None or value.shape is None or not all(isinstance(size, int) for size in value.shape):
        return None
    return tuple(size for size in value.shape if isinstance(size, int))


# The formulas take the node, its inputs' shapes and its first output's shape.
Shapes = list[Shape | None]


def _size(shape: Shape | None) -> int:
    if shape is None:
        raise TypeError("unknown shape")
    return math.prod(shape)


def _convolution(node: onnx.NodeProto, inputs: Shapes, output: Shape | None) -> int:
    """Each output element is a sum over the kernel and the channels of its group; weights [out, in/group, ...]."""
    weight = inputs[3 if node.op_type == "QLinearConv" else 1]
    return _size(output) * _size(weight and weight[1:])


def _transposed_convolution(node: onnx.NodeProto, inputs: Shapes, output: Shape | None) -> int:
    """Each input element is spread over the kernel and the channels of its group; weights [in, out/group, ...]."""
    return _size(inputs[0]) * _size(inputs[1] and inputs[1][1:])


def _matrix_product(node: onnx.NodeProto, inputs: Shapes, output: Shape | None) -> int:
    """Each output element is a sum over the inner size."""
    left = inputs[0]
    if left is None:
        raise TypeError("unknown shape")
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return _size(output) * left[-2 if transposed else -1]


def _recurrent(node: onnx.NodeProto, inputs: Shapes, output: Shape | None) -> int:
    """Each step of each row multiplies by both weight matrices: X [steps, batch, size], or batch first."""
    return _size(inputs[0] and inputs[0][:2]) * (_size(inputs[1]) + _size(inputs[2]))


def _einsum(node: onnx.NodeProto, inputs: Shapes, output: Shape | None) -> int:
    """One multiplication for each combination of all indices, for two operands."""
    equation = next(a.s.decode() for a in node.attribute if a.name == "equation").replace(" ", "")
    terms = equation.split("->")[0].split(",")
    if len(terms) != 2 or "." in equation:
        raise TypeError("not a product of two operands with named axes")
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, inputs, strict=True):
        if shape is None:
            raise TypeError("unknown shape")
        sizes.update(zip(term, shape, strict=True))
    return math.prod(sizes.values())


_FORMULAS = {
    "Conv": _convolution,
    "ConvInteger": _convolution,
    "QLinearConv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "Gemm": _matrix_product,
    "MatMul": _matrix_product,
    "MatMulInteger": _matrix_product,
    "QLinearMatMul": _matrix_product,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "Einsum": _einsum,
}
