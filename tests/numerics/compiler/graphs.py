"""Models for the compiler's tests: some by hand, each for one thing that can go wrong, and random ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper

from strop.testing.models import Weights, model

Node = onnx.NodeProto


def residual_block() -> onnx.ModelProto:
    """Two convolutions, the sum with what came before in place, then another block with a stride."""
    weights = Weights()
    nodes = [
        convolution(weights, "x", "a", 8, 3, pads=1),
        helper.make_node("Relu", ["a"], ["r"]),
        convolution(weights, "r", "b", 8, 8, pads=1),
        helper.make_node("Relu", ["b"], ["rb"]),
        convolution(weights, "rb", "c", 8, 8, pads=1),
        helper.make_node("Add", ["c", "r"], ["s"]),
        helper.make_node("Relu", ["s"], ["t"]),
        convolution(weights, "t", "d", 16, 8, pads=1, strides=2),
        convolution(weights, "t", "e", 16, 8, kernel=1, strides=2),
        helper.make_node("Add", ["d", "e"], ["f"]),
        helper.make_node("Relu", ["f"], ["y"]),
    ]
    return model(nodes, {"x": (1, 3, 10, 9)}, {"y": (1, 16, 5, 5)}, weights)


def fire_module() -> onnx.ModelProto:
    """Squeeze, two expansions side by side in one concatenation, pool, again; global average, flatten."""
    weights = Weights()
    nodes = []
    source, channels = "x", 3
    for number in range(2):
        squeeze, one, three = (f"{name}{number}" for name in ("s", "a", "b"))
        nodes += [
            convolution(weights, source, squeeze, 4, channels, kernel=1),
            helper.make_node("Relu", [squeeze], [f"{squeeze}r"]),
            convolution(weights, f"{squeeze}r", one, 5, 4, kernel=1),
            helper.make_node("Relu", [one], [f"{one}r"]),
            convolution(weights, f"{squeeze}r", three, 7, 4, pads=1),
            helper.make_node("Relu", [three], [f"{three}r"]),
            helper.make_node("Concat", [f"{one}r", f"{three}r"], [f"c{number}"], axis=1),
            helper.make_node(
                "MaxPool", [f"c{number}"], [f"p{number}"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1
            ),
        ]
        source, channels = f"p{number}", 12
    nodes += [
        helper.make_node("GlobalAveragePool", [source], ["g"]),
        helper.make_node("Flatten", ["g"], ["y"]),
    ]
    return model(nodes, {"x": (1, 3, 15, 14)}, {"y": (1, 12)}, weights)


def flattened_image() -> onnx.ModelProto:
    """A convolution, a pool, and a matrix product of the flattened image, in a batch of two."""
    weights = Weights()
    nodes = [
        convolution(weights, "x", "a", 6, 1, pads=2, kernel=5),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["p", weights.constant("shape", np.array([2, -1]))], ["f"]),
        helper.make_node("Gemm", ["f", weights.add("w", 10, 6 * 4 * 4), weights.add("b", 10)], ["y"], transB=1),
    ]
    return model(nodes, {"x": (2, 1, 8, 8)}, {"y": (2, 10)}, weights)


def a_bias_for_each_row() -> onnx.ModelProto:
    """A square matrix product plus a column, which is not a row of biases though it is as long."""
    weights = Weights()
    nodes = [helper.make_node("Gemm", ["x", weights.add("w", 5, 8), weights.add("c", 8, 1)], ["y"])]
    return model(nodes, {"x": (8, 5)}, {"y": (8, 8)}, weights)


def a_pixel_seen_askew() -> onnx.ModelProto:
    """A convolution of few channels whose image is one pixel, a part of the caller's array with strides of its own."""
    weights = Weights()
    bounds = [
        weights.constant(name, np.array(numbers))
        for name, numbers in (("at", [1, 0]), ("to", [2, 1]), ("axes", [2, 3]))
    ]
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]),
        helper.make_node("Slice", ["t", *bounds], ["s"]),
        convolution(weights, "s", "y", 16, 1, kernel=7, pads=3),
    ]
    return model(nodes, {"x": (1, 1, 2, 3)}, {"y": (1, 16, 1, 1)}, weights)


