"""ResNet-18 and ResNet-50 (He and others 2015; the stride of a bottleneck in its 3 x 3, "v1.5")."""

from __future__ import annotations

import onnx

from benchmarks.networks.builder import NetworkBuilder
from benchmarks.networks.inputs import images

BRANCH_DEVIATION = 0.5
"""Of what a block adds: small, so that sixteen blocks do not add up."""


def resnet18() -> onnx.ModelProto:
    """Returns ResNet-18 for 224 x 224 images."""
    return _resnet("resnet18", blocks=(2, 2, 2, 2), bottleneck=False)


def resnet50() -> onnx.ModelProto:
    """Returns ResNet-50 for 224 x 224 images."""
    return _resnet("resnet50", blocks=(3, 4, 6, 3), bottleneck=True)


def _resnet(name: str, *, blocks: tuple[int, ...], bottleneck: bool) -> onnx.ModelProto:
    net = NetworkBuilder(name, seed=len(name) + sum(blocks))
    x = net.relu(net.conv(net.example_input("input", images(224)), 64, 7, scope="conv1", stride=2))
    x = net.max_pool(x, 3, stride=2, padding=1)
    for stage, count in enumerate(blocks):
        for number in range(count):
            with net.scope(f"layer{stage + 1}.{number}"):
                stride = 2 if stage and not number else 1
                block = _bottleneck_block if bottleneck else _basic_block
                x = block(net, x, 64 << stage, stride)
    x = net.flatten(net.global_average(x))
    return net.finish(net.dense(x, 1000, scope="fc"), (1, 1000))


def _basic_block(net: NetworkBuilder, x: str, width: int, stride: int) -> str:
    y = net.relu(net.conv(x, width, 3, scope="conv1", stride=stride))
    y = net.conv(y, width, 3, scope="conv2", deviation=BRANCH_DEVIATION)
    return net.relu(net.sum(y, _shortcut(net, x, width, stride)))


def _bottleneck_block(net: NetworkBuilder, x: str, width: int, stride: int) -> str:
    y = net.relu(net.conv(x, width, scope="conv1"))
    y = net.relu(net.conv(y, width, 3, scope="conv2", stride=stride))
    y = net.conv(y, 4 * width, scope="conv3", deviation=BRANCH_DEVIATION)
    return net.relu(net.sum(y, _shortcut(net, x, 4 * width, stride)))


def _shortcut(net: NetworkBuilder, x: str, channels: int, stride: int) -> str:
    if stride == 1 and net.channels(x) == channels:
        return x
    return net.conv(x, channels, scope="downsample.0", stride=stride)
