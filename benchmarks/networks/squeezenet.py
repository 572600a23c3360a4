"""SqueezeNet 1.1 (Iandola and others 2016; the smaller version of their repository)."""

from __future__ import annotations

import onnx

from benchmarks.networks.builder import NetworkBuilder
from benchmarks.networks.inputs import images

FIRES = ((16, 64), (16, 64), None, (32, 128), (32, 128), None, (48, 192), (48, 192), (64, 256), (64, 256))
"""Squeezed and expanded channels of each fire module (the latter twice); None is a pooling."""


def squeezenet11() -> onnx.ModelProto:
    """Returns SqueezeNet 1.1 for 224 x 224 images; its max pools round sizes up."""
    net = NetworkBuilder("squeezenet11", seed=11)
    x = net.relu(net.conv(net.example_input("input", images(224)), 64, 3, scope="features.0", stride=2, padding=0))
    x = net.max_pool(x, 3, stride=2, ceil_mode=1)
    for number, fire in enumerate(FIRES):
        with net.scope(f"features.{number + 3}"):
            if fire is None:
                x = net.max_pool(x, 3, stride=2, ceil_mode=1)
                continue
            squeezed, expanded = fire
            x = net.relu(net.conv(x, squeezed, scope="squeeze"))
            wide = net.relu(net.conv(x, expanded, scope="expand1x1"))
            x = net.concat([wide, net.relu(net.conv(x, expanded, 3, scope="expand3x3"))])
    x = net.global_average(net.relu(net.conv(x, 1000, scope="classifier.1")))
    return net.finish(net.flatten(x), (1, 1000))
