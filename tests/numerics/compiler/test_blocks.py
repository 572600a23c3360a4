"""Blocks: where they are made, that every level computes them, and the networks that are made of them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from benchmarks.networks.registry import NETWORKS
from onnx import helper

from strop.compiler import blocks
from strop.compiler.fuse import fuse
from strop.compiler.levels import Block, Graph
from strop.compiler.lower import lower, prepare
from strop.engines.compile import compile_model
from strop.loader.cpu import isa_levels
from strop.model.load import load_model
from strop.model.random_inputs import make_inputs
from strop.testing.models import Weights, model
from tests.numerics.compiler.graphs import convolution
from tests.numerics.compiler.levels import check_levels, compiled


def inverted_residuals(size: int, width: int = 24) -> onnx.ModelProto:
    """A stem and a depthwise convolution, blocks with and without stride and residual, one with squeeze-and-excite."""
    weights = Weights()
    nodes = [
        convolution(weights, "x", "stem", width, 3, pads=1, strides=2),
        helper.make_node("Relu", ["stem"], ["stem_relu"]),
        convolution(weights, "stem_relu", "dw0", width, width, pads=1, group=width),
        convolution(weights, "dw0", "p0", 8, width, kernel=1),
        convolution(weights, "p0", "e1", width, 8, kernel=1),
        helper.make_node("Relu", ["e1"], ["e1_relu"]),
        convolution(weights, "e1_relu", "dw1", width, width, kernel=5, pads=2, group=width),
        convolution(weights, "dw1", "p1", 8, width, kernel=1),
        helper.make_node("Add", ["p1", "p0"], ["s1"]),
        convolution(weights, "s1", "e2", width, 8, kernel=1),
        convolution(weights, "e2", "dw2", width, width, pads=1, strides=2, group=width),
        helper.make_node("HardSwish", ["dw2"], ["h2"]),
        helper.make_node("GlobalAveragePool", ["h2"], ["g2"]),
        convolution(weights, "g2", "r2", 4, width, kernel=1),
        convolution(weights, "r2", "q2", width, 4, kernel=1),
        helper.make_node("Sigmoid", ["q2"], ["gate2"]),
        helper.make_node("Mul", ["h2", "gate2"], ["m2"]),
        convolution(weights, "m2", "y", 5, width, kernel=1),
    ]
    half = (size - 1) // 4 + 1
    return model(nodes, {"x": (1, 3, size, size - 2)}, {"y": (1, 5, half, (size - 3) // 4 + 1)}, weights)


def fused(proto: onnx.ModelProto) -> Graph:
    """Returns the model's fused operations."""
    return fuse(lower(prepare(load_model(proto))).graph)


def found(graph: Graph) -> list[int]:
    """Returns how many operations each block has."""
    return [len(each.core.graph.operations) for each in graph.operations if isinstance(each.core, Block)]


def test_blocks_are_made_where_much_would_go_through_memory_and_gates_always_join_their_product() -> None:
    assert found(fused(inverted_residuals(16))) == [2]
    assert found(fused(inverted_residuals(258, 64))) == [3, 3, 2, 2]


@pytest.mark.parametrize("size", [12, 17, 27])
def test_every_level_computes_blocks(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "LEAST_BYTES", 1)
    proto = inverted_residuals(size)
    assert found(fused(proto)) == [3, 3, 2, 2]
    check_levels(proto)


def test_blocks_give_the_same_bits_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "LEAST_BYTES", 1)
    loaded = load_model(inverted_residuals(34))
    inputs = make_inputs(loaded)
    for level in isa_levels():
        one = compiled(loaded, inputs, level)
        for threads in (2, 3):
            for name, array in compiled(loaded, inputs, level, threads=threads).items():
                np.testing.assert_array_equal(array, one[name], err_msg=f"{level}, {threads} threads")


def test_blocks_write_means_where_their_image_is_averaged() -> None:
    means = [each.core.means for each in fused(inverted_residuals(256, 64)).operations if isinstance(each.core, Block)]
    assert means == [0, 0, 2, 0]


def test_a_value_that_somebody_else_reads_is_kept() -> None:
    weights = Weights()
    nodes = [
        convolution(weights, "x", "e", 64, 8, kernel=1),
        convolution(weights, "e", "d", 64, 64, pads=1, group=64),
        convolution(weights, "d", "p", 8, 64, kernel=1),
        helper.make_node("Relu", ["e"], ["other"]),
    ]
    shape = (1, 64, 80, 80)
    proto = model(nodes, {"x": (1, 8, 80, 80)}, {"p": (1, 8, 80, 80), "other": shape}, weights)
    assert found(fused(proto)) == [2]


@pytest.mark.parametrize("name", ["mobilenetv2", "mobilenetv3_small", "efficientnet_b0"])
def test_networks_of_blocks_are_native_and_agree_with_onnx_runtime(name: str) -> None:
    network = NETWORKS[name]
    loaded, inputs = load_model(network.build()), network.inputs()
    outputs = compiled(loaded, inputs, isa_levels()[0])
    with compile_model(loaded, engine="onnxruntime") as other:
        for output, expected in other(inputs).items():
            distance = np.linalg.norm((outputs[output] - expected).astype(np.float64))
            assert distance <= 1e-5 * np.linalg.norm(expected.astype(np.float64))
