"""Two LSTM layers of 128 over 100 steps of 64 features, then a classifier of the last step."""

from __future__ import annotations

import math

import numpy as np
import onnx

from benchmarks.networks.builder import NetworkBuilder

STEPS, FEATURES, HIDDEN = 100, 64, 128


def lstm2x128() -> onnx.ModelProto:
    """Returns the network for one sequence, batch first; states begin at zero, sized at run time as exporters do."""
    net = NetworkBuilder("lstm2x128", seed=70)
    x = net.node("Transpose", net.input("input", (1, STEPS, FEATURES)), perm=[1, 0, 2])
    for layer, features in enumerate((FEATURES, HIDDEN)):
        x = _lstm(net, x, features, scope=f"lstm.{layer}")
    x = net.node("Transpose", x, perm=[1, 0, 2])
    last = net.node("Gather", x, net.constant(-1), axis=1)
    return net.finish(net.dense(last, 10, scope="classifier", inputs=HIDDEN), (1, 10))


def _lstm(net: NetworkBuilder, x: str, features: int, *, scope: str) -> str:
    # What the first layer gives lies between -1 and 1, most of it nearer to 0.
    scale = 2.0 if features == FEATURES else 5.0
    with net.scope(scope):
        zeros = [net.constant(np.zeros((1, 1, HIDDEN)), np.float32) for _ in range(2)]
        states = [net.node("Expand", zero, _state_shape(net, x)) for zero in zeros]
        weights = net.weight("weights", net.normal((1, 4 * HIDDEN, features), scale / math.sqrt(features)))
        recurrent = net.weight("recurrent", net.normal((1, 4 * HIDDEN, HIDDEN), 1 / math.sqrt(HIDDEN)))
        bias = net.weight("bias", net.normal((1, 8 * HIDDEN), 0.1))
        y = net.nodes("LSTM", [x, weights, recurrent, bias, "", *states], 3, hidden_size=HIDDEN)[0]
        return net.node("Squeeze", y, net.constant([1]))


def _state_shape(net: NetworkBuilder, x: str) -> str:
    batch = net.node("Gather", net.node("Shape", x), net.constant(1))
    batch = net.node("Unsqueeze", batch, net.constant([0]))
    hidden, one = net.constant([HIDDEN]), net.constant([1])
    return net.node("Concat", one, batch, hidden, axis=0)
