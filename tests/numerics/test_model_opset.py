"""Raising the opset never changes what a model computes; where it would, the model stays as it is and says so."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from strop.model import opset
from strop.model.load import load_model
from strop.model.model import Model
from strop.model.oracle import Unoptimized, run_reference, run_unoptimized
from strop.model.random_inputs import make_inputs
from strop.testing import models


def old(version: int, *nodes: onnx.NodeProto, weights: models.Weights | None = None) -> onnx.ModelProto:
    """A model of an old opset, [1, 3, 8, 8] -> y of whatever shape."""
    graph = helper.make_graph(
        list(nodes),
        "old",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights.tensors if weights else [],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=4)


def constants(**values: object) -> models.Weights:
    weights = models.Weights()
    for name, value in values.items():
        array = np.asarray(value)
        weights.constant(name, array.astype(np.float32) if array.dtype == np.float64 else array)
    return weights


CASES = {
    "upsample 9 nearest": old(
        9, helper.make_node("Upsample", ["x", "s"], ["y"], mode="nearest"), weights=constants(s=[1.0, 1.0, 1.5, 2.0])
    ),
    "upsample 9 linear": old(
        9, helper.make_node("Upsample", ["x", "s"], ["y"], mode="linear"), weights=constants(s=[1.0, 1.0, 2.0, 2.0])
    ),
    "resize 10 linear": old(
        10, helper.make_node("Resize", ["x", "s"], ["y"], mode="linear"), weights=constants(s=[1.0, 1.0, 2.0, 2.0])
    ),
    "resize 11 align corners": old(
        11,
        helper.make_node(
            "Resize", ["x", "r", "s"], ["y"], mode="linear", coordinate_transformation_mode="align_corners"
        ),
        weights=constants(r=np.zeros(0), s=[1.0, 1.0, 2.0, 2.0]),
    ),
    "softmax over several axes": old(11, helper.make_node("Softmax", ["x"], ["y"], axis=1)),
    "softmax over the last axis": old(11, helper.make_node("Softmax", ["x"], ["y"], axis=3)),
    "slice 1": old(9, helper.make_node("Slice", ["x"], ["y"], axes=[2], starts=[1], ends=[5])),
    "pad 2": old(9, helper.make_node("Pad", ["x"], ["y"], pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="reflect")),
    "clip 6": old(10, helper.make_node("Clip", ["x"], ["y"], min=0.0, max=0.5)),
    "squeeze": old(11, helper.make_node("Squeeze", ["x"], ["y"], axes=[0])),
    "reduce sum": old(11, helper.make_node("ReduceSum", ["x"], ["y"], axes=[2, 3], keepdims=0)),
    "top k": old(9, helper.make_node("TopK", ["x"], ["y", "i"], axis=3, k=2)),
    "split": old(11, helper.make_node("Split", ["x"], ["y", "z"], axis=1, split=[1, 2])),
    "dropout": old(9, helper.make_node("Dropout", ["x"], ["y"], ratio=0.5)),
    "batch normalization 8": old(
        8,
        helper.make_node("BatchNormalization", ["x", "a", "b", "c", "d"], ["y"]),
        weights=constants(a=[1.0, 2, 3], b=[1.0, 2, 3], c=[1.0, 2, 3], d=[1.0, 2, 3]),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_raising_keeps_the_outputs(name: str) -> None:
    proto = CASES[name]
    model = load_model(proto)
    assert model.opset == 17 and model.warnings == ()
    inputs = make_inputs(model, seed=7)
    np.testing.assert_allclose(run_unoptimized(model, inputs)["y"], Unoptimized(proto)(inputs)["y"], atol=1e-6)


def test_a_softmax_over_the_last_axis_stays_one_node() -> None:
    assert [node.op_type for node in load_model(CASES["softmax over the last axis"]).to_proto().graph.node] == [
        "Softmax"
    ]


def test_a_model_that_would_change_stays_as_it_is_with_a_warning() -> None:
    """Hardmax flattened its axes before opset 13; the converter does not know."""
    proto = old(11, helper.make_node("Hardmax", ["x"], ["y"], axis=1))
    model = load_model(proto)
    assert model.opset == 11
    assert len(model.warnings) == 1
    assert "kept at opset 11" in model.warnings[0] and "output 'y' changed" in model.warnings[0]
    inputs = make_inputs(model)
    np.testing.assert_array_equal(run_unoptimized(model, inputs)["y"], Unoptimized(proto)(inputs)["y"])


def test_a_failing_converter_is_a_warning_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(proto: onnx.ModelProto, target: int) -> onnx.ModelProto:
        raise RuntimeError(f"no adapter to {target}")

    monkeypatch.setattr(opset, "convert", fail)
    model = load_model(models.multilayer_perceptron(opset=11))
    assert model.opset == 11
    assert "to 17: no adapter to 17; to 13: no adapter to 13" in model.warnings[0]


def test_a_lower_target_is_tried_where_the_first_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    convert = opset.convert

    def only_13(proto: onnx.ModelProto, target: int) -> onnx.ModelProto:
        if target != 13:
            raise RuntimeError("no adapter")
        return convert(proto, target)

    monkeypatch.setattr(opset, "convert", only_13)
    model = load_model(models.multilayer_perceptron(opset=11))
    assert (model.opset, model.warnings) == (13, ())


def test_a_model_with_operators_of_others_is_kept_with_a_warning() -> None:
    proto = models.custom_operator()
    proto.opset_import[0].version = 11
    model = load_model(proto)
    assert model.opset == 11
    assert "kept at opset 11" in model.warnings[0]


def test_a_domain_that_no_node_uses_is_no_obstacle() -> None:
    proto = models.multilayer_perceptron(opset=11)
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    assert (load_model(proto).opset, load_model(proto).warnings) == (17, ())


def test_what_cannot_be_run_is_raised_with_a_warning() -> None:
    """No sizes are found that this model runs at, so that the raised one cannot be compared."""
    proto = models.model(
        [helper.make_node("MatMul", ["a", "b"], ["y"])], {"a": ("n", 3), "b": ("m", 4)}, {"y": ("n", 4)}, opset=11
    )
    proto.graph.input[1].type.tensor_type.shape.dim[0].dim_value = 5
    model = load_model(proto)
    assert model.opset == 17
    assert "raised from opset 11 to 17 unchecked" in model.warnings[0]


@pytest.mark.parametrize("version", [9, 11, 12, 13, 17, 18])
def test_both_oracles_agree_at_every_opset(version: int) -> None:
    model: Model = load_model(models.convolution_classifier(opset=version))
    inputs = make_inputs(model)
    np.testing.assert_allclose(
        run_reference(model, inputs)["y"], run_unoptimized(model, inputs)["y"], rtol=1e-4, atol=1e-5
    )
