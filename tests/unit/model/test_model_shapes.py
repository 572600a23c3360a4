"""Shapes: parsed, set, inferred."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from strop.model.axes import batch_axes
from strop.model.load import load_model
from strop.model.random_inputs import make_inputs, runnable_inputs
from strop.model.shapes import infer_shapes, parse_shapes, shapes_from, with_shapes
from strop.model.specs import TensorSpec
from strop.testing import models


def test_shapes_are_parsed() -> None:
    assert parse_shapes("x=1,3,48,320") == {"x": (1, 3, 48, 320)}
    assert parse_shapes(["x:0=[1,?]", "state=2,-1,128"]) == {"x:0": (1, None), "state": (2, None, 128)}
    assert parse_shapes(["1,3"]) == {"": (1, 3)}
    assert parse_shapes(["sr="]) == {"sr": ()}


def test_a_free_width_is_fixed_and_the_output_follows() -> None:
    model = with_shapes(load_model(models.dynamic_width()), {"x": (2, 1, 8, 20)})
    assert model.inputs[0].shape == (2, 1, 8, 20)
    assert model.outputs[0].shape == (2, 10, 6)


def test_some_sizes_may_stay_free() -> None:
    model = with_shapes(load_model(models.dynamic_width()), {"x": (None, 1, 8, 20)})
    assert model.inputs[0].shape == ("batch", 1, 8, 20)
    assert model.outputs[0].shape == ("batch", None, 6)


def test_the_name_may_be_left_out_for_one_input() -> None:
    assert load_model(models.multilayer_perceptron(), shapes={"": (3, 16)}).outputs[0].shape == (3, 4)


def test_a_symbol_follows_on_all_inputs() -> None:
    model = with_shapes(load_model(models.stateful()), {"x": (5, 4)})
    assert [spec.shape for spec in model.inputs + model.outputs] == [(5, 4)] * 4


def test_shapes_that_are_there_already_change_nothing() -> None:
    model = load_model(models.constant_batch_reshape())
    assert with_shapes(model, shapes_from(make_inputs(model))) is model


def test_shape_inference_knows_every_value() -> None:
    types = infer_shapes(load_model(models.convolution_classifier()))
    assert types["r1"] == ("float32", ("batch", 8, 16, 16))
    assert types["w1"] == ("float32", (8, 3, 3, 3))


def test_running_finds_the_shapes_that_inference_does_not() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("ConstantOfShape", ["s"], ["zeros"]),
        helper.make_node("NonZero", ["x"], ["n"]),
        helper.make_node("Transpose", ["n"], ["t"]),
        helper.make_node("Cast", ["t"], ["y"], to=1),
    ]
    model = load_model(models.model(nodes, {"x": ("h", "w")}, {"y": (None, None)}))
    assert not all(isinstance(size, int) for size in infer_shapes(model)["t"].shape or ())
    types = infer_shapes(model, {"x": np.eye(3, dtype=np.float32)})
    assert types["t"] == ("int64", (3, 2))
    assert types["zeros"] == ("float32", (3, 3))


def test_inference_survives_a_model_that_contradicts_itself() -> None:
    proto = models.multilayer_perceptron()
    proto.graph.value_info.append(helper.make_tensor_value_info("a", 1, (7, 7, 7)))
    types = infer_shapes(load_model(proto), {"x": np.zeros((2, 16), np.float32)})
    assert types["a"] == ("float32", (2, 32))


@pytest.mark.parametrize(
    ("shapes", "axes"),
    [
        ([("batch", 3)], {"a": 0}),
        ([(1, 3)], {"a": 0}),
        ([(None, 3), (2, None, 4)], {"a": 0, "b": 1}),
        ([("steps", "batch", 8)], {"a": 1}),
        ([(1, 3), ()], {"a": 0}),
        ([("n", 3), (4, 4)], {"a": 0}),
        ([()], {}),
    ],
)
def test_the_batch_axis_is_found(shapes: list[tuple[int | str | None, ...]], axes: dict[str, int]) -> None:
    specs = [TensorSpec(name, "float32", shape) for name, shape in zip("ab", shapes, strict=False)]
    assert batch_axes(specs) == axes


def test_random_inputs_are_seeded_and_of_the_right_types() -> None:
    model = load_model(models.embedding())
    first, again, other = (make_inputs(model, seed=seed)["tokens"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.int64 and first.shape == (1, 64)
    assert first.min() >= 0 and 1 < first.max() <= 10  # rows of the table it indexes
    assert make_inputs(load_model(models.branching()))["flag"].dtype == np.bool_


def test_runnable_inputs_find_a_size_the_model_takes() -> None:
    """The Reshape to rows of 96 refuses the first size tried, 64."""
    weights = models.Weights()
    nodes = [
        helper.make_node("Reshape", ["x", weights.constant("target", np.array([-1, 96]))], ["r"]),
        helper.make_node("MatMul", ["r", weights.add("w", 96, 2)], ["y"]),
    ]
    model = load_model(models.model(nodes, {"x": ("batch", "n")}, {"y": (None, 2)}, weights))
    assert runnable_inputs(model, shapes={"x": (1, 192)})["x"].shape == (1, 192)
    assert make_inputs(model, batch=2, symbol_default=96)["x"].shape == (2, 96)
