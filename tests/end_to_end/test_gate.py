from __future__ import annotations

import json
from pathlib import Path

from onnx import helper

from strop.testing.models import Weights
from strop.testing.models import model as build
from tests.end_to_end.conftest import Strop


def write_chain(path: Path, *, layers: int) -> None:
    """Writes a chain of products of 256 numbers by 256 x 256 weights."""
    weights = Weights(0)
    names = ["x", *(f"h{layer}" for layer in range(1, layers)), "y"]
    nodes = [
        helper.make_node("MatMul", [names[layer], weights.add(f"w{layer}", 256, 256)], [names[layer + 1]], f"m{layer}")
        for layer in range(layers)
    ]
    path.write_bytes(build(nodes, {"x": (1, 256)}, {"y": (1, 256)}, weights).SerializeToString())


def test_a_gate_passes_an_unchanged_model_and_fails_a_heavier_one(strop: Strop, tmp_path: Path) -> None:
    """The whole way of a CI: a baseline, the same model again, then one that does far more work."""
    write_chain(tmp_path / "model.onnx", layers=8)
    common = ("--baseline", "model.baseline", "--seconds", 0.5, "--json")
    ran = strop("gate", "model.onnx", *common, "--update", "--engine", "onnxruntime", "--threads", 1)
    assert ran.code == 0, ran.stderr
    assert set(ran.document["baseline"]["latency_ms"]) >= {"point", "low", "high"}

    ran = strop("gate", "model.onnx", *common, "--margin", "50%")
    document = ran.document
    assert ran.code in (0, 4), ran.stderr  # a loaded machine may not tell; it must not be red
    assert document["method"] == "rerun"
    assert document["outputs"]["same"]
    assert document["model"]["engine"] == "onnxruntime"

    write_chain(tmp_path / "model.onnx", layers=24)
    ran = strop("gate", "model.onnx", *common)
    assert ran.code == 1, ran.stdout + ran.stderr
    document = json.loads(ran.stdout)
    assert document["verdict"] == "regressed"
    assert document["slowdown"]["low"] > 1.05
    assert len(document["parts"][0]["runs"]) == 2
    assert not document["outputs"]["same"]
    assert "outputs changed" in ran.stderr


def test_a_gate_without_baseline_says_how_to_make_one(strop: Strop, classifier: Path) -> None:
    ran = strop("gate", classifier, "--baseline", "none.baseline")
    assert ran.code == 5
    assert "--update" in ran.stderr
    ran = strop("gate", classifier, "--baseline", "no-folder/x.baseline", "--update")
    assert ran.code == 2
    assert "mkdir" in ran.stderr
