"""PyTorch objects become models that compute what PyTorch does; where PyTorch is not installed this is skipped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from strop.errors import NotSupportedError, UsageError
from strop.frontends.torch import to_onnx
from strop.model.load import load_model
from strop.model.oracle import run_unoptimized

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]  # PyTorch's exporter warns of itself
torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")


@pytest.fixture
def module() -> Any:
    torch.manual_seed(0)
    layers = torch.nn
    body = [layers.Conv2d(3, 4, 3), layers.BatchNorm2d(4), layers.ReLU(), layers.Dropout(0.5), layers.Flatten()]
    return layers.Sequential(*body, layers.Linear(4 * 36, 5))


X = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)


def outputs_of(proto: Any, x: np.ndarray) -> np.ndarray:
    model = load_model(proto)
    return next(iter(run_unoptimized(model, {model.inputs[0].name: x}).values()))


def expected(module: Any) -> np.ndarray:
    with torch.no_grad():
        return module.eval()(torch.from_numpy(X)).numpy()


@pytest.mark.parametrize("inputs", [X, (X,), {"input": X}], ids=["array", "sequence", "by name"])
def test_a_module_computes_the_same(module: Any, inputs: Any) -> None:
    np.testing.assert_allclose(outputs_of(to_onnx(module, inputs), X), expected(module), rtol=1e-4, atol=1e-5)


def test_a_module_in_training_is_exported_for_evaluation_and_stays_in_training(module: Any) -> None:
    module.train()
    module[1].eval()
    proto = to_onnx(module, X)
    assert module.training and module[3].training and not module[1].training
    np.testing.assert_allclose(outputs_of(proto, X), expected(module), rtol=1e-4, atol=1e-5)


def test_an_exported_program_brings_its_inputs(module: Any) -> None:
    program = torch.export.export(module.eval(), (torch.from_numpy(X),))
    np.testing.assert_allclose(outputs_of(to_onnx(program), X), expected(module), rtol=1e-4, atol=1e-5)


def test_the_batch_may_stay_free(module: Any) -> None:
    proto = to_onnx(module, X, dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert load_model(proto).inputs[0].shape == ("batch", 3, 8, 8)
    np.testing.assert_allclose(outputs_of(proto, X[:1]), expected(module)[:1], rtol=1e-4, atol=1e-5)


def test_what_is_no_model_and_missing_inputs_are_refused(module: Any) -> None:
    with pytest.raises(UsageError, match="no PyTorch model") as caught:
        to_onnx(module.state_dict(), X)
    assert "state_dict" in caught.value.hint
    with pytest.raises(UsageError, match="needs example inputs") as caught:
        to_onnx(module)
    assert "example_inputs" in caught.value.hint


def test_what_pytorch_cannot_export_is_a_clear_refusal() -> None:
    class Branching(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return x if x.sum().item() > 0 else -x

    with pytest.raises(NotSupportedError, match="cannot export") as caught:
        to_onnx(Branching(), X)
    assert caught.value.code == "unsupported.model" and "report=True" in caught.value.hint
