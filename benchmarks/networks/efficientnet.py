"""EfficientNet-B0 (Tan and Le 2019), as timm has it."""

from __future__ import annotations

import onnx

from benchmarks.networks.builder import NetworkBuilder
from benchmarks.networks.inputs import images

BRANCH_DEVIATION = 0.7
STAGES = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
"""Factor of expansion, kernel, channels, blocks, stride of the first."""


def efficientnet_b0() -> onnx.ModelProto:
    """Returns EfficientNet-B0 for 224 x 224 images."""
    net = NetworkBuilder("efficientnet_b0", seed=40)
    x = net.silu(net.conv(net.example_input("input", images(224)), 32, 3, scope="conv_stem", stride=2))
    for stage, (factor, kernel, channels, count, first_stride) in enumerate(STAGES):
        for number in range(count):
            with net.scope(f"blocks.{stage}.{number}"):
                x = _block(net, x, factor, kernel, channels, stride=1 if number else first_stride)
    x = net.silu(net.conv(x, 1280, scope="conv_head"))
    x = net.flatten(net.global_average(x))
    return net.finish(net.dense(x, 1000, scope="classifier"), (1, 1000))


def _block(net: NetworkBuilder, x: str, factor: int, kernel: int, channels: int, *, stride: int) -> str:
    before = net.channels(x)
    width = factor * before
    y = x if factor == 1 else net.silu(net.conv(x, width, scope="conv_pw"))
    y = net.silu(net.conv(y, width, kernel, scope="conv_dw", stride=stride, groups=width))
    with net.scope("se"):
        # Squeezed to a quarter of the block's input, not of its expanded channels.
        gate = net.silu(net.conv(net.mean_of_pixels(y), before // 4, scope="conv_reduce"))
        y = net.product(y, net.sigmoid(net.conv(gate, width, scope="conv_expand")))
    last = "conv_pw" if factor == 1 else "conv_pwl"
    if stride > 1 or before != channels:
        return net.conv(y, channels, scope=last)
    return net.sum(net.conv(y, channels, scope=last, deviation=BRANCH_DEVIATION), x)
