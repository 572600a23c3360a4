"""What fuses with what, and what stays apart."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from strop.compiler.fuse import fuse
from strop.compiler.levels import Compute, Convolve, Graph, PoolWindow
from strop.compiler.lower import lower, prepare
from strop.model.load import load_model
from strop.testing.models import Weights, model


def fused(nodes: list[onnx.NodeProto], weights: Weights, **outputs: tuple[int, ...]) -> Graph:
    proto = model(nodes, {"x": (1, 4, 6, 6)}, outputs, weights)
    return fuse(lower(prepare(load_model(proto))).graph)


def conv(weights: Weights, source: str, target: str, channels: int = 4) -> onnx.NodeProto:
    names = [weights.add(f"{target}.w", 4, channels, 1, 1), weights.add(f"{target}.b", 4)]
    return helper.make_node("Conv", [source, *names], [target], target)


def test_a_relu_goes_into_the_convolution_before_it() -> None:
    weights = Weights()
    graph = fused([conv(weights, "x", "c"), helper.make_node("Relu", ["c"], ["y"], "relu")], weights, y=(1, 4, 6, 6))
    (operation,) = graph.operations
    assert isinstance(operation.core, Convolve)
    assert str(operation.epilogue) == "maximum(0, add(x0, c0))"
    assert operation.origin == ("c", "relu")


def test_a_sum_goes_into_the_later_of_two_convolutions() -> None:
    weights = Weights()
    nodes = [conv(weights, "x", "a"), conv(weights, "x", "b"), helper.make_node("Add", ["b", "a"], ["y"], "sum")]
    graph = fused(nodes, weights, y=(1, 4, 6, 6))
    assert [operation.name for operation in graph.operations] == ["a", "b"]
    assert graph.operations[1].inputs == ("x", "a")
    assert str(graph.operations[1].epilogue) == "add(add(x0, c0), x1)"


def test_what_others_read_too_stays_apart() -> None:
    weights = Weights()
    nodes = [
        conv(weights, "x", "c"),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Add", ["c", "r"], ["y"], "sum"),
    ]
    graph = fused(nodes, weights, y=(1, 4, 6, 6))
    assert [type(operation.core) for operation in graph.operations] == [Convolve, Compute]
    assert str(graph.operations[1].epilogue) == "add(x0, maximum(0, x0))"


def test_an_output_of_the_model_is_not_fused_away() -> None:
    weights = Weights()
    nodes = [conv(weights, "x", "c"), helper.make_node("Relu", ["c"], ["y"], "relu")]
    graph = fused(nodes, weights, y=(1, 4, 6, 6), c=(1, 4, 6, 6))
    assert len(graph.operations) == 2


def test_a_convolution_is_read_whole_before_a_sum_with_its_own_input() -> None:
    weights = Weights()
    nodes = [conv(weights, "x", "c"), helper.make_node("Add", ["c", "x"], ["y"], "sum")]
    (operation,) = fused(nodes, weights, y=(1, 4, 6, 6)).operations
    # The image is operand 0 of the convolution and once more an operand of the epilogue.
    assert operation.inputs == ("x", "x")
    assert str(operation.epilogue) == "add(add(x0, c0), x1)"


def test_a_sum_that_broadcasts_the_convolution_stays_apart() -> None:
    weights = Weights()
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["g"], "pool"),
        conv(weights, "g", "c"),
        helper.make_node("Mul", ["c", "x"], ["y"], "scale"),
    ]
    graph = fused(nodes, weights, y=(1, 4, 6, 6))
    assert [type(operation.core) for operation in graph.operations] == [PoolWindow, Convolve, Compute]


def test_long_chains_end_somewhere() -> None:
    nodes = []
    for step in range(40):
        source = "x" if step == 0 else f"v{step - 1}"
        nodes.append(helper.make_node("HardSwish", [source], ["y" if step == 39 else f"v{step}"], f"n{step}"))
    graph = fused(nodes, Weights(), y=(1, 4, 6, 6))
    assert 1 < len(graph.operations) < 10


def test_a_product_of_a_flattened_image_is_a_convolution() -> None:
    weights = Weights()
    nodes = [
        conv(weights, "x", "c"),
        helper.make_node("Flatten", ["c"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", weights.add("w", 144, 3)], ["y"], "product"),
    ]
    graph = fused(nodes, weights, y=(1, 3))
    core = graph.operations[1].core
    assert isinstance(core, Convolve)
    assert core.weights.shape == (3, 4, 6, 6)
    assert graph.operations[1].origin == ("flatten", "product")


def quantized_pair(weights: Weights, source: str, target: str, scale: float = 0.1) -> list[onnx.NodeProto]:
    numbers = [weights.constant(f"{target}.s", np.float32(scale)), weights.constant(f"{target}.z", np.uint8(3))]
    return [
        helper.make_node("QuantizeLinear", [source, *numbers], [f"{target}.q"], f"{target}.quantize"),
        helper.make_node("DequantizeLinear", [f"{target}.q", *numbers], [target], f"{target}.dequantize"),
    ]


def test_a_sum_reads_the_bytes_of_what_is_dequantized_for_it_and_for_others() -> None:
    weights = Weights()
    nodes = [
        *quantized_pair(weights, "x", "d"),
        conv(weights, "d", "c"),
        helper.make_node("Add", ["c", "d"], ["y"], "sum"),
    ]
    proto = model(nodes, {"x": (1, 4, 6, 6)}, {"y": (1, 4, 6, 6), "d.q": (1, 4, 6, 6)}, weights, types={"d.q": 2})
    graph = fuse(lower(prepare(load_model(proto))).graph)
    by_name = {operation.name: operation for operation in graph.operations}
    assert by_name["c"].inputs == ("d", "d.q")
    assert str(by_name["c"].epilogue) == "add(add(x0, c0), multiply(subtract(to_float32(x1), 3), 0.1))"
    assert "d.dequantize" in by_name  # the convolution itself still wants floats
    assert by_name["c"].origin == ("c", "sum", "d.dequantize")


def test_what_only_a_sum_reads_is_kept_in_bytes() -> None:
    weights = Weights()
    nodes = [
        conv(weights, "x", "a"),
        *quantized_pair(weights, "a", "d"),
        conv(weights, "x", "b"),
        helper.make_node("Add", ["b", "d"], ["y"], "sum"),
    ]
    graph = fused(nodes, weights, y=(1, 4, 6, 6))
    first, second = graph.operations
    assert graph.values[first.output].dtype == "uint8"
    assert second.inputs == ("x", first.output)
    assert str(second.epilogue) == "add(add(x0, c0), multiply(subtract(to_float32(x1), 3), 0.1))"


@pytest.mark.parametrize(("scale", "dtype"), [(0.1, "uint8"), (-0.1, "float32")])
def test_the_largest_is_looked_for_among_bytes_where_they_keep_their_order(scale: float, dtype: str) -> None:
    weights = Weights()
    nodes = [
        *quantized_pair(weights, "x", "d", scale),
        helper.make_node("MaxPool", ["d"], ["y"], "pool", kernel_shape=[2, 2]),
    ]
    proto = model(nodes, {"x": (1, 4, 6, 6)}, {"y": (1, 4, 5, 5), "d.q": (1, 4, 6, 6)}, weights, types={"d.q": 2})
    graph = fuse(lower(prepare(load_model(proto))).graph)
    (pool,) = (operation for operation in graph.operations if isinstance(operation.core, PoolWindow))
    assert graph.values[pool.inputs[0]].dtype == dtype
