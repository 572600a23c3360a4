"""Builds a network node by node, as exporters write them, with weights that keep activations sane at any depth.

Every value of a network for images is computed while it is built, for examples. So a convolution can be scaled and
shifted until each of its channels has about the mean and deviation that batch normalization gives: what an exporter
has folded into a trained one. Values without a number (tokens, sequences) are taken to be standard normal.
Names follow the exporters': `/scope/Op` for a node, `/scope/Op_output_0` for a value.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.networks.arithmetic import convolve, hard_sigmoid, largest, sigmoid, spread

OPSET = 17
IR_VERSION = 8
FEWEST_PIXELS = 16
"""With fewer, a channel's own mean and deviation say nothing; then those of all channels together are used."""

Array = np.ndarray
Size = int | str
"""A dimension: a number, or the name of a free one."""


class NetworkBuilder:
    """Collects the nodes and weights of one network; values are named by strings, as in ONNX."""

    def __init__(self, name: str, seed: int):
        self.name = name
        self.random = np.random.default_rng(seed)
        self.values: dict[str, Array] = {}
        self._scopes: list[str] = []
        self._used: Counter[str] = Counter()
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Names what is made inside after `name`."""
        self._scopes.append(name)
        yield
        self._scopes.pop()

    def input(self, name: str, shape: Sequence[Size], *, kind: int = TensorProto.FLOAT) -> str:
        """Adds an input of the network."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def example_input(self, name: str, examples: Array) -> str:
        """Adds an input of float32 for one of the examples, for which all that follows is computed."""
        self.values[name] = examples
        return self.input(name, (1, *examples.shape[1:]))

    def channels(self, x: str) -> int:
        """Returns the size of axis 1 of a value that was computed."""
        return self.values[x].shape[1]

    def nodes(self, kind: str, inputs: Sequence[str], outputs: int, **attributes: object) -> list[str]:
        """Adds a node and returns its outputs."""
        path = "/".join(["", *self._scopes, kind])
        name = f"{path}_{self._used[path]}" if self._used[path] else path
        self._used[path] += 1
        names = [f"{name}_output_{number}" for number in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, names, name=name, **attributes))
        return names

    def node(self, kind: str, *inputs: str, value: Array | None = None, **attributes: object) -> str:
        """Adds a node and returns its only output; value: what that is for the examples."""
        output = self.nodes(kind, inputs, 1, **attributes)[0]
        if value is not None:
            self.values[output] = value
        return output

    def constant(self, value: object, kind: type[np.generic] = np.int64) -> str:
        """Adds a Constant node."""
        output = self.nodes("Constant", (), 1, value=numpy_helper.from_array(np.asarray(value, kind)))
        return output[0]

    def weight(self, name: str, values: Array) -> str:
        """Adds an initializer of float32."""
        name = ".".join([*self._scopes, name])
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def normal(self, shape: Sequence[int], deviation: float) -> Array:
        """Returns normal values."""
        return self.random.standard_normal(tuple(shape), np.float32) * np.float32(deviation)

    def conv(
        self,
        x: str,
        channels: int,
        kernel: int = 1,
        *,
        scope: str,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        deviation: float = 1.0,
    ) -> str:
        """Adds a square convolution with bias whose channels have about mean 0 and the deviation.

        padding: by default what keeps the size at stride 1; groups: 1, or one a channel.
        """
        inner = self.channels(x) // groups
        weights = self.normal((channels, inner, kernel, kernel), 1 / math.sqrt(inner * kernel**2))
        padding = kernel // 2 if padding is None else padding
        raw = convolve(self.values[x], weights, stride=stride, padding=padding, groups=groups)
        scale, bias = self._normalization(raw, deviation)
        with self.scope(scope):
            return self.node(
                "Conv",
                x,
                self.weight("weight", weights * scale[:, None, None, None]),
                self.weight("bias", bias),
                value=raw * scale[:, None, None] + bias[:, None, None],
                dilations=[1, 1],
                group=groups,
                kernel_shape=[kernel, kernel],
                pads=[padding] * 4,
                strides=[stride, stride],
            )

    def double_size(self, x: str, channels: int, *, scope: str) -> str:
        """Adds a transposed convolution with a 2 x 2 kernel and stride 2."""
        weights = self.normal((self.channels(x), channels, 2, 2), 1 / math.sqrt(self.channels(x)))
        raw = spread(self.values[x], weights)
        scale, bias = self._normalization(raw, 1.0)
        with self.scope(scope):
            return self.node(
                "ConvTranspose",
                x,
                self.weight("weight", weights * scale[:, None, None]),
                self.weight("bias", bias),
                value=raw * scale[:, None, None] + bias[:, None, None],
                dilations=[1, 1],
                group=1,
                kernel_shape=[2, 2],
                pads=[0] * 4,
                strides=[2, 2],
            )

    def _normalization(self, raw: Array, deviation: float) -> tuple[Array, Array]:
        """Returns scale and bias of each channel, much as batch normalization with trained parameters has them.

        Half of the variance is that of all channels together: one that hardly varies over the few examples must not be
        blown up, as it may vary over other images.
        """
        own = raw.shape[2] * raw.shape[3] >= FEWEST_PIXELS
        variance = (raw.var(axis=(0, 2, 3)) + raw.var()) / 2 if own else np.full(raw.shape[1], raw.var())
        scale = deviation * self.random.uniform(0.8, 1.2, raw.shape[1]).astype(np.float32) / np.sqrt(variance)
        middle = raw.mean(axis=(0, 2, 3)) if own else np.zeros(raw.shape[1], np.float32)
        return scale, self.normal((raw.shape[1],), 0.1) - middle * scale

    def dense(self, x: str, size: int, *, scope: str, inputs: int | None = None) -> str:
        """Adds a fully connected layer as Gemm; inputs: how many there are where the value was not computed."""
        before = self.values.get(x)
        inputs = inputs or self.channels(x)
        weights, bias = self.normal((size, inputs), 1 / math.sqrt(inputs)), self.normal((size,), 0.1)
        if before is not None:
            weights /= np.sqrt(np.square(before).mean())
        with self.scope(scope):
            return self.node(
                "Gemm",
                x,
                self.weight("weight", weights),
                self.weight("bias", bias),
                value=None if before is None else before @ weights.T + bias,
                alpha=1.0,
                beta=1.0,
                transB=1,
            )

    def project(self, x: str, inputs: int, size: int, *, scope: str, gain: float = 1.0) -> str:
        """Adds a fully connected layer over the last of three axes as MatMul and Add, the bias first.

        gain: the output's deviation over the input's.
        """
        with self.scope(scope):
            product = self.node(
                "MatMul", x, self.weight("weight", self.normal((inputs, size), gain / math.sqrt(inputs)))
            )
            return self.node("Add", self.weight("bias", self.normal((size,), 0.1)), product)

    def relu(self, x: str) -> str:
        """Adds Relu."""
        return self.node("Relu", x, value=np.maximum(self.values[x], 0))

    def relu6(self, x: str) -> str:
        """Adds a Clip between 0 and 6."""
        low, high = self.constant(0.0, np.float32), self.constant(6.0, np.float32)
        return self.node("Clip", x, low, high, value=np.clip(self.values[x], 0, 6))

    def sigmoid(self, x: str) -> str:
        """Adds Sigmoid."""
        return self.node("Sigmoid", x, value=sigmoid(self.values[x]))

    def silu(self, x: str) -> str:
        """Adds x * sigmoid(x) as Sigmoid and Mul."""
        return self.product(x, self.sigmoid(x))

    def hard_sigmoid(self, x: str) -> str:
        """Adds clip(x / 6 + 1 / 2, 0, 1) as HardSigmoid."""
        return self.node("HardSigmoid", x, value=hard_sigmoid(self.values[x]), alpha=1 / 6)

    def hard_swish(self, x: str) -> str:
        """Adds x * hard_sigmoid(x) as HardSwish."""
        return self.node("HardSwish", x, value=self.values[x] * hard_sigmoid(self.values[x]))

    def gelu(self, x: str) -> str:
        """Adds x * (1 + erf(x / sqrt(2))) / 2 in the five nodes that exporters write; of a value not computed."""
        scaled = self.node("Div", x, self.constant(math.sqrt(2), np.float32))
        raised = self.node("Add", self.node("Erf", scaled), self.constant(1.0, np.float32))
        return self.node("Mul", self.node("Mul", x, raised), self.constant(0.5, np.float32))

    def sum(self, a: str, b: str) -> str:
        """Adds Add."""
        return self.node("Add", a, b, value=self.values[a] + self.values[b])

    def product(self, a: str, b: str) -> str:
        """Adds Mul."""
        return self.node("Mul", a, b, value=self.values[a] * self.values[b])

    def concat(self, values: Sequence[str]) -> str:
        """Adds a Concat along the channels."""
        return self.node(
            "Concat", *values, value=np.concatenate([self.values[value] for value in values], axis=1), axis=1
        )

    def max_pool(self, x: str, kernel: int, *, stride: int, padding: int = 0, ceil_mode: int = 0) -> str:
        """Adds a square MaxPool."""
        return self.node(
            "MaxPool",
            x,
            value=largest(self.values[x], kernel, stride=stride, padding=padding, ceil_mode=ceil_mode),
            ceil_mode=ceil_mode,
            dilations=[1, 1],
            kernel_shape=[kernel, kernel],
            pads=[padding] * 4,
            strides=[stride, stride],
        )

    def global_average(self, x: str) -> str:
        """Adds GlobalAveragePool."""
        return self.node("GlobalAveragePool", x, value=self.values[x].mean(axis=(2, 3), keepdims=True))

    def mean_of_pixels(self, x: str) -> str:
        """Adds a ReduceMean over both spatial axes, as squeeze-and-excite has it."""
        return self.node(
            "ReduceMean", x, value=self.values[x].mean(axis=(2, 3), keepdims=True), axes=[2, 3], keepdims=1
        )

    def flatten(self, x: str) -> str:
        """Adds a Flatten to one row."""
        return self.node("Flatten", x, value=self.values[x].reshape(len(self.values[x]), -1), axis=1)

    def finish(self, output: str, shape: Sequence[Size]) -> onnx.ModelProto:
        """Returns the model with one output, called `output`."""
        for node in self._nodes:
            node.output[:] = ["output" if name == output else name for name in node.output]
        graph = helper.make_graph(
            self._nodes,
            self.name,
            self._inputs,
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
            self._weights,
        )
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="strop")
