"""Every real model runs on every engine, or is refused with a reason, and all engines agree."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from strop.engines.contract import Settings
from strop.engines.registry import get_engine
from strop.errors import NotSupportedError
from strop.model.load import load_model
from strop.model.model import Model
from strop.model.oracle import run_unoptimized
from strop.model.random_inputs import runnable_inputs

TOLERANCES = {"native": 1e-4, "onnxruntime": 1e-3, "openvino": 1e-3}
REFUSED = {("openvino", "silero_vad"): "rank"}
"""What an engine is known to refuse, and a word of its reason: the model's If holds a Conv of unknown rank."""


def _inputs(model: Model) -> dict[str, np.ndarray]:
    """Random inputs; for a text detector a page, as on noise its probabilities are 1e-7 and their ratios rounding."""
    if "det" not in model.name:
        return runnable_inputs(model)
    page = np.full((1, 3, 64, 128), 2, np.float32)
    page[:, :, 24:40, 16:112:8] = page[:, :, 24:40, 17:112:8] = page[:, :, 30:33, 16:112] = -2
    return {model.inputs[0].name: page}


def _check(model: Model) -> None:
    inputs = _inputs(model)
    expected = run_unoptimized(model, inputs)
    for name, tolerance in TOLERANCES.items():
        engine = get_engine(name)
        if not engine.available().available:
            continue
        try:
            compiled = engine.compile(model, Settings(precision="f32"))
        except NotSupportedError as refusal:
            assert (name, model.name) in REFUSED, f"{name} refuses {model.name}: {refusal}"
            assert REFUSED[name, model.name] in str(refusal.got)
            continue
        got = compiled(inputs)
        assert list(got) == list(expected)
        for output, want in expected.items():
            have = got[output]
            assert (have.dtype, have.shape) == (want.dtype, want.shape)
            if want.dtype.kind == "f":
                distance = np.linalg.norm(have - want) / max(float(np.linalg.norm(want)), 1e-30)
                assert distance <= tolerance, f"{name}, {model.name}, {output}: {distance:.2g}"
            else:  # classes of pixels: rounding may decide a tie the other way
                assert np.mean(have != want) <= tolerance
        buffers = {output: np.empty_like(array) for output, array in expected.items()}
        compiled.run_into(inputs, buffers)
        for output, have in got.items():
            assert np.allclose(buffers[output], have, rtol=1e-4, atol=1e-5)
        compiled.close()


def test_the_zoo_runs_on_every_engine(zoo: Path) -> None:
    paths = sorted((zoo / "models").glob("*.onnx"))
    assert paths
    for path in paths:
        _check(load_model(path))


def test_the_text_recognition_models_run_on_every_engine() -> None:
    found = importlib.util.find_spec("rapidocr_onnxruntime")
    if found is None or not found.submodule_search_locations:
        pytest.skip("rapidocr-onnxruntime is not installed: pip install --no-deps rapidocr-onnxruntime==1.4.4")
    paths = sorted(Path(found.submodule_search_locations[0], "models").glob("*.onnx"))
    assert len(paths) == 3
    for path in paths:
        _check(load_model(path))
