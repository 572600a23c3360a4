"""MiniLM-L6 (Wang and others 2020), the encoder of many sentence embeddings, with a free sequence length.

Layer normalization is written out in ten nodes: so the exports that people download have it, which were made below
opset 17. DeiT-tiny has the LayerNormalization of opset 17 instead.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto

from benchmarks.networks.builder import NetworkBuilder

VOCABULARY, POSITIONS, KINDS, WIDTH, HEADS, INNER, DEPTH = 30522, 512, 2, 384, 12, 1536, 6
SEQUENCE = "sequence"


def minilm_l6() -> onnx.ModelProto:
    """Returns MiniLM-L6 for one sentence of any length up to 512 tokens."""
    net = NetworkBuilder("minilm_l6", seed=90)
    tokens, mask, kinds = [
        net.input(name, (1, SEQUENCE), kind=TensorProto.INT64)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    x = _embedded(net, tokens, kinds)
    hidden = _hidden(net, mask)
    for number in range(DEPTH):
        with net.scope(f"layer.{number}"):
            x = _normalized(net, net.node("Add", x, _attention(net, x, hidden)), scope="attention.norm")
            inner = net.project(x, WIDTH, INNER, scope="intermediate")
            y = net.project(net.gelu(inner), INNER, WIDTH, scope="output")
            x = _normalized(net, net.node("Add", x, y), scope="norm")
    return net.finish(x, (1, SEQUENCE, WIDTH))


def _embedded(net: NetworkBuilder, tokens: str, kinds: str) -> str:
    length = net.node("Gather", net.node("Shape", tokens), net.constant(1), axis=0)
    words = net.node("Gather", net.weight("word_embeddings", net.normal((VOCABULARY, WIDTH), 1.0)), tokens)
    length = net.node("Cast", length, to=TensorProto.INT64)
    start, step = net.constant(0), net.constant(1)
    numbers = net.node("Unsqueeze", net.node("Range", start, length, step), net.constant([0]))
    places = net.node("Gather", net.weight("position_embeddings", net.normal((POSITIONS, WIDTH), 0.5)), numbers)
    x = net.node("Add", words, places)
    x = net.node("Add", x, net.node("Gather", net.weight("type_embeddings", net.normal((KINDS, WIDTH), 0.3)), kinds))
    return _normalized(net, x, scope="embeddings.norm")


def _hidden(net: NetworkBuilder, mask: str) -> str:
    """Adds what is added to the scores of tokens that the mask leaves out: -10000."""
    mask = net.node("Unsqueeze", net.node("Unsqueeze", mask, net.constant([1])), net.constant([2]))
    mask = net.node("Cast", mask, to=TensorProto.FLOAT)
    left_out = net.node("Sub", net.constant(1.0, np.float32), mask)
    return net.node("Mul", left_out, net.constant(-10000.0, np.float32))


def _normalized(net: NetworkBuilder, x: str, *, scope: str) -> str:
    with net.scope(scope):
        centred = net.node("Sub", x, net.node("ReduceMean", x, axes=[-1]))
        squared = net.node("Pow", centred, net.constant(2.0, np.float32))
        variance = net.node("ReduceMean", squared, axes=[-1])
        deviation = net.node("Sqrt", net.node("Add", variance, net.constant(1e-12, np.float32)))
        scaled = net.node("Div", centred, deviation)
        scaled = net.node("Mul", scaled, net.weight("weight", 1 + net.normal((WIDTH,), 0.1)))
        return net.node("Add", scaled, net.weight("bias", net.normal((WIDTH,), 0.1)))


def _attention(net: NetworkBuilder, x: str, hidden: str) -> str:
    with net.scope("attention"):
        batch, length, width = [
            net.node("Gather", net.node("Shape", x), net.constant(axis), axis=0) for axis in range(3)
        ]
        query = net.project(x, WIDTH, WIDTH, scope="query")
        size = net.node("Div", width, net.constant(HEADS))
        for _ in range(2):
            size = net.node("Cast", size, to=TensorProto.INT64)
        shapes = [_head_shape(net, batch, length, size) for _ in range(3)]
        query = net.node("Transpose", net.node("Reshape", query, shapes[0], allowzero=0), perm=[0, 2, 1, 3])
        key = net.node("Reshape", net.project(x, WIDTH, WIDTH, scope="key"), shapes[1], allowzero=0)
        value = net.node("Reshape", net.project(x, WIDTH, WIDTH, scope="value"), shapes[2], allowzero=0)
        value = net.node("Transpose", value, perm=[0, 2, 1, 3])
        scores = net.node("MatMul", query, net.node("Transpose", key, perm=[0, 2, 3, 1]))
        scores = net.node("Div", scores, net.constant(math.sqrt(WIDTH // HEADS), np.float32))
        shares = net.node("Softmax", net.node("Add", scores, hidden), axis=-1)
        y = net.node("Transpose", net.node("MatMul", shares, value), perm=[0, 2, 1, 3])
        sizes = [net.node("Unsqueeze", number, net.constant([0])) for number in (batch, length, width)]
        y = net.node("Reshape", y, net.node("Concat", *sizes, axis=0), allowzero=0)
        return net.project(y, WIDTH, WIDTH, scope="output")


def _head_shape(net: NetworkBuilder, batch: str, length: str, size: str) -> str:
    first, second = (net.node("Unsqueeze", number, net.constant([0])) for number in (batch, length))
    heads = net.constant([HEADS])
    return net.node("Concat", first, second, heads, net.node("Unsqueeze", size, net.constant([0])), axis=0)
