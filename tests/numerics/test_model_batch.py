"""Another batch size: rows as they are alone, or a refusal that names the node."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from strop.errors import ModelError
from strop.model.load import load_model
from strop.model.oracle import run_unoptimized
from strop.model.random_inputs import make_inputs
from strop.model.shapes import with_batch
from strop.testing import models

FOLLOWING = {
    "classifier": models.convolution_classifier(),
    "fixed at 1": models.convolution_classifier(1),
    "fixed at 2": models.multilayer_perceptron(2),
    "depthwise": models.depthwise_network(1),
    "lstm": models.lstm(),
    "stateful": models.stateful(1),
    "embedding": models.embedding(),
    "width": models.dynamic_width(),
    "branches": models.branching(),
}


@pytest.mark.parametrize("name", FOLLOWING)
@pytest.mark.parametrize("batch", [1, 3])
def test_every_output_has_the_batch_and_free_sizes_stay_free(name: str, batch: int) -> None:
    model = load_model(FOLLOWING[name])
    changed = with_batch(model, batch)
    axis = 1 if name == "lstm" else 0
    assert changed.inputs[0].shape[axis] == batch
    assert all(spec.shape[0] == batch for spec in changed.outputs)
    kept = [size for size in model.inputs[0].shape if isinstance(size, str) and size != "batch"]
    assert [size for size in changed.inputs[0].shape if isinstance(size, str)] == kept


def test_rows_are_what_they_are_alone() -> None:
    single = load_model(models.convolution_classifier(1))
    several = with_batch(single, 4)
    x = make_inputs(several)["x"]
    together = run_unoptimized(several, {"x": x})["y"]
    for row in range(4):
        alone = run_unoptimized(single, {"x": x[row : row + 1]})["y"]
        np.testing.assert_allclose(together[row : row + 1], alone, rtol=1e-5, atol=1e-6)


def mixing_rows() -> onnx.ModelProto:
    """Subtracts the mean over the batch: runs at any batch, but a row then depends on the others."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], "mean_of_batch", axes=[0]),
        helper.make_node("Sub", ["x", "m"], ["y"], "subtract"),
    ]
    return models.model(nodes, {"x": ("batch", 4)}, {"y": ("batch", 4)})


def hidden_reshape() -> onnx.ModelProto:
    """The Reshape to [1, -1] runs at any batch; the MatMul behind it does not."""
    weights = models.Weights()
    nodes = [
        helper.make_node("Reshape", ["x", weights.constant("target", np.array([1, -1]))], ["f"], "flatten_all"),
        helper.make_node("MatMul", ["f", weights.add("w", 12, 2)], ["y"], "matmul"),
    ]
    return models.model(nodes, {"x": (1, 3, 4)}, {"y": (1, 2)}, weights)


@pytest.mark.parametrize(
    ("proto", "node"),
    [
        (models.constant_batch_reshape(), "fixed_reshape"),
        (models.lstm(1, constant_state=True), "lstm"),
        (mixing_rows(), "mean_of_batch"),
        (hidden_reshape(), "flatten_all"),
    ],
    ids=["reshape", "lstm state", "mixed rows", "hidden reshape"],
)
def test_a_model_that_cannot_follow_is_refused_with_its_node(proto: onnx.ModelProto, node: str) -> None:
    model = load_model(proto)
    with pytest.raises(ModelError, match=f"node '{node}'") as caught:
        with_batch(model, 3)
    assert caught.value.code == "model.batch"


def test_the_model_itself_is_not_changed() -> None:
    model = load_model(models.convolution_classifier())
    before = model.sha256
    with_batch(model, 2)
    assert model.inputs[0].shape[0] == "batch"
    assert load_model(model.to_bytes()).sha256 == before
