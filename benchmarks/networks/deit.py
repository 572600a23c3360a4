"""DeiT-tiny (Touvron and others 2021), as timm has it: query, key and value by one matrix."""

from __future__ import annotations

import math

import numpy as np
import onnx

from benchmarks.networks.builder import NetworkBuilder
from benchmarks.networks.inputs import images

IMAGE, PATCH, WIDTH, HEADS, DEPTH = 224, 16, 192, 3, 12
TOKENS = (IMAGE // PATCH) ** 2 + 1
BRANCH_GAIN = 0.5
"""Of the last layer of a branch: small, so that 24 branches do not add up."""


def deit_tiny() -> onnx.ModelProto:
    """Returns DeiT-tiny for 224 x 224 images."""
    net = NetworkBuilder("deit_tiny", seed=80)
    x = _tokens(net, net.example_input("input", images(IMAGE)))
    for number in range(DEPTH):
        with net.scope(f"blocks.{number}"):
            x = net.node("Add", x, _attention(net, _normalized(net, x, scope="norm1")))
            with net.scope("mlp"):
                y = net.project(_normalized(net, x, scope="norm2"), WIDTH, 4 * WIDTH, scope="fc1")
                y = net.project(net.gelu(y), 4 * WIDTH, WIDTH, scope="fc2", gain=BRANCH_GAIN)
            x = net.node("Add", x, y)
    x = _normalized(net, x, scope="norm")
    first = net.node("Gather", x, net.constant(0), axis=1)
    return net.finish(net.dense(first, 1000, scope="head", inputs=WIDTH), (1, 1000))


def _tokens(net: NetworkBuilder, image: str) -> str:
    """Adds the patches as tokens, the class token before them, and the positions."""
    with net.scope("patch_embed"):
        patches = net.conv(image, WIDTH, PATCH, scope="proj", stride=PATCH, padding=0)
        axis, begin, end = net.constant([0]), net.constant([0]), net.constant([2])
        kept = net.node("Slice", net.node("Shape", patches), begin, end, axis)
        shape = net.node("Concat", kept, net.constant([-1]), axis=0)
        patches = net.node("Transpose", net.node("Reshape", patches, shape, allowzero=0), perm=[0, 2, 1])
    wanted = net.constant([1, -1, -1])
    all_ones = onnx.numpy_helper.from_array(np.array([1]))
    ones = net.nodes("ConstantOfShape", [net.constant([3])], 1, value=all_ones)[0]
    is_kept = net.node("Equal", wanted, net.node("Mul", ones, net.constant(-1)))
    token = net.weight("cls_token", net.normal((1, 1, WIDTH), 0.5))
    token = net.node("Expand", token, net.node("Where", is_kept, ones, wanted))
    position = net.weight("pos_embed", net.normal((1, TOKENS, WIDTH), 0.5))
    return net.node("Add", net.node("Concat", token, patches, axis=1), position)


def _normalized(net: NetworkBuilder, x: str, *, scope: str) -> str:
    with net.scope(scope):
        weight = net.weight("weight", 1 + net.normal((WIDTH,), 0.1))
        bias = net.weight("bias", net.normal((WIDTH,), 0.1))
        return net.node("LayerNormalization", x, weight, bias, axis=-1, epsilon=1e-6)


def _attention(net: NetworkBuilder, x: str) -> str:
    size = WIDTH // HEADS
    with net.scope("attn"):
        joined = net.project(x, WIDTH, 3 * WIDTH, scope="qkv")
        parted = net.node("Reshape", joined, net.constant([1, TOKENS, 3, HEADS, size]), allowzero=0)
        parted = net.node("Transpose", parted, perm=[2, 0, 3, 1, 4])
        parts = net.nodes("Split", [parted, net.constant([1, 1, 1])], 3, axis=0)
        query, key, value = [net.node("Squeeze", part, net.constant([0])) for part in parts]
        query = net.node("Mul", query, net.constant(1 / math.sqrt(size), np.float32))
        scores = net.node("MatMul", query, net.node("Transpose", key, perm=[0, 1, 3, 2]))
        y = net.node("MatMul", net.node("Softmax", scores, axis=-1), value)
        y = net.node("Transpose", y, perm=[0, 2, 1, 3])
        y = net.node("Reshape", y, net.constant([1, TOKENS, WIDTH]), allowzero=0)
        return net.project(y, WIDTH, WIDTH, scope="proj")
