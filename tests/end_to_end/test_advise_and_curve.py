from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.end_to_end.conftest import Strop


def test_the_curve_marks_the_most_throughput_within_the_limit(strop: Strop, classifier: Path) -> None:
    words = ("benchmark", classifier, "--engine", "onnxruntime", "--curve", "--batches", "1,2", "--seconds", 0.3)
    ran = strop(*words, "--max-latency", "p90=500ms", "--json")
    assert ran.code == 0, ran.stderr
    document = ran.document
    assert document["schema"] == "strop.curve/1"
    curve = document["curve"]
    cells = {(point["streams"], point["batch"], point["requests"]) for point in curve["points"]}
    assert {(1, 1, 1), (1, 2, 1)} <= cells
    assert any(point["automatic"] for point in curve["points"])
    spot = curve["points"][curve["sweet_spot"]]
    assert spot["latency_ms"]["p90"] <= 500
    within = [p for p in curve["points"] if p["latency_ms"]["p90"] is not None and p["latency_ms"]["p90"] <= 500]
    most = max(point["throughput_per_second"]["point"] for point in within)
    assert spot["throughput_per_second"]["point"] == most
    assert "sweet spot" in ran.stderr
    assert "about" in ran.stderr  # how long it will take is told before
    assert curve["estimated_seconds"] > 0


def test_options_of_the_curve_are_refused_where_they_do_nothing(strop: Strop, classifier: Path) -> None:
    for words in (("--streams", "1"), ("--curve", "--rate", 5), ("--curve", "--max-latency", "ten")):
        ran = strop("benchmark", classifier, *words, "--json")
        assert ran.code == 2, ran.stderr
        assert ran.document["error"]["code"] == "usage.bad-option"


def test_advice_has_figures_measured_here(strop: Strop, classifier: Path, tmp_path: Path) -> None:
    ran = strop("advise", classifier, "--data", "data.npz", "--max-drop", "5%", "--time", "20s", "--json")
    assert ran.code == 0, ran.stderr
    document = ran.document
    assert document["schema"] == "strop.advice/1"
    found = {one["code"]: one for one in document["recommendations"]}
    assert any(code.startswith("conversion.") for code in found)
    assert any(code.startswith("quantization.") for code in found)
    assert "top1" in found["precondition.baseline"]["reason"]
    assert document["path"][0]["name"] == "convert"
    assert "Know" in ran.stderr
    wrong = strop("advise", classifier, "--labels", "labels.csv", "--json")
    assert wrong.code == 2
    with np.load(tmp_path / "data.npz") as data:
        arrays = dict(data)
    arrays["labels"] = (arrays["labels"] + 1) % 5
    np.savez(tmp_path / "shifted.npz", **arrays)
    chance = strop("advise", classifier, "--data", "shifted.npz", "--json")
    assert [one["code"] for one in chance.document["recommendations"]] == ["precondition.near-chance"]