def an_image_and_rows() -> onnx.ModelProto:
    """A value of which a convolution and a matrix product each want a copy, laid out each in its way."""
    weights = Weights()
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]),
        convolution(weights, "t", "a", 6, 4, pads=2),
        helper.make_node("MatMul", ["t", weights.add("w", 3, 5)], ["b"]),
    ]
    return model(nodes, {"x": (2, 3, 4, 7)}, {"a": (2, 6, 9, 5), "b": (2, 4, 7, 5)}, weights)


def rows_joined_as_an_image() -> onnx.ModelProto:
    """Two products of matrices in a concatenation of channels that is an output: they cannot write into it."""
    weights = Weights()
    nodes = [
        helper.make_node("MatMul", ["x", weights.add("w", 5, 5)], ["a"]),
        helper.make_node("MatMul", ["a", "a"], ["b"]),
        helper.make_node("Concat", ["a", "b", "x"], ["y"], axis=1),
    ]
    return model(nodes, {"x": (1, 3, 5, 5)}, {"y": (1, 9, 5, 5)}, weights)


def channels_of_a_column() -> onnx.ModelProto:
    """Some channels of an image of one column, of which every third is asked for: the zeros around it stay."""
    weights = Weights()
    bounds = {"starts": [1, 0], "ends": [6, 1], "axes": [1, 3], "steps": [1, 3]}
    nodes = [
        convolution(weights, "x", "a", 6, 3, kernel=1),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Slice", ["r", *(weights.constant(k, np.array(v)) for k, v in bounds.items())], ["s"]),
        convolution(weights, "s", "y", 8, 5, pads=1),
    ]
    return model(nodes, {"x": (1, 3, 7, 1)}, {"y": (1, 8, 7, 1)}, weights)


def a_reshape_joined_as_an_image() -> onnx.ModelProto:
    """A reshaped line in a concatenation of channels that is an output: it lies in no part of it."""
    weights = Weights()
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node("Reshape", ["t", weights.constant("shape", np.array([1, 6, 2, 2]))], ["r"]),
        convolution(weights, "r", "c", 6, 6, pads=1),
        helper.make_node("Concat", ["r", "c"], ["y"], axis=1),
    ]
    return model(nodes, {"x": (1, 8, 3)}, {"y": (1, 12, 2, 2)}, weights)


def padded_shortcut() -> onnx.ModelProto:
    """Every second pixel, channels padded with zeros, added to a convolution: a shortcut without weights."""
    weights = Weights()
    bounds = {"starts": [0, 0], "ends": [99, 99], "axes": [2, 3], "steps": [2, 2]}
    names = [weights.constant(name, np.array(numbers)) for name, numbers in bounds.items()]
    pads = weights.constant("pads", np.array([0, 2, 0, 0, 0, 2, 0, 0]))
    nodes = [
        convolution(weights, "x", "a", 4, 3, pads=1),
        helper.make_node("Relu", ["a"], ["r"]),
        convolution(weights, "r", "b", 8, 4, pads=1, strides=2),
        helper.make_node("Slice", ["r", *names], ["s"]),
        helper.make_node("Pad", ["s", pads, weights.constant("zero", np.float32(0))], ["p"]),
        helper.make_node("Add", ["b", "p"], ["y"]),
    ]
    return model(nodes, {"x": (1, 3, 8, 8)}, {"y": (1, 8, 4, 4)}, weights)


def outputs_inside() -> onnx.ModelProto:
    """Outputs that others read too: an image, a part of a concatenation, a view, an input as it is."""
    weights = Weights()
    nodes = [
        convolution(weights, "x", "a", 4, 3, pads=1),
        helper.make_node("Relu", ["a"], ["r"]),
        convolution(weights, "r", "b", 4, 4, pads=1),
        helper.make_node("Concat", ["r", "b", "r"], ["c"], axis=1),
        helper.make_node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Add", ["b", "r"], ["s"]),
    ]
    outputs = {"r": (1, 4, 6, 5), "b": (1, 4, 6, 5), "t": (1, 6, 5, 12), "same": (1, 3, 6, 5), "s": (1, 4, 6, 5)}
    return model(nodes, {"x": (1, 3, 6, 5)}, outputs, weights)


