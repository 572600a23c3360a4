"""Cost: multiply-accumulates against sums done by hand."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import helper

from strop.model.cost import node_costs, parameter_count, total_macs
from strop.model.inspect import Remark, inspect_model
from strop.model.load import load_model
from strop.model.random_inputs import make_inputs
from strop.testing import models


def macs_of(proto: onnx.ModelProto) -> dict[str, int | None]:
    model = load_model(proto)
    return {cost.name: cost.macs for cost in node_costs(model, make_inputs(model, symbol_default=8))}


@pytest.mark.parametrize(
    ("proto", "expected"),
    [
        (models.convolution_classifier(), {"conv1": 8 * 16 * 16 * 27, "conv2": 8 * 7 * 7 * 72, "fc": 40, "pool": 0}),
        (models.depthwise_network(), {"stem": 8 * 64 * 27, "expand": 16 * 64 * 8, "depthwise": 16 * 64 * 9}),
        (models.transposed_convolution(), {"up": 4 * 8 * 8 * 3 * 2 * 2}),
        (models.multilayer_perceptron(), {"matmul": 16 * 32, "add": 0, "fc": 32 * 4}),
        (models.lstm(), {"lstm": 8 * (24 * 8 + 24 * 6), "fc": 18}),
        (models.quantized(), {"matmul": 32}),
    ],
)
def test_multiply_accumulates_are_counted(proto: onnx.ModelProto, expected: dict[str, int]) -> None:
    assert macs_of(proto).items() >= expected.items()


def test_einsum_counts_every_combination_of_indices() -> None:
    nodes = [helper.make_node("Einsum", ["a", "b"], ["y"], "einsum", equation="bij, bjk -> bik")]
    assert macs_of(models.model(nodes, {"a": (2, 3, 4), "b": (2, 4, 5)}, {"y": (2, 3, 5)})) == {"einsum": 2 * 3 * 4 * 5}


def test_transposed_gemm_sums_over_its_first_axis() -> None:
    nodes = [helper.make_node("Gemm", ["a", "b"], ["y"], "gemm", transA=1)]
    assert macs_of(models.model(nodes, {"a": (7, 2), "b": (7, 3)}, {"y": (2, 3)})) == {"gemm": 2 * 3 * 7}


def test_bytes_and_parameters_are_counted_once() -> None:
    model = load_model(models.multilayer_perceptron())
    costs = {cost.name: cost for cost in node_costs(model, make_inputs(model))}
    assert costs["matmul"].bytes_read == 4 * (16 + 16 * 32)
    assert costs["matmul"].bytes_written == 4 * 32
    assert sum(cost.parameters for cost in costs.values()) == parameter_count(model) == 16 * 32 + 32 + 32 * 4 + 4


def test_shapes_and_indices_are_no_parameters() -> None:
    assert parameter_count(load_model(models.constant_batch_reshape())) == 16 * 3


def test_what_lies_inside_a_branch_is_not_counted_as_nothing() -> None:
    model = load_model(models.branching())
    assert total_macs(node_costs(model, make_inputs(model))) is None


def test_without_inputs_costs_are_counted_where_shapes_are_known() -> None:
    costs = {cost.name: cost.macs for cost in node_costs(load_model(models.multilayer_perceptron(1)), None)}
    assert costs["matmul"] == 512
    costs = {cost.name: cost.macs for cost in node_costs(load_model(models.multilayer_perceptron()), None)}
    assert costs["matmul"] is None


def remark_of(proto: onnx.ModelProto, code: str) -> Remark | None:
    return next((remark for remark in inspect_model(load_model(proto)).remarks if remark.code == code), None)


@pytest.mark.parametrize(
    ("proto", "code", "nodes"),
    [
        (models.custom_operator(), "custom-operator", ("magic",)),
        (models.quantized(), "already-quantized", ("quantize",)),
        (models.quantized(weights_only=True), "weights-quantized", ("weights",)),
        (models.half_precision(), "half-precision", ()),
        (models.branching(), "control-flow", ("if",)),
        (models.stateful(), "state", ()),
    ],
)
def test_the_report_remarks_what_matters(proto: onnx.ModelProto, code: str, nodes: tuple[str, ...]) -> None:
    remark = remark_of(proto, code)
    assert remark is not None and remark.nodes == nodes
    assert remark_of(models.convolution_classifier(), code) is None


def test_the_report_holds_the_facts_and_is_json() -> None:
    report = inspect_model(load_model(models.convolution_classifier(opset=12)))
    document = json.loads(json.dumps(report.to_json()))
    assert document["operators"] == {
        "Conv": 2,
        "Relu": 2,
        "BatchNormalization": 1,
        "GlobalAveragePool": 1,
        "Flatten": 1,
        "Gemm": 1,
    }
    assert (document["source_opset"], document["free_sizes"], document["remarks"]) == (12, ["batch"], [])
    assert document["macs"] == 8 * 16 * 16 * 27 + 8 * 7 * 7 * 72 + 40
    assert document["macs_at"] == {"x": [1, 3, 16, 16]}
    given = inspect_model(load_model(models.multilayer_perceptron()), {"x": np.zeros((10, 16), np.float32)})
    assert given.macs == 10 * (512 + 128)
