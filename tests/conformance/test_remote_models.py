"""Models in worker processes: the same answers and errors as here, and timed there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from strop.engines.contract import Settings
from strop.engines.registry import get_engine
from strop.engines.remote import FACTORY, _arguments, measure_first_inference, open_remote
from strop.errors import InputError, NotSupportedError, UsageError
from strop.machine import machine
from strop.measure.worker import Worker
from strop.model.load import load_model
from strop.testing import models

X = np.ones((1, 3, 16, 16), np.float32)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_remote_model_answers_as_a_local_one(engine: str) -> None:
    if not get_engine(engine).available().available:
        pytest.skip(f"{engine} is not installed")
    model = load_model(models.convolution_classifier())
    local = get_engine(engine).compile(model, Settings(threads=1))
    with open_remote(model, engine, Settings(threads=1), inputs={"x": X}) as remote:
        assert remote.version == get_engine(engine).available().version
        assert dict(remote.settings) == dict(local.settings)
        assert (remote.inputs, remote.outputs) == (local.inputs, local.outputs)
        for inputs in ({"x": X}, [X], X):
            assert np.array_equal(remote(inputs)["y"], local(X)["y"])
        assert len(remote.block(5)) == 5
        assert remote.latency(seconds=0.05).point > 0
        assert remote.memory().peak_bytes > 10_000_000
        assert any(row.origin for row in remote.profile(X, repeats=2))
        assert len(remote.throughput_turn().block(3)) == 3
        assert remote.throughput(seconds=0.05).completed > 0
        report = remote.load(seconds=0.1, rate=50.0).to_json()
        assert report["asked_per_second"] == 50


def test_errors_come_back_as_what_they_were() -> None:
    model = load_model(models.convolution_classifier())
    with pytest.raises(NotSupportedError) as refused:
        open_remote(model, "onnxruntime", Settings(device="CUDA9"))
    assert refused.value.code == "unsupported.device-missing"
    with open_remote(model, "onnxruntime", Settings(threads=1)) as remote:
        with pytest.raises(InputError) as bad:
            remote(X[0])
        assert bad.value.code == "input.rank"
        with pytest.raises(InputError) as many:
            remote([X, X])
        assert many.value.code == "input.unknown"
    with pytest.raises(UsageError) as closed:
        remote(X)
    assert closed.value.code == "usage.closed"


def test_a_saved_model_is_opened_by_its_path_and_timed_in_batches(tmp_path: Path) -> None:
    path = load_model(models.convolution_classifier()).save(tmp_path / "m.onnx")
    samples = [{"x": X * index} for index in range(3)]
    with open_remote(path, "onnxruntime", Settings(threads=1), inputs=samples, batch=4) as remote:
        found = remote.throughput(seconds=0.05, requests=1)
        assert found.per_second.point == pytest.approx(4 * found.completed / found.seconds)
        assert remote(X)["y"].shape == (1, 5)


def test_a_fresh_process_imports_the_engine_and_not_onnx(tmp_path: Path) -> None:
    model = load_model(models.convolution_classifier())
    arguments = _arguments(model, "onnxruntime", Settings(threads=1), tmp_path)
    with Worker("tests.conformance.hosted_imports:open_and_list", {"arguments": arguments}) as worker:
        assert worker.call("before").value == []
        assert worker.call("after").value == ["onnxruntime"]
    assert FACTORY == "strop.engines.hosted:open_model"


def test_the_first_inference_is_split_into_its_stages() -> None:
    model = load_model(models.convolution_classifier())
    found = measure_first_inference(model, "onnxruntime", Settings(threads=machine().cores), inputs={"x": X})
    assert list(found.parts_ms) == ["import", "read", "compile", "first_run"]
    assert found.parts_ms["import"] > 0
    assert found.total_ms > 0