def read_after_its_concatenation() -> onnx.ModelProto:
    """A concatenation that dies in a sum, while one of its parts is read later."""
    weights = Weights()
    nodes = [
        convolution(weights, "x", "a", 4, 3, kernel=1),
        convolution(weights, "x", "b", 4, 3, kernel=1),
        helper.make_node("Concat", ["a", "b"], ["c"], axis=1),
        convolution(weights, "x", "d", 8, 3, kernel=1),
        helper.make_node("Add", ["d", "c"], ["s"]),
        helper.make_node("Relu", ["s"], ["r"]),
        convolution(weights, "r", "y", 8, 8, kernel=1),
        convolution(weights, "a", "z", 2, 4, kernel=1),
    ]
    return model(nodes, {"x": (1, 3, 5, 4)}, {"y": (1, 8, 5, 4), "z": (1, 2, 5, 4)}, weights)


def squeeze_and_excite() -> onnx.ModelProto:
    """A scale per channel that is computed, and a hard swish, whose operand is read twice."""
    weights = Weights()
    nodes = [
        convolution(weights, "x", "a", 8, 3, pads=1),
        helper.make_node("HardSwish", ["a"], ["h"]),
        helper.make_node("GlobalAveragePool", ["h"], ["g"]),
        convolution(weights, "g", "s", 8, 8, kernel=1),
        helper.make_node("HardSigmoid", ["s"], ["hs"]),
        helper.make_node("Mul", ["h", "hs"], ["m"]),
        convolution(weights, "m", "y", 5, 8, kernel=1),
    ]
    return model(nodes, {"x": (1, 3, 7, 6)}, {"y": (1, 5, 7, 6)}, weights)


def rows_of_any_rank() -> onnx.ModelProto:
    """Matrix products of three axes, added to a constant of its own per place, and to one per row."""
    weights = Weights()
    nodes = [
        helper.make_node("MatMul", ["x", weights.add("w", 6, 9)], ["m"]),
        helper.make_node("Add", ["m", weights.add("place", 1, 5, 9)], ["p"]),
        helper.make_node("Relu", ["p"], ["r"]),
        helper.make_node("MatMul", ["r", weights.add("v", 9, 7)], ["n"]),
        helper.make_node("Add", ["n", weights.add("b", 7)], ["y"]),
    ]
    return model(nodes, {"x": (2, 5, 6)}, {"y": (2, 5, 7)}, weights)


