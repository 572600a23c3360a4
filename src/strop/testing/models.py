"""Tiny models, built in code: what tests of every room run on. Seeded; each gives a fresh `onnx.ModelProto`.

Example:
    >>> [node.op_type for node in multilayer_perceptron().graph.node]
    ['MatMul', 'Add', 'Relu', 'Gemm']
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Size = int | str | None


def convolution_classifier(batch: Size = "batch", *, opset: int = 17, seed: int = 0) -> onnx.ModelProto:
    """Returns [batch, 3, 16, 16] -> [batch, 5]: convolution, batch normalization, ReLU, pooling, Gemm."""
    weights = Weights(seed)
    nodes = [
        helper.make_node("Conv", ["x", weights.add("w1", 8, 3, 3, 3)], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", *weights.batch_norm("bn1", 8)], ["n1"], "bn1"),
        helper.make_node("Relu", ["n1"], ["r1"], "relu1"),
        helper.make_node(
            "Conv", ["r1", weights.add("w2", 8, 8, 3, 3), weights.add("b2", 8)], ["c2"], "conv2", strides=[2, 2]
        ),
        helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", weights.add("w3", 5, 8), weights.add("b3", 5)], ["y"], "fc", transB=1),
    ]
    return model(nodes, {"x": (batch, 3, 16, 16)}, {"y": (batch, 5)}, weights, opset=opset)


def multilayer_perceptron(batch: Size = "batch", *, opset: int = 17, seed: int = 0) -> onnx.ModelProto:
    """Returns [batch, 16] -> [batch, 4]: MatMul + Add, ReLU, Gemm."""
    weights = Weights(seed)
    nodes = [
        helper.make_node("MatMul", ["x", weights.add("w1", 16, 32)], ["m"], "matmul"),
        helper.make_node("Add", ["m", weights.add("b1", 32)], ["a"], "add"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("Gemm", ["r", weights.add("w2", 32, 4), weights.add("b2", 4)], ["y"], "fc"),
    ]
    return model(nodes, {"x": (batch, 16)}, {"y": (batch, 4)}, weights, opset=opset)


def depthwise_network(batch: Size = "batch", *, opset: int = 17, seed: int = 0) -> onnx.ModelProto:
    """Returns [batch, 3, 16, 16] -> [batch, 8, 8, 8]: an inverted residual: expand, depthwise, project, add, ReLU6."""
    weights = Weights(seed)
    low, high = weights.constant("zero", np.float32(0)), weights.constant("six", np.float32(6))
    nodes = [
        helper.make_node("Conv", ["x", weights.add("stem", 8, 3, 3, 3)], ["s"], "stem", strides=[2, 2], pads=[1] * 4),
        helper.make_node("Conv", ["s", weights.add("expand", 16, 8, 1, 1), weights.add("b", 16)], ["e"], "expand"),
        helper.make_node("Clip", ["e", low, high], ["e6"], "expand_relu6"),
        helper.make_node("Conv", ["e6", weights.add("dw", 16, 1, 3, 3)], ["d"], "depthwise", group=16, pads=[1] * 4),
        helper.make_node("Clip", ["d", low, high], ["d6"], "depthwise_relu6"),
        helper.make_node("Conv", ["d6", weights.add("project", 8, 16, 1, 1)], ["p"], "project"),
        helper.make_node("Add", ["s", "p"], ["y"], "residual"),
    ]
    return model(nodes, {"x": (batch, 3, 16, 16)}, {"y": (batch, 8, 8, 8)}, weights, opset=opset)


def unfused_batch_norm(batch: Size = "batch", *, opset: int = 17, seed: int = 0) -> onnx.ModelProto:
    """Returns [batch, 4, 8, 8] -> the same: a BatchNormalization before its convolution and one behind a sum."""
    weights = Weights(seed)
    nodes = [
        helper.make_node("BatchNormalization", ["x", *weights.batch_norm("bn1", 4)], ["n"], "bn1"),
        helper.make_node("Conv", ["n", weights.add("w", 4, 4, 3, 3)], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["x", "c"], ["a"], "add"),
        helper.make_node("BatchNormalization", ["a", *weights.batch_norm("bn2", 4)], ["y"], "bn2"),
    ]
    return model(nodes, {"x": (batch, 4, 8, 8)}, {"y": (batch, 4, 8, 8)}, weights, opset=opset)


def transposed_convolution(batch: Size = "batch", *, opset: int = 17, seed: int = 0) -> onnx.ModelProto:
    """Returns [batch, 4, h, w] -> [batch, 3, 2h, 2w]: kernel = stride = 2, then a sigmoid; height and width free."""
    weights = Weights(seed)
    nodes = [
        helper.make_node(
            "ConvTranspose", ["x", weights.add("w", 4, 3, 2, 2), weights.add("b", 3)], ["c"], "up", strides=[2, 2]
        ),
        helper.make_node("Sigmoid", ["c"], ["y"], "sigmoid"),
    ]
    return model(nodes, {"x": (batch, 4, "h", "w")}, {"y": (batch, 3, None, None)}, weights, opset=opset)


def dynamic_width(batch: Size = "batch", *, opset: int = 17, seed: int = 0) -> onnx.ModelProto:
    """Returns [batch, 1, 8, width] -> [batch, width/2, 6]: convolution, columns as steps, MatMul, softmax."""
    weights = Weights(seed)
    nodes = [
        helper.make_node(
            "Conv", ["x", weights.add("w", 4, 1, 8, 2), weights.add("b", 4)], ["c"], "conv", strides=[8, 2]
        ),
        helper.make_node("Reshape", ["c", weights.constant("rows", np.array([0, 4, -1]))], ["s"], "reshape"),
        helper.make_node("Transpose", ["s"], ["t"], "transpose", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["t", weights.add("m", 4, 6)], ["l"], "matmul"),
        helper.make_node("Softmax", ["l"], ["y"], "softmax", axis=2),
    ]
    return model(nodes, {"x": (batch, 1, 8, "width")}, {"y": (batch, None, 6)}, weights, opset=opset)


def constant_batch_reshape(*, opset: int = 17, seed: int = 0) -> onnx.ModelProto:
    """Returns [1, 4, 4] -> [1, 3] through a Reshape to [1, 16]: a model that cannot follow another batch."""
    weights = Weights(seed)
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("Reshape", ["r", weights.constant("target", np.array([1, 16]))], ["f"], "fixed_reshape"),
        helper.make_node("MatMul", ["f", weights.add("w", 16, 3)], ["y"], "matmul"),
    ]
    return model(nodes, {"x": (1, 4, 4)}, {"y": (1, 3)}, weights, opset=opset)


def lstm(batch: Size = "batch", *, constant_state: bool = False, opset: int = 17, seed: int = 0) -> onnx.ModelProto:
    """Returns [steps, batch, 8] -> [batch, 3]: an LSTM of 6 cells, its last state, Gemm.

    constant_state: the initial state is a constant of batch 1, as exporters write it; then the batch should be 1.
    """
    weights = Weights(seed)
    inputs = ["x", weights.add("w", 1, 24, 8), weights.add("r", 1, 24, 6), weights.add("b", 1, 48)]
    if constant_state:
        inputs += ["", weights.add("h0", 1, 1, 6), weights.add("c0", 1, 1, 6)]
    nodes = [
        helper.make_node("LSTM", inputs, ["", "h"], "lstm", hidden_size=6),
        helper.make_node("Reshape", ["h", weights.constant("rows", np.array([-1, 6]))], ["s"], "reshape"),
        helper.make_node("Gemm", ["s", weights.add("w2", 6, 3), weights.add("b2", 3)], ["y"], "fc"),
    ]
    return model(nodes, {"x": ("steps", batch, 8)}, {"y": (batch, 3)}, weights, opset=opset)


def stateful(batch: Size = "batch", *, opset: int = 17, seed: int = 0) -> onnx.ModelProto:
    """Returns (x [batch, 4], state [batch, 4]) -> (y, new_state), same shape: the caller carries the state."""
    weights = Weights(seed)
    nodes = [
        helper.make_node("MatMul", ["state", weights.add("w", 4, 4)], ["m"], "matmul"),
        helper.make_node("Add", ["x", "m"], ["a"], "add"),
        helper.make_node("Tanh", ["a"], ["new_state"], "tanh"),
        helper.make_node("Relu", ["new_state"], ["y"], "relu"),
    ]
    shape = (batch, 4)
    return model(nodes, {"x": shape, "state": shape}, {"y": shape, "new_state": shape}, weights, opset=opset)


def embedding(batch: Size = "batch", *, opset: int = 17, seed: int = 0) -> onnx.ModelProto:
    """Returns int64 tokens [batch, length] -> [batch, 2]: Gather of a table of 11 rows, mean, Gemm."""
    weights = Weights(seed)
    nodes = [
        helper.make_node("Gather", [weights.add("table", 11, 5), "tokens"], ["e"], "gather"),
        helper.make_node("ReduceMean", ["e"], ["m"], "mean", axes=[1], keepdims=0),
        helper.make_node("Gemm", ["m", weights.add("w", 5, 2), weights.add("b", 2)], ["y"], "fc"),
    ]
    kinds = {"tokens": TensorProto.INT64}
    return model(nodes, {"tokens": (batch, "length")}, {"y": (batch, 2)}, weights, opset=opset, types=kinds)


def branching(*, opset: int = 17, seed: int = 0) -> onnx.ModelProto:
    """Returns (x [batch, 4], flag: bool scalar) -> [batch, 4]: an If with a MatMul in one branch, Neg in the other."""
    weights = Weights(seed)
    weights.add("w", 4, 4)
    value = helper.make_tensor_value_info
    then = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["t"], "then_matmul")],
        "then",
        [],
        [value("t", TensorProto.FLOAT, ("batch", 4))],
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["n"], "else_neg")], "else", [], [value("n", TensorProto.FLOAT, ("batch", 4))]
    )
    nodes = [helper.make_node("If", ["flag"], ["y"], "if", then_branch=then, else_branch=other)]
    kinds = {"flag": TensorProto.BOOL}
    return model(nodes, {"x": ("batch", 4), "flag": ()}, {"y": ("batch", 4)}, weights, opset=opset, types=kinds)


def half_precision(*, opset: int = 17, seed: int = 0) -> onnx.ModelProto:
    """Returns float16 [batch, 8] -> [batch, 4]: one MatMul with float16 weights."""
    weights = Weights(seed)
    weights.constant("w", weights.random.normal(size=(8, 4)).astype(np.float16))
    kinds = {"x": TensorProto.FLOAT16, "y": TensorProto.FLOAT16}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "matmul")]
    return model(nodes, {"x": ("batch", 8)}, {"y": ("batch", 4)}, weights, opset=opset, types=kinds)


def quantized(*, weights_only: bool = False, opset: int = 17, seed: int = 0) -> onnx.ModelProto:
    """Returns [batch, 8] -> [batch, 4]: a MatMul with 8-bit weights, and activations too unless `weights_only`."""
    weights = Weights(seed)
    weights.constant("w8", weights.random.integers(-127, 128, (8, 4)).astype(np.int8))
    scale, zero = weights.constant("scale", np.float32(0.02)), weights.constant("zero", np.int8(0))
    nodes = [helper.make_node("DequantizeLinear", ["w8", scale, zero], ["w"], "weights")]
    if not weights_only:
        weights.constant("zero_x", np.uint8(128))
        nodes += [
            helper.make_node("QuantizeLinear", ["x", scale, "zero_x"], ["x8"], "quantize"),
            helper.make_node("DequantizeLinear", ["x8", scale, "zero_x"], ["xd"], "dequantize"),
        ]
    nodes.append(helper.make_node("MatMul", ["x" if weights_only else "xd", "w"], ["y"], "matmul"))
    return model(nodes, {"x": ("batch", 8)}, {"y": ("batch", 4)}, weights, opset=opset)


def custom_operator() -> onnx.ModelProto:
    """Returns [batch, 4] -> [batch, 4] through `com.example.Magic`, which no engine knows."""
    nodes = [helper.make_node("Magic", ["x"], ["y"], "magic", domain="com.example")]
    made = model([helper.make_node("Relu", ["x"], ["y"])], {"x": ("batch", 4)}, {"y": ("batch", 4)})
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    made.opset_import.append(helper.make_opsetid("com.example", 1))
    return made


def initializers_as_inputs(*, opset: int = 9, seed: int = 0) -> onnx.ModelProto:
    """Returns `multilayer_perceptron` as exporters wrote it before IR version 4: weights are graph inputs as well."""
    made = multilayer_perceptron(opset=opset, seed=seed)
    made.ir_version = 3
    for tensor in made.graph.initializer:
        made.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return made


class Weights:
    """Collects initializers with random values, scaled so that a layer keeps its input's size."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.tensors: list[onnx.TensorProto] = []

    def add(self, name: str, *shape: int) -> str:
        """Adds a float32 initializer of this shape and returns its name."""
        fan_in = max(1, int(np.prod(shape[1:])) if len(shape) != 2 else min(shape))
        return self.constant(name, self.random.normal(size=shape, scale=fan_in**-0.5).astype(np.float32))

    def constant(self, name: str, value: np.ndarray | np.generic) -> str:
        """Adds `value` as an initializer and returns its name."""
        self.tensors.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def batch_norm(self, name: str, channels: int) -> list[str]:
        """Adds scale, bias, mean and variance of a batch normalization and returns their names."""
        return [
            self.constant(f"{name}.scale", self.random.uniform(0.5, 1.5, channels).astype(np.float32)),
            self.constant(f"{name}.bias", self.random.normal(size=channels, scale=0.1).astype(np.float32)),
            self.constant(f"{name}.mean", self.random.normal(size=channels, scale=0.1).astype(np.float32)),
            self.constant(f"{name}.variance", self.random.uniform(0.5, 1.5, channels).astype(np.float32)),
        ]


def model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[Size, ...]],
    outputs: dict[str, tuple[Size, ...]],
    weights: Weights | None = None,
    *,
    opset: int = 17,
    types: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """Returns the checked model of these nodes; values are float32 unless `types` names another element type."""
    kinds = types or {}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), s) for n, s in outputs.items()],
        weights.tensors if weights else [],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset >= 13 else 7)
    onnx.checker.check_model(made)
    return made
