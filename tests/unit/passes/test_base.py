"""The contract of a pass."""

from __future__ import annotations

import onnx_ir
import pytest

from strop.model.load import load_model
from strop.passes.base import Pass, Rewrites, run_passes
from strop.passes.pipeline import before_quantization
from strop.testing import models


class _RenamesOutput(Pass):
    def _rewrite(self, model: onnx_ir.Model, rewrites: Rewrites) -> None:
        model.graph.outputs[0].name = "another"


def test_a_pass_that_changes_the_outputs_is_caught() -> None:
    with pytest.raises(AssertionError, match="_RenamesOutput changed the model's inputs or outputs"):
        run_passes(load_model(models.multilayer_perceptron()), [_RenamesOutput()])


def test_the_given_model_stays_as_it_is() -> None:
    model = load_model(models.convolution_classifier())
    before = model.to_bytes()
    after, done = run_passes(model, before_quantization())
    assert model.to_bytes() == before != after.to_bytes()
    assert done[0].name == "RemoveInitializersFromInputs"