def lines_of_pixels() -> onnx.ModelProto:
    """Convolution and pooling of one spatial axis."""
    weights = Weights()
    nodes = [
        helper.make_node("Conv", ["x", weights.add("w", 6, 4, 3), weights.add("b", 6)], ["a"], pads=[1, 1]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("AveragePool", ["r"], ["p"], kernel_shape=[3], strides=[2], pads=[1, 1]),
        helper.make_node("Conv", ["p", weights.add("v", 3, 6, 3)], ["y"], strides=[2]),
    ]
    return model(nodes, {"x": (1, 4, 17)}, {"y": (1, 3, 4)}, weights)


def shuffled_channels() -> onnx.ModelProto:
    """Groups of channels interleaved by a reshape, a transposition and a reshape: no strides say that."""
    weights = Weights()
    split = weights.constant("split", np.array([1, 2, 4, 6, 5]))
    back = weights.constant("back", np.array([1, 8, 6, 5]))
    nodes = [
        convolution(weights, "x", "a", 8, 4, kernel=1, group=2),
        helper.make_node("Reshape", ["a", split], ["g"]),
        helper.make_node("Transpose", ["g"], ["t"], perm=[0, 2, 1, 3, 4]),
        helper.make_node("Reshape", ["t", back], ["f"]),
        convolution(weights, "f", "y", 4, 8, pads=1, group=4),
    ]
    return model(nodes, {"x": (1, 4, 6, 5)}, {"y": (1, 4, 6, 5)}, weights)


def quantized_convolution(*, relu: bool = False, zero: int = 121, depthwise: bool = False) -> onnx.ModelProto:
    """X quantized to u8, a convolution with s8 weights (a scale a channel) and a bias, quantized again."""
    weights = Weights(3)
    channels = 6 if depthwise else 5
    filters = (6, 1 if depthwise else channels, 3, 3)
    weights.constant("w8", weights.random.integers(-127, 128, filters).astype(np.int8))
    weights.constant("ws", weights.random.uniform(0.002, 0.01, 6).astype(np.float32))
    weights.constant("wz", np.zeros(6, np.int8))
    weights.constant("b", weights.random.normal(size=6).astype(np.float32))
    weights.constant("xs", np.float32(0.02))
    weights.constant("xz", np.uint8(zero))
    weights.constant("ys", np.float32(0.05))
    weights.constant("yz", np.uint8(17))
    middle = "c"
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["x8"], "quantize"),
        helper.make_node("DequantizeLinear", ["x8", "xs", "xz"], ["xd"], "dequantize"),
        helper.make_node("DequantizeLinear", ["w8", "ws", "wz"], ["wd"], "weights", axis=0),
        helper.make_node("Conv", ["xd", "wd", "b"], ["c"], "conv", pads=[1, 1, 1, 1], group=6 if depthwise else 1),
    ]
    if relu:
        nodes.append(helper.make_node("Relu", ["c"], ["r"], "relu"))
        middle = "r"
    nodes += [
        helper.make_node("QuantizeLinear", [middle, "ys", "yz"], ["y8"], "quantize_output"),
        helper.make_node("DequantizeLinear", ["y8", "ys", "yz"], ["y"], "dequantize_output"),
    ]
    outputs = {"y": (1, 6, 7, 9), "y8": (1, 6, 7, 9)}
    return model(nodes, {"x": (1, channels, 7, 9)}, outputs, weights, types={"y8": TensorProto.UINT8})


def quantized_rows(*, gemm: bool = False, flatten: bool = False, zero: int = 121) -> onnx.ModelProto:
    """X quantized to u8, perhaps an image laid flat, times s8 weights (a scale a column), a bias, quantized again."""
    weights = Weights(5)
    inner, outer = (30, 19) if flatten else (22, 19)
    shape: tuple[int, ...] = (2, 5, 2, 3) if flatten else (7, inner) if gemm else (2, 7, inner)
    rows = (2,) if flatten else shape[:-1]
    numbers = weights.random.integers(-127, 128, (outer, inner) if gemm else (inner, outer)).astype(np.int8)
    weights.constant("w8", numbers)
    weights.constant("ws", weights.random.uniform(0.002, 0.01, outer).astype(np.float32))
    weights.constant("wz", np.zeros(outer, np.int8))
    weights.constant("b", weights.random.normal(size=outer).astype(np.float32))
    weights.constant("xs", np.float32(0.02))
    weights.constant("xz", np.uint8(zero))
    weights.constant("ys", np.float32(0.05))
    weights.constant("yz", np.uint8(17))
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["x8"], "quantize"),
        *([helper.make_node("Flatten", ["x8"], ["f8"], "flatten")] if flatten else []),
        helper.make_node("DequantizeLinear", ["f8" if flatten else "x8", "xs", "xz"], ["xd"], "dequantize"),
        helper.make_node("DequantizeLinear", ["w8", "ws", "wz"], ["wd"], "weights", axis=0 if gemm else -1),
    ]
    if gemm:
        nodes.append(helper.make_node("Gemm", ["xd", "wd", "b"], ["c"], "product", transB=1))
    else:
        nodes.append(helper.make_node("MatMul", ["xd", "wd"], ["p"], "product"))
        nodes.append(helper.make_node("Add", ["p", "b"], ["c"], "bias"))
    nodes += [
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("QuantizeLinear", ["r", "ys", "yz"], ["y8"], "quantize_output"),
    ]
    outputs = {"c": (*rows, outer), "y8": (*rows, outer)}
    return model(nodes, {"x": shape}, outputs, weights, types={"y8": TensorProto.UINT8})


