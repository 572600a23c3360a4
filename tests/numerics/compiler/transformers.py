"""Small encoders, with attention as different exporters write it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from strop.testing.models import Weights

WIDTH, HEADS, WORDS, LONGEST = 24, 3, 20, 40
SIZE = WIDTH // HEADS


@dataclass(frozen=True)
class Style:
    """How attention is written.

    scale: where scores are scaled; mask: what leaves tokens out; projections: one product for queries, keys and values
    or three; turned: keys are transposed at once; flat: heads and batch are one axis.
    """

    scale: str = "divided"
    mask: str = "none"
    projections: str = "three"
    turned: bool = False
    flat: bool = False

    def __str__(self) -> str:
        return f"{self.scale}-{self.mask}-{self.projections}{'-turned' * self.turned}{'-flat' * self.flat}"


STYLES = (
    Style(),
    Style(scale="multiplied", turned=True),
    Style(scale="query", projections="split"),
    Style(scale="both", mask="added"),
    Style(scale="none", mask="added", projections="slices"),
    Style(scale="divided", mask="chosen", turned=True),
    Style(scale="multiplied", mask="rows", projections="split"),
    Style(scale="query", flat=True),
)


class Builder:
    """Nodes with names of their own."""

    def __init__(self) -> None:
        self.weights = Weights()
        self.nodes: list[onnx.NodeProto] = []

    def node(self, kind: str, *inputs: str, count: int = 1, **attributes: Any) -> str:
        name = f"{kind}{len(self.nodes)}"
        outputs = [f"{name}_{number}" for number in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, name=name, **attributes))
        return outputs[0]

    def constant(self, value: object, dtype: type = np.int64) -> str:
        return self.weights.constant(f"constant{len(self.weights.tensors)}", np.array(value, dtype))


def attention(b: Builder, x: str, style: Style, mask: str, batch: int, length: int) -> str:
    """Adds self attention over x, (batch, length, WIDTH)."""
    number = len(b.nodes)

    def project(source: str, outputs: int, what: str) -> str:
        product = b.node("MatMul", source, b.weights.add(f"{what}{number}", WIDTH, outputs))
        return b.node("Add", b.weights.add(f"{what}_bias{number}", outputs), product)

    def apart(rows: str, permutation: tuple[int, ...]) -> str:
        return b.node("Transpose", b.node("Reshape", rows, b.constant([batch, length, HEADS, SIZE])), perm=permutation)

    usual, back = (0, 2, 1, 3), (0, 2, 3, 1)
    if style.projections == "split":
        joint = b.node("Reshape", project(x, 3 * WIDTH, "qkv"), b.constant([batch, length, 3, HEADS, SIZE]))
        joint = b.node("Transpose", joint, perm=(2, 0, 3, 1, 4))
        b.node("Split", joint, b.constant([1, 1, 1]), count=3, axis=0)
        parts = b.nodes[-1].output
        query, key, value = [b.node("Squeeze", part, b.constant([0])) for part in parts]
        key = b.node("Transpose", key, perm=(0, 1, 3, 2))
    else:
        if style.projections == "slices":
            joint = project(x, 3 * WIDTH, "qkv")
            bounds = [(b.constant([i * WIDTH]), b.constant([(i + 1) * WIDTH])) for i in range(3)]
            rows = [b.node("Slice", joint, first, last, b.constant([2])) for first, last in bounds]
        else:
            rows = [project(x, WIDTH, what) for what in ("query", "key", "value")]
        query, value = apart(rows[0], usual), apart(rows[2], usual)
        key = apart(rows[1], back) if style.turned else b.node("Transpose", apart(rows[1], usual), perm=(0, 1, 3, 2))
    if style.flat:
        query, value = (b.node("Reshape", each, b.constant([batch * HEADS, length, SIZE])) for each in (query, value))
        key = b.node("Reshape", key, b.constant([batch * HEADS, SIZE, length]))
    root = math.sqrt(SIZE)
    if style.scale == "query":
        query = b.node("Mul", query, b.constant(1 / root, np.float32))
    elif style.scale == "both":
        query, key = (b.node("Mul", each, b.constant(root**-0.5, np.float32)) for each in (query, key))
    scores = b.node("MatMul", query, key)
    if style.scale == "divided":
        scores = b.node("Div", scores, b.constant(root, np.float32))
    elif style.scale == "multiplied":
        scores = b.node("Mul", b.constant(1 / root, np.float32), scores)
    if style.mask in ("added", "rows"):
        scores = b.node("Add", scores, mask)
    elif style.mask == "chosen":
        scores = b.node("Where", mask, scores, b.constant(-np.inf, np.float32))
    y = b.node("MatMul", b.node("Softmax", scores, axis=-1), value)
    if style.flat:
        y = b.node("Reshape", y, b.constant([batch, HEADS, length, SIZE]))
    y = b.node("Reshape", b.node("Transpose", y, perm=usual), b.constant([batch, length, WIDTH]))
    return project(y, WIDTH, "output")


def layer(style: Style, batch: int = 2, length: int = 11) -> onnx.ModelProto:
    """Returns attention with a residual, for rows that are given."""
    b = Builder()
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (batch, length, WIDTH))]
    mask = ""
    if style.mask in ("added", "chosen"):
        inputs.append(helper.make_tensor_value_info("kept", TensorProto.INT64, (batch, length)))
        wide = b.node("Unsqueeze", "kept", b.constant([1, 2]))
        if style.mask == "added":
            left_out = b.node("Sub", b.constant(1, np.float32), b.node("Cast", wide, to=TensorProto.FLOAT))
            mask = b.node("Mul", left_out, b.constant(-10000, np.float32))
        else:
            mask = b.node("Cast", wide, to=TensorProto.BOOL)
    elif style.mask == "rows":
        inputs.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, (1, 1, length, length)))
        mask = "mask"
    y = attention(b, "x", style, mask, batch, length)
    b.nodes.append(helper.make_node("Add", ["x", y], ["y"], name="residual"))
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, (batch, length, WIDTH))]
    return finished(b, inputs, outputs)


def encoder(depth: int = 2) -> onnx.ModelProto:
    """Returns an encoder of token numbers for any batch and any length up to LONGEST."""
    b = Builder()
    shape = ("batch", "sequence")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("tokens", "kept")]
    sizes = [b.node("Gather", b.node("Shape", "tokens"), b.constant(axis)) for axis in (0, 1)]
    one = b.constant([0])
    apart = b.node("Concat", *(b.node("Unsqueeze", size, one) for size in sizes), b.constant([HEADS, SIZE]), axis=0)
    whole = b.node("Concat", *(b.node("Unsqueeze", size, one) for size in sizes), b.constant([WIDTH]), axis=0)
    places = b.node("Range", b.constant(0), sizes[1], b.constant(1))
    x = b.node("Gather", b.weights.add("words", WORDS, WIDTH), "tokens")
    x = b.node("Add", x, b.node("Gather", b.weights.add("places", LONGEST, WIDTH), places))
    wide = b.node("Cast", b.node("Unsqueeze", "kept", b.constant([1, 2])), to=TensorProto.FLOAT)
    mask = b.node("Mul", b.node("Sub", b.constant(1, np.float32), wide), b.constant(-10000, np.float32))
    for number in range(depth):
        rows = []
        for what in ("query", "key", "value"):
            product = b.node("MatMul", x, b.weights.add(f"{what}{number}", WIDTH, WIDTH))
            rows.append(b.node("Add", product, b.weights.add(f"{what}_bias{number}", WIDTH)))
        heads = [b.node("Reshape", each, apart) for each in rows]
        query, value = (b.node("Transpose", each, perm=(0, 2, 1, 3)) for each in (heads[0], heads[2]))
        scores = b.node("MatMul", query, b.node("Transpose", heads[1], perm=(0, 2, 3, 1)))
        scores = b.node("Add", b.node("Div", scores, b.constant(math.sqrt(SIZE), np.float32)), mask)
        y = b.node("Transpose", b.node("MatMul", b.node("Softmax", scores, axis=-1), value), perm=(0, 2, 1, 3))
        x = b.node("Add", x, b.node("MatMul", b.node("Reshape", y, whole), b.weights.add(f"out{number}", WIDTH, WIDTH)))
        scale, shift = b.weights.add(f"scale{number}", WIDTH), b.weights.add(f"shift{number}", WIDTH)
        x = b.node("LayerNormalization", x, scale, shift, axis=-1)
        y = b.node("Relu", b.node("MatMul", x, b.weights.add(f"up{number}", WIDTH, 2 * WIDTH)))
        x = b.node("Add", x, b.node("MatMul", y, b.weights.add(f"down{number}", 2 * WIDTH, WIDTH)))
    b.nodes.append(helper.make_node("Identity", [x], ["y"], name="last"))
    return finished(b, inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, (*shape, WIDTH))])


def finished(b: Builder, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
    """Returns the model of these nodes."""
    graph = helper.make_graph(b.nodes, "transformer", inputs, outputs, b.weights.tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made
