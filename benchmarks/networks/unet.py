"""A U-Net (Ronneberger and others 2015) with 16 to 256 channels, batch normalization and transposed convolutions."""

from __future__ import annotations

import onnx

from benchmarks.networks.builder import NetworkBuilder
from benchmarks.networks.inputs import images

WIDTHS = (16, 32, 64, 128, 256)


def unet256() -> onnx.ModelProto:
    """Returns the U-Net for 256 x 256 images and two classes."""
    net = NetworkBuilder("unet256", seed=50)
    x = net.example_input("input", images(256))
    levels: list[str] = []
    for level, width in enumerate(WIDTHS):
        x = _two_convs(net, net.max_pool(x, 2, stride=2) if level else x, width, scope=f"down.{level}")
        levels.append(x)
    for level in range(len(WIDTHS) - 2, -1, -1):
        x = net.concat([net.double_size(x, WIDTHS[level], scope=f"up.{level}"), levels[level]])
        x = _two_convs(net, x, WIDTHS[level], scope=f"join.{level}")
    return net.finish(net.conv(x, 2, scope="classes"), (1, 2, 256, 256))


def _two_convs(net: NetworkBuilder, x: str, width: int, *, scope: str) -> str:
    with net.scope(scope):
        return net.relu(net.conv(net.relu(net.conv(x, width, 3, scope="0")), width, 3, scope="3"))
