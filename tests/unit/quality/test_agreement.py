"""Outputs against outputs, without labels."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from strop.model.specs import TensorSpec
from strop.quality.agreement import agreement, tensor_distance
from strop.quality.data import open_data

DATA = open_data(
    np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32), inputs=(TensorSpec("x", "float32", (None, 5)),)
)


def test_the_worst_output_is_named_with_its_distances() -> None:
    a = {"big": np.array([30.0, 40.0]), "small": np.array([0.3, 0.4])}
    b = {"big": np.array([31.0, 40.0]), "small": np.array([0.3, 0.5])}
    found = tensor_distance(a, b)
    assert found.output == "small" and found.finite and found.findings == ()
    assert found.relative_l2 == pytest.approx(0.2) and found.max_abs == pytest.approx(0.1)


def test_the_same_outputs_are_no_distance_apart_whatever_they_hold() -> None:
    a = {"y": np.array([0.0, np.nan, np.inf, -np.inf, 3.0]), "flags": np.array([True, False]), "none": np.zeros((0, 3))}
    found = tensor_distance(a, {name: array.copy() for name, array in a.items()})
    assert found.relative_l2 == 0 and found.max_abs == 0 and found.finite


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_is_not_finite_in_one_only_is_infinitely_far(broken: float) -> None:
    found = tensor_distance({"y": np.ones(3)}, {"y": np.array([1, broken, 1])})
    assert found.relative_l2 == math.inf and not found.finite


def test_differences_in_kind_are_findings() -> None:
    a = {"x": np.ones((2, 3), np.float32), "y": np.ones(2, np.float32), "z": np.ones(1)}
    b = {"x": np.ones((3, 2), np.float32), "y": np.ones(2, np.float64), "w": np.ones(1)}
    found = tensor_distance(a, b)
    assert found.relative_l2 == math.inf and found.output in ("x", "z")
    assert len(found.findings) == 4
    assert "output 'y' is float64, not float32" in found.findings
    assert "output 'x' has shape [3, 2], not [2, 3]" in found.findings


def test_unsigned_outputs_do_not_wrap_around() -> None:
    found = tensor_distance({"y": np.array([0, 10], np.uint8)}, {"y": np.array([1, 9], np.uint8)})
    assert found.max_abs == 1


def test_a_reference_of_zeros_is_infinitely_far_from_anything_else() -> None:
    assert tensor_distance({"y": np.zeros(2)}, {"y": np.array([0, 1e-9])}).relative_l2 == math.inf


def _model(inputs):
    return {"scores": inputs["x"], "twice": 2 * inputs["x"]}


def test_a_model_agrees_with_itself() -> None:
    found = agreement(_model, _model, DATA)
    assert found.top1 is not None and found.top1.point == 1 and found.top1.n == 20
    assert found.relative_l2 == 0 and found.not_finite == 0 and found.disagreeing == ()


def test_decisions_that_differ_are_counted_and_named() -> None:
    def other(inputs):
        turned = inputs["x"] if inputs["x"].sum() > 0 else -inputs["x"]
        return {"scores": turned, "twice": 2 * inputs["x"] * 1.01}

    flipped = [sample.key for sample in DATA if sample.inputs["x"].sum() <= 0]
    found = agreement(_model, other, DATA)
    assert list(found.disagreeing) == flipped and found.criterion == "decision"
    assert found.agreeing.point == pytest.approx(1 - len(flipped) / 20)
    assert found.agreeing.low < found.agreeing.point < found.agreeing.high
    assert found.worst == "scores" and found.outputs["scores"].worst_relative_l2 == pytest.approx(2)
    assert found.outputs["twice"].relative_l2 == pytest.approx(0.01, rel=1e-3)


def test_distances_over_the_set_are_those_of_all_tensors_as_one() -> None:
    x = np.stack([sample.inputs["x"] for sample in DATA]).astype(float)
    shift = np.float32(0.125)
    found = agreement(_model, lambda inputs: {"scores": inputs["x"] + shift, "twice": 2 * inputs["x"]}, DATA)
    distance = found.outputs["scores"]
    assert distance.mse == pytest.approx(0.125**2, rel=1e-5)
    assert distance.relative_l2 == pytest.approx(0.125 * x.size**0.5 / np.linalg.norm(x), rel=1e-5)
    assert distance.max_abs == pytest.approx(0.125, rel=1e-5)
    assert distance.mse_per_sample == pytest.approx([0.125**2] * 20, rel=1e-5)


def test_nan_in_b_is_counted_and_does_not_agree() -> None:
    found = agreement(_model, lambda inputs: {"scores": inputs["x"] * np.nan, "twice": 2 * inputs["x"]}, DATA)
    assert found.agreeing.point == 0 and found.not_finite == 20 and found.relative_l2 == math.inf


def test_outputs_that_decide_nothing_agree_where_they_are_close() -> None:
    grid = open_data(
        np.random.default_rng(0).normal(size=(10, 4, 4)).astype(np.float32),
        inputs=(TensorSpec("x", "float32", (None, 4, 4)),),
    )
    found = agreement(lambda i: {"y": i["x"]}, lambda i: {"y": i["x"] * (1.05 if i["x"][0, 0, 0] > 0 else 1.2)}, grid)
    close = sum(sample.inputs["x"][0, 0, 0] > 0 for sample in grid)
    assert found.criterion == "relative_l2" and found.top1 is None
    assert found.agreeing.point == close / 10


def test_a_decoder_says_what_a_decision_is() -> None:
    found = agreement(
        lambda i: {"y": i["x"]},
        lambda i: {"y": i["x"] * 1.5},
        DATA,
        decode=lambda outputs, inputs: "yes" if outputs["y"].sum() > 0 else "no",
    )
    assert found.agreeing.point == 1 and found.criterion == "decision"


def test_reports_are_json() -> None:
    json.dumps(agreement(_model, _model, DATA).to_json())
    json.dumps(tensor_distance({"y": np.ones(2)}, {"y": np.ones(2)}).to_json())
