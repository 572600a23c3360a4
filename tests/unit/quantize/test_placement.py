"""What is quantized and where, what stays float, and what users may say about it."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import helper

from strop.model.load import load_model
from strop.passes.base import run_passes
from strop.passes.pipeline import before_quantization
from strop.quantize.config import QuantizeConfig
from strop.quantize.edges import first_heavy, last_heavy
from strop.quantize.ignore import find_ignored
from strop.quantize.placement import Placement, place
from strop.quantize.scales import source
from strop.testing import models


def _prepared(model: onnx.ModelProto) -> onnx_ir.Model:
    return run_passes(load_model(model), before_quantization())[0].fresh_ir()


def _placed(model: onnx.ModelProto, **excluded: str) -> Placement:
    return place(_prepared(model), excluded)


def _network(*nodes: onnx.NodeProto, weights: models.Weights, size: int = 4) -> onnx.ModelProto:
    return models.model(list(nodes), {"x": (1, size, 8, 8)}, {"y": (1, size, 8, 8)}, weights)


def _conv(weights: models.Weights, source: str, target: str) -> onnx.NodeProto:
    return helper.make_node("Conv", [source, weights.add(f"w_{target}", 4, 4, 1, 1)], [target], f"conv_{target}")


def test_an_inverted_residual_is_quantized_behind_its_clips() -> None:
    placement = _placed(models.depthwise_network())
    assert set(placement.heavy) == {"stem", "expand", "depthwise", "project"}
    assert set(placement.activations) == {"x", "s", "e6", "d6"}, "nothing between convolution and Clip"
    assert placement.followers == set(), "nobody behind the sum wants it in 8 bits"


def test_a_residual_sum_is_quantized_where_a_convolution_follows() -> None:
    weights = models.Weights()
    nodes = [
        _conv(weights, "x", "a"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        _conv(weights, "r", "b"),
        helper.make_node("Add", ["b", "r"], ["s"], "sum"),
        helper.make_node("Relu", ["s"], ["t"], "relu_of_sum"),
        _conv(weights, "t", "y"),
    ]
    placement = _placed(_network(*nodes, weights=weights))
    assert placement.followers == {"sum"}
    assert set(placement.activations) == {"x", "r", "b", "t"}


def test_a_silu_is_not_cut_off_its_convolution_unless_asked() -> None:
    weights = models.Weights()
    nodes = [
        _conv(weights, "x", "a"),
        helper.make_node("Sigmoid", ["a"], ["g"], "sigmoid"),
        helper.make_node("Mul", ["a", "g"], ["m"], "mul"),
        _conv(weights, "m", "y"),
    ]
    model = _network(*nodes, weights=weights)
    assert set(_placed(model).activations) == {"x", "m"}
    assert set(place(_prepared(model), {}, every_convolution=True).activations) == {"x", "a", "m", "y"}


def test_what_only_moves_numbers_shares_their_scale() -> None:
    weights = models.Weights()
    nodes = [
        _conv(weights, "x", "a"),
        helper.make_node("MaxPool", ["a"], ["p"], "pool", kernel_shape=[1, 1]),
        helper.make_node("Transpose", ["p"], ["t"], "transpose", perm=[0, 1, 3, 2]),
        _conv(weights, "t", "y"),
    ]
    placement = _placed(_network(*nodes, weights=weights))
    assert placement.followers == {"pool", "transpose"}
    assert [source(placement, name) for name in ("p", "t")] == ["a", "a"]
    assert placement.observed == ["x", "a"]


def test_nothing_behind_the_last_heavy_operator_is_touched() -> None:
    weights = models.Weights()
    nodes = [
        _conv(weights, "x", "a"),
        helper.make_node("GlobalAveragePool", ["a"], ["g"], "pool"),
        helper.make_node("Add", ["a", "g"], ["s"], "sum"),
        helper.make_node("Softmax", ["s"], ["y"], "softmax", axis=1),
    ]
    placement = _placed(_network(*nodes, weights=weights))
    assert (set(placement.activations), placement.followers) == ({"x"}, set())


def test_recurrent_operators_branches_and_computed_weights_stay_float_and_say_why() -> None:
    assert "recurrent" in "".join(_placed(models.lstm()).skipped.values())
    assert "branches" in "".join(_placed(models.branching()).skipped.values())
    nodes = [helper.make_node("MatMul", ["x", "x"], ["y"], "attention")]
    placement = _placed(models.model(nodes, {"x": (4, 4)}, {"y": (4, 4)}))
    assert placement.skipped == {"attention": "its second input is no constant"}


def test_weights_in_half_precision_are_left_alone() -> None:
    assert "float16" in "".join(_placed(models.half_precision()).skipped.values())


def test_an_excluded_node_takes_its_neighbours_sums_along() -> None:
    placement = _placed(models.depthwise_network(), depthwise="asked")
    assert set(placement.heavy) == {"stem", "expand", "project"}
    assert set(placement.activations) == {"x", "s", "d6"}
    assert placement.skipped["depthwise"] == "asked"


def test_first_and_last_layers_are_found() -> None:
    graph = _prepared(models.depthwise_network())
    assert (first_heavy(graph), last_heavy(graph)) == (["stem"], ["project"])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (QuantizeConfig(ignored_names=("bn1",)), {"conv1"}),
        (QuantizeConfig(ignored_names=("conv1",)), {"conv1"}),
        (QuantizeConfig(ignored_types=("Conv",)), {"conv1", "conv2"}),
        (QuantizeConfig(ignored_patterns=("conv.*",)), {"conv1", "conv2"}),
        (QuantizeConfig(ignored_patterns=("onv1",)), set()),
    ],
)
def test_ignore_rules_match_names_operators_patterns_and_what_was_folded(
    config: QuantizeConfig, expected: set[str]
) -> None:
    prepared, rewrites = run_passes(load_model(models.convolution_classifier()), before_quantization())
    ignored = find_ignored(prepared.fresh_ir(), config, rewrites)
    assert set(ignored.reasons) == expected
    assert bool(ignored.warnings) == (not expected)


def test_a_padding_with_something_else_than_zero_does_not_move_the_scale() -> None:
    weights = models.Weights()
    pads = weights.constant("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    one = weights.constant("one", np.float32(1.0))
    nodes = [
        _conv(weights, "x", "a"),
        helper.make_node("Pad", ["a", pads, one], ["p"], "pad"),
        helper.make_node("Conv", ["p", weights.add("v", 4, 4, 3, 3)], ["y"], "last"),
    ]
    placement = _placed(_network(*nodes, weights=weights))
    assert placement.followers == set() and "p" in placement.observed
