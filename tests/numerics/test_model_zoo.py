"""Real models: each loads, runs as its original does, and tells what it costs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest

from strop.model.cost import node_costs, parameter_count, total_macs
from strop.model.load import load_model
from strop.model.oracle import Unoptimized
from strop.model.random_inputs import make_inputs, runnable_inputs
from strop.model.shapes import with_batch


def all_models(zoo: Path) -> list[Path]:
    found = sorted((zoo / "models").glob("*.onnx"))
    installed = importlib.util.find_spec("rapidocr_onnxruntime")
    for folder in (installed.submodule_search_locations or []) if installed else []:
        found += sorted((Path(folder) / "models").glob("*.onnx"))
    return found


def test_every_model_loads_and_computes_what_its_original_does(zoo: Path) -> None:
    for path in all_models(zoo):
        model = load_model(path)
        assert model.opset >= 13 and not model.warnings, path
        run = Unoptimized(model.to_proto())
        inputs = runnable_inputs(model, seed=3, run=run)
        expected = Unoptimized(onnx.load(path))(inputs)
        for name, value in run(inputs).items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-5, err_msg=f"{path.name} {name}")


@pytest.mark.parametrize(
    ("name", "million_macs", "parameters"),
    [
        ("mobilenet_v2", 300.77, 3_487_818),
        ("cifar10_resnet20", 40.55, 269_035),
        ("cifar10_resnet8", 12.50, 77_706),
        ("kws_dscnn", 2.66, 22_610),
        ("vww_mbv1_025_96", 7.49, 210_850),
    ],
)
def test_costs_are_the_published_ones(zoo: Path, name: str, million_macs: float, parameters: int) -> None:
    model = load_model(zoo / "models" / f"{name}.onnx")
    total = total_macs(node_costs(model, make_inputs(model)))
    assert total is not None and round(total / 1e6, 2) == million_macs
    assert parameter_count(model) == parameters


@pytest.mark.parametrize("name", ["mobilenet_v2", "ultraface_rfb320", "ppocr_cls", "silero_vad", "resemblyzer"])
def test_real_models_follow_another_batch(zoo: Path, name: str) -> None:
    changed = with_batch(load_model(zoo / "models" / f"{name}.onnx"), 3)
    assert changed.inputs[0].shape[0] == 3 and changed.outputs[0].shape[0] == 3


def test_a_real_constant_reshape_is_named(zoo: Path) -> None:
    with pytest.raises(Exception, match=r"node 'Times212_reshape0' \(Reshape\) is made for 1"):
        with_batch(load_model(zoo / "models" / "mnist_cnn.onnx"), 2)