def quantized_transposed_convolution(*, kernel: int = 2, zero: int = 121, scales: int = 6) -> onnx.ModelProto:
    """X quantized to u8, a transposed convolution with s8 weights, joined with a pooled image, quantized again."""
    weights = Weights(7)
    weights.constant("w8", weights.random.integers(-127, 128, (5, 6, kernel, kernel)).astype(np.int8))
    many = weights.random.uniform(0.002, 0.01, scales).astype(np.float32)
    weights.constant("ws", many if scales > 1 else many[0])
    weights.constant("wz", np.zeros(scales, np.int8) if scales > 1 else np.int8(0))
    weights.constant("b", weights.random.normal(size=6).astype(np.float32))
    weights.constant("xs", np.float32(0.02))
    weights.constant("xz", np.uint8(zero))
    weights.constant("ys", np.float32(0.05))
    weights.constant("yz", np.uint8(117))
    pads = [(kernel - 2) // 2, (kernel - 2) // 2, (kernel - 1) // 2, (kernel - 1) // 2]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["x8"], "quantize"),
        helper.make_node("DequantizeLinear", ["x8", "xs", "xz"], ["xd"], "dequantize"),
        helper.make_node("DequantizeLinear", ["w8", "ws", "wz"], ["wd"], "weights", axis=1),
        helper.make_node(
            "ConvTranspose",
            ["xd", "wd", "b"],
            ["c"],
            "transposed",
            strides=[2, 2],
            pads=pads,
            kernel_shape=[kernel] * 2,
        ),
        helper.make_node("QuantizeLinear", ["c", "ys", "yz"], ["c8"], "quantize_phases"),
        helper.make_node("DequantizeLinear", ["c8", "ys", "yz"], ["cd"], "dequantize_phases"),
        helper.make_node("QuantizeLinear", ["other", "ys", "yz"], ["o8"], "quantize_other"),
        helper.make_node("DequantizeLinear", ["o8", "ys", "yz"], ["od"], "dequantize_other"),
        helper.make_node("MaxPool", ["od"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Concat", ["cd", "p"], ["j"], "join", axis=1),
        helper.make_node("QuantizeLinear", ["j", "ys", "yz"], ["y8"], "quantize_output"),
    ]
    shapes = {"x": (1, 5, 4, 7), "other": (1, 3, 16, 28)}
    return model(nodes, shapes, {"y8": (1, 9, 8, 14)}, weights, types={"y8": TensorProto.UINT8})


BY_HAND: tuple[Callable[[], onnx.ModelProto], ...] = (
    residual_block,
    fire_module,
    flattened_image,
    padded_shortcut,
    outputs_inside,
    read_after_its_concatenation,
    squeeze_and_excite,
    rows_of_any_rank,
    lines_of_pixels,
    shuffled_channels,
    a_bias_for_each_row,
    a_pixel_seen_askew,
    an_image_and_rows,
    rows_joined_as_an_image,
    channels_of_a_column,
    a_reshape_joined_as_an_image,
)
"""The models by hand, all of float32."""


@st.composite
def graphs(draw: st.DrawFn) -> onnx.ModelProto:
    """A random model of a few nodes: branches, sums, concatenations, views, several outputs."""
    return _Growing(draw).grow()


class _Growing:
    """A model while it grows: values by name with their shapes, and which of them nobody has read yet."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.weights = Weights(draw(st.integers(0, 99)))
        self.nodes: list[Node] = []
        extents = st.integers(1, 9)
        self.input = (draw(st.integers(1, 2)), draw(st.integers(1, 6)), draw(extents), draw(extents))
        self.shapes: dict[str, tuple[int, ...]] = {"x": self.input}
        self.unread = {"x"}

    def grow(self) -> onnx.ModelProto:
        steps = (
            self._convolution, self._convolution, self._pointwise, self._pointwise, self._sum, self._sum, self._scale,
            self._pool, self._concatenation, self._slice, self._transpose, self._global, self._product, self._pad,
        )  # fmt: skip
        for _ in range(self.draw(st.integers(2, 9))):
            self.draw(st.sampled_from(steps))()
        if not self.nodes:
            self._node("Relu", ["x"], self.input)
        outputs = [name for name in self.shapes if name in self.unread and name != "x"]
        also = [name for name in self.shapes if name not in outputs and name != "x"]
        if also and self.draw(st.booleans()):
            outputs.append(self.draw(st.sampled_from(also)))
        return model(self.nodes, {"x": self.input}, {name: self.shapes[name] for name in outputs}, self.weights)

    def _value(self, rank: int | None = None) -> str | None:
        names = [name for name, shape in self.shapes.items() if rank in (None, len(shape))]
        # Later values are likelier, so that graphs are deep as well as wide.
        return self.draw(st.sampled_from(names[-4:])) if names else None

    def _node(self, kind: str, inputs: list[str], shape: tuple[int, ...], **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], f"{kind}_{len(self.nodes)}", **attributes))
        self.unread.difference_update(inputs)
        self.shapes[name] = tuple(int(size) for size in shape)
        self.unread.add(name)
        return name

    def _new(self, *shape: int) -> str:
        return self.weights.add(f"w{len(self.weights.tensors)}", *shape)

    def _convolution(self) -> None:
        name = self._value(4)
        if name is None:
            return
        images, channels, height, width = self.shapes[name]
        kernel = [self.draw(st.integers(1, 3)) for _ in range(2)]
        strides = [self.draw(st.integers(1, 2)) for _ in range(2)]
        pads = [self.draw(st.integers(0, 2)) for _ in range(4)]
        sizes = [
            (size + pads[axis] + pads[2 + axis] - kernel[axis]) // strides[axis] + 1
            for axis, size in enumerate((height, width))
        ]
        if min(sizes) < 1:
            return
        groups = self.draw(st.sampled_from([n for n in (1, 1, 2, channels) if channels % n == 0]))
        outputs = groups * self.draw(st.integers(1, 5))
        inputs = [name, self._new(outputs, channels // groups, *kernel)]
        if self.draw(st.booleans()):
            inputs.append(self._new(outputs))
        self._node("Conv", inputs, (images, outputs, *sizes), strides=strides, pads=pads, group=groups)

    def _pointwise(self) -> None:
        name = self._value()
        assert name is not None
        kind = self.draw(st.sampled_from(["Relu", "LeakyRelu", "HardSwish", "Abs", "Neg", "HardSigmoid"]))
        self._node(kind, [name], self.shapes[name])

    def _scale(self) -> None:
        name = self._value()
        assert name is not None
        shape = self.shapes[name]
        kept = self.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
        constant = self._new(*(size if keep else 1 for size, keep in zip(shape, kept, strict=True)))
        order = [name, constant] if self.draw(st.booleans()) else [constant, name]
        self._node(self.draw(st.sampled_from(["Mul", "Add", "Sub", "Max"])), order, shape)

    def _sum(self) -> None:
        name = self._value()
        assert name is not None
        shape = self.shapes[name]
        like = [other for other, its in self.shapes.items() if its == shape]
        other = self.draw(st.sampled_from(like))
        self._node(self.draw(st.sampled_from(["Add", "Mul", "Min"])), [name, other], shape)

    def _pool(self) -> None:
        name = self._value(4)
        if name is None:
            return
        images, channels, *sizes = self.shapes[name]
        kernel = [self.draw(st.integers(1, min(3, size))) for size in sizes]
        strides = [self.draw(st.integers(1, 2)) for _ in range(2)]
        pads = [self.draw(st.integers(0, extent // 2)) for extent in (*kernel, *kernel)]
        results = [(n + pads[i] + pads[2 + i] - kernel[i]) // strides[i] + 1 for i, n in enumerate(sizes)]
        kind = self.draw(st.sampled_from(["MaxPool", "AveragePool"]))
        attributes = {"kernel_shape": kernel, "strides": strides, "pads": pads}
        if kind == "AveragePool":
            attributes["count_include_pad"] = self.draw(st.integers(0, 1))
        self._node(kind, [name], (images, channels, *results), **attributes)

    def _concatenation(self) -> None:
        name = self._value()
        assert name is not None
        shape = self.shapes[name]
        axis = self.draw(st.integers(0, len(shape) - 1))

        def fits(other: tuple[int, ...]) -> bool:
            return len(other) == len(shape) and all(
                a == b for i, (a, b) in enumerate(zip(shape, other, strict=True)) if i != axis
            )

        like = [other for other, its in self.shapes.items() if fits(its)]
        parts = [name, *self.draw(st.lists(st.sampled_from(like), min_size=1, max_size=2))]
        whole = list(shape)
        whole[axis] = sum(self.shapes[part][axis] for part in parts)
        self._node("Concat", parts, tuple(whole), axis=axis)

    def _slice(self) -> None:
        name = self._value()
        assert name is not None
        shape = self.shapes[name]
        axis = self.draw(st.integers(0, len(shape) - 1))
        start, step = self.draw(st.integers(0, shape[axis] - 1)), self.draw(st.integers(1, 2))
        whole = list(shape)
        whole[axis] = len(range(start, shape[axis], step))
        numbers = ([start], [shape[axis]], [axis], [step])
        names = [self.weights.constant(f"i{len(self.weights.tensors)}", np.array(each)) for each in numbers]
        self._node("Slice", [name, *names], tuple(whole))

    def _transpose(self) -> None:
        name = self._value()
        assert name is not None
        order = self.draw(st.permutations(range(len(self.shapes[name]))))
        self._node("Transpose", [name], tuple(self.shapes[name][axis] for axis in order), perm=list(order))

    def _global(self) -> None:
        name = self._value(4)
        if name is not None:
            kind = self.draw(st.sampled_from(["GlobalAveragePool", "GlobalMaxPool"]))
            self._node(kind, [name], (*self.shapes[name][:2], 1, 1))

    def _product(self) -> None:
        name = self._value()
        assert name is not None
        shape = self.shapes[name]
        if len(shape) > 2 and self.draw(st.booleans()):
            shape = (shape[0], int(np.prod(shape[1:])))
            name = self._node("Flatten", [name], shape)
        outputs = self.draw(st.integers(1, 6))
        weights = self._new(shape[-1], outputs)
        if len(shape) == 2 and self.draw(st.booleans()):
            self._node("Gemm", [name, weights, self._new(outputs)], (shape[0], outputs))
        else:
            self._node("MatMul", [name, weights], (*shape[:-1], outputs))

    def _pad(self) -> None:
        name = self._value(4)
        if name is None:
            return
        pads = [self.draw(st.integers(0, 2)) for _ in range(8)]
        shape = tuple(size + pads[i] + pads[4 + i] for i, size in enumerate(self.shapes[name]))
        if max(shape) < 40:
            numbers = self.weights.constant(f"i{len(self.weights.tensors)}", np.array(pads))
            self._node("Pad", [name, numbers], shape)


def convolution(
    weights: Weights,
    source: str,
    target: str,
    outputs: int,
    inputs: int,
    *,
    kernel: int = 3,
    pads: int = 0,
    strides: int = 1,
    group: int = 1,
) -> Node:
    """Returns a Conv node with weights and a bias of its own."""
    names = [weights.add(f"{target}.w", outputs, inputs // group, kernel, kernel), weights.add(f"{target}.b", outputs)]
    return helper.make_node(
        "Conv", [source, *names], [target], target, pads=[pads] * 4, strides=[strides] * 2, group=group
    )
