"""MobileNetV2 (Sandler and others 2018) and MobileNetV3-small (Howard and others 2019), as timm has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import onnx

from benchmarks.networks.builder import NetworkBuilder
from benchmarks.networks.inputs import images

BRANCH_DEVIATION = 0.7


def mobilenetv2() -> onnx.ModelProto:
    """Returns MobileNetV2 for 224 x 224 images."""
    net = NetworkBuilder("mobilenetv2", seed=22)
    x = net.relu6(net.conv(net.example_input("input", images(224)), 32, 3, scope="conv_stem", stride=2))
    # factor of expansion, channels, blocks, stride of the first
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for stage, (factor, channels, count, first_stride) in enumerate(stages):
        for number in range(count):
            with net.scope(f"blocks.{stage}.{number}"):
                x = _inverted_residual(net, x, factor, channels, stride=1 if number else first_stride)
    x = net.relu6(net.conv(x, 1280, scope="conv_head"))
    x = net.flatten(net.global_average(x))
    return net.finish(net.dense(x, 1000, scope="classifier"), (1, 1000))


def _inverted_residual(net: NetworkBuilder, x: str, factor: int, channels: int, *, stride: int) -> str:
    width = factor * net.channels(x)
    y = x if factor == 1 else net.relu6(net.conv(x, width, scope="conv_pw"))
    y = net.relu6(net.conv(y, width, 3, scope="conv_dw", stride=stride, groups=width))
    if stride > 1 or net.channels(x) != channels:
        return net.conv(y, channels, scope="conv_pwl")
    return net.sum(net.conv(y, channels, scope="conv_pwl", deviation=BRANCH_DEVIATION), x)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of MobileNetV3: kernel, expanded and output channels, squeezed channels (0: none), stride."""

    kernel: int
    width: int
    channels: int
    squeezed: int
    activation: Literal["relu", "hard_swish"]
    stride: int = 1


SMALL = (
    (Block(3, 16, 16, 8, "relu", stride=2),),
    (Block(3, 72, 24, 0, "relu", stride=2), Block(3, 88, 24, 0, "relu")),
    (Block(5, 96, 40, 24, "hard_swish", stride=2), *[Block(5, 240, 40, 64, "hard_swish")] * 2),
    (Block(5, 120, 48, 32, "hard_swish"), Block(5, 144, 48, 40, "hard_swish")),
    (Block(5, 288, 96, 72, "hard_swish", stride=2), *[Block(5, 576, 96, 144, "hard_swish")] * 2),
)


def mobilenetv3_small() -> onnx.ModelProto:
    """Returns MobileNetV3-small for 224 x 224 images."""
    net = NetworkBuilder("mobilenetv3_small", seed=33)
    x = net.hard_swish(net.conv(net.example_input("input", images(224)), 16, 3, scope="conv_stem", stride=2))
    for stage, blocks in enumerate(SMALL):
        for number, block in enumerate(blocks):
            with net.scope(f"blocks.{stage}.{number}"):
                x = _block(net, x, block)
    x = net.global_average(net.hard_swish(net.conv(x, 576, scope="blocks.5.0")))
    x = net.hard_swish(net.conv(x, 1024, scope="conv_head"))
    x = net.flatten(x)
    return net.finish(net.dense(x, 1000, scope="classifier"), (1, 1000))


def _block(net: NetworkBuilder, x: str, block: Block) -> str:
    activation = net.relu if block.activation == "relu" else net.hard_swish
    expands = block.width != net.channels(x)
    y = activation(net.conv(x, block.width, scope="conv_pw")) if expands else x
    y = net.conv(y, block.width, block.kernel, scope="conv_dw", stride=block.stride, groups=block.width)
    y = activation(y)
    if block.squeezed:
        with net.scope("se"):
            gate = net.relu(net.conv(net.mean_of_pixels(y), block.squeezed, scope="conv_reduce"))
            y = net.product(y, net.hard_sigmoid(net.conv(gate, block.width, scope="conv_expand")))
    last = "conv_pwl" if expands else "conv_pw"
    if block.stride > 1 or net.channels(x) != block.channels:
        return net.conv(y, block.channels, scope=last)
    return net.sum(net.conv(y, block.channels, scope=last, deviation=BRANCH_DEVIATION), x)
