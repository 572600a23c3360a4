"""`--tune` on the command line: what is measured is told, kept, and shown by `strop cache`."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from strop.engines.registry import get_engine
from strop.testing.models import convolution_classifier
from tests.end_to_end.conftest import Strop

pytestmark = pytest.mark.skipif(not get_engine("native").available().available, reason="native does not run here")


@pytest.fixture
def larger(tmp_path: Path) -> Path:
    path = tmp_path / "larger.onnx"
    onnx.save(convolution_classifier(batch=16), path)
    return path


def test_benchmark_and_explain_measure_kernels_first(
    strop: Strop, larger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STROP_CACHE_DIR", str(tmp_path / "kept"))
    done = strop("benchmark", larger, "--engine", "native", "--threads", "1", "--tune", "-t", "0.2", "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["settings"]["tune"] is True
    assert "tune: kernels are measured here" in done.stderr
    kinds = {kind["kind"]: kind for kind in json.loads(strop("cache", "--json").stdout)["kinds"]}
    assert kinds["records"]["entries"] >= 2
    explained = strop("explain", larger, "--tune", "--json")
    assert explained.code == 0, explained.stderr
    again = {kind["kind"]: kind for kind in json.loads(strop("cache", "--json").stdout)["kinds"]}
    assert again["records"]["entries"] == kinds["records"]["entries"]
    assert json.loads(strop("cache", "--clear", "--json").stdout)["kinds"][2]["entries"] == 0


def test_only_native_can_be_tuned(strop: Strop, larger: Path) -> None:
    done = strop("benchmark", larger, "--engine", "onnxruntime", "--tune", "-t", "0.2")
    assert done.code == 2
    assert "only the engine native can be tuned" in done.stderr
