"""Time per operation after a search: every engine's operations speak the model's names, and add up."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from strop.engines.registry import get_engine
from strop.engines.remote import open_remote
from strop.model.load import load_model
from strop.optimize.layers import layers
from strop.optimize.trial import TrialSpec
from strop.report.layers import layers_of
from strop.report.record import Record
from strop.testing.models import convolution_classifier


@pytest.mark.parametrize("engine", ["native", "onnxruntime", "openvino"])
def test_the_operations_of_an_engine_add_up_and_have_limits(tmp_path: Path, engine: str) -> None:
    if not get_engine(engine).available().available:
        pytest.skip(f"{engine} is not installed")
    model = load_model(convolution_classifier())
    path = model.save(tmp_path / "model.onnx")
    inputs = {model.inputs[0].name: np.zeros((1, 3, 16, 16), np.float32)}
    spec = TrialSpec("model", "data", engine, "f32", "latency", {"threads": 1})

    def open_after(job: object) -> Any:
        remote = open_remote(path, engine, spec.engine_settings(), inputs=inputs)
        return _Opened(remote)

    job: Any = SimpleNamespace(
        budget=SimpleNamespace(remaining=1000.0, elapsed=0.0, patience=lambda: 100.0),
        opening_seconds=lambda name: 1.0,
        timed_inputs=[inputs],
        saved=lambda saved: path,
    )
    form = SimpleNamespace(spec=spec, model=model, latency=SimpleNamespace(point=0.02))
    confirmed: Any = SimpleNamespace(
        form=form, report={"settings": {"threads": 1, "streams": 1}}, open_after=open_after
    )
    fact = layers(job, confirmed)
    assert fact is not None
    rows: Any = fact["rows"]
    assert sum(row["share"] for row in rows) == pytest.approx(1.0)
    assert [row["ms"] for row in rows] == sorted((row["ms"] for row in rows), reverse=True)
    names = " ".join(row["name"] for row in rows)
    assert all(name in names for name in ("conv1", "conv2", "fc")), rows
    convolutions = [row for row in rows if "conv" in row["kind"].lower()]
    assert len(convolutions) >= 2
    assert all(row["percent_of_limit"] > 0 and row["bound"] in ("arithmetic", "memory") for row in convolutions), rows
    found = layers_of(Record({"layers": fact}))
    assert found is not None
    assert found.engine == engine
    assert found.ms == pytest.approx(sum(row["ms"] for row in rows))


class _Opened:
    """A contender, as far as a profile needs one."""

    def __init__(self, remote: Any):
        self.remote = remote

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remote.close()
