"""Tiny models, built in code: what tests of every room run on. Seeded; each gives a fresh `onnx.ModelProto`."""

from __future__ import annotations

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


class Weights:
    """Collects initializers with random values, scaled so that a layer keeps its input's size."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.tensors: list[onnx.TensorProto] = []

    def add(self, name: str, *shape: int) -> str:
        """Adds a float32 initializer of this shape and returns its name."""
        fan_in = max(1, int(np.prod(shape[1:])) if len(shape) != 2 else min(shape))
        return self.constant(name, self.random.normal(size=shape, scale=fan_in**-0.5).astype(np.float32))

    def constant(self, name: str, value: np.ndarray) -> str:
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
    types: dict[str, int] | None = None,
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
