"""A multilayer perceptron 64-256-256-10: almost no arithmetic, so what is measured is the call."""

from __future__ import annotations

import onnx

from benchmarks.networks.builder import NetworkBuilder
from benchmarks.networks.inputs import features


def mlp() -> onnx.ModelProto:
    """Returns the perceptron for one row of 64 features."""
    net = NetworkBuilder("mlp", seed=60)
    x = net.example_input("input", features((64, 64), seed=1))
    x = net.relu(net.dense(x, 256, scope="0"))
    x = net.relu(net.dense(x, 256, scope="2"))
    return net.finish(net.dense(x, 10, scope="4"), (1, 10))
