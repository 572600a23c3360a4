from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.end_to_end.conftest import Strop


def test_compare_puts_engines_side_by_side(strop: Strop, classifier: Path) -> None:
    ran = strop("compare", classifier, "--engines", "onnxruntime,onnxruntime:threads=1", "--seconds", 1, "--json")
    assert ran.code == 0, ran.stderr
    document = ran.document
    assert document["schema"] == "strop.compare/1"
    assert document["command"].startswith("strop compare")
    assert document["baseline"] == "onnxruntime"
    assert document["machine"]["fingerprint"]
    first, second = document["results"]
    assert (first["speedup"]["point"], first["speedup"]["verdict"]) == (1.0, "same")
    assert second["settings"]["threads"] == 1
    assert second["agreement"]["ok"]
    assert second["agreement"]["relative_l2"] < 1e-3
    for result in document["results"]:
        assert result["status"] == "ok"
        assert result["latency_ms"]["low"] <= result["latency_ms"]["point"] <= result["latency_ms"]["high"]
        assert result["latency_ms"]["statistic"] == "median"
        assert result["speedup"]["low"] <= result["speedup"]["point"] <= result["speedup"]["high"]
        assert result["first_inference_ms"] > 0
        assert result["peak_memory_mb"] > 10
    assert "speed-up" in ran.stderr


def test_an_engine_that_refuses_the_model_is_a_result(strop: Strop, tmp_path: Path) -> None:
    from strop.testing.models import custom_operator

    path = tmp_path / "magic.onnx"
    path.write_bytes(custom_operator().SerializeToString())
    ran = strop("compare", path, "--engines", "onnxruntime,reference", "--seconds", 1, "--json")
    assert ran.code in (3, 5), ran.stderr
    assert "com.example" in ran.stderr


def test_one_engine_alone_is_no_comparison(strop: Strop, classifier: Path) -> None:
    ran = strop("compare", classifier, "--engines", "onnxruntime", "--json")
    assert ran.code == 2
    assert ran.document["error"]["code"] == "usage.too-few-engines"


def test_an_unknown_engine_is_named_with_what_there_is(strop: Strop, classifier: Path) -> None:
    ran = strop("compare", classifier, "--engines", "onnxruntime,openvin")
    assert ran.code == 2
    assert "usage.unknown-engine" in ran.stderr
    assert "openvino" in ran.stderr


def test_benchmark_gives_earned_percentiles_only(strop: Strop, classifier: Path) -> None:
    ran = strop("benchmark", classifier, "--engine", "onnxruntime", "--iterations", 200, "--seconds", 0.1, "--json")
    assert ran.code == 0, ran.stderr
    document = ran.document
    assert document["schema"] == "strop.benchmark/1"
    assert document["calls"] >= 200
    assert document["percentiles_ms"]["p50"] > 0
    assert document["first_call_ms"] > 0
    if document["calls"] < 2995:
        assert document["percentiles_ms"]["p99.9"] == f"p99.9 needs 2995, have {document['calls']}"


def test_benchmark_measures_throughput_with_requests_in_flight(strop: Strop, classifier: Path) -> None:
    words = ("benchmark", classifier, "--engine", "onnxruntime", "--objective", "throughput", "--requests", 3)
    ran = strop(*words, "--seconds", 1, "--json")
    assert ran.code == 0, ran.stderr
    assert ran.document["requests"] == 3
    assert ran.document["throughput_per_second"]["point"] > 10


def test_benchmark_keeps_to_a_rate_of_arrivals(strop: Strop, classifier: Path) -> None:
    ran = strop("benchmark", classifier, "--engine", "onnxruntime", "--rate", 50, "--seconds", 2, "--json")
    assert ran.code == 0, ran.stderr
    assert abs(ran.document["achieved_per_second"] / 50 - 1) < 0.1  # the unit tests hold it to 2 %


def test_benchmark_splits_the_first_inference(strop: Strop, classifier: Path) -> None:
    words = ("benchmark", classifier, "--engine", "onnxruntime", "--seconds", 0.5, "--first-inference", "--json")
    ran = strop(*words)
    assert ran.code == 0, ran.stderr
    stages = ran.document["first_inference_stages_ms"]
    assert set(stages) == {"import", "read", "compile", "first_run"}
    assert ran.document["first_inference_ms"] > stages["import"] > 0


def test_wrong_inputs_are_named(strop: Strop, classifier: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "wrong.npz", image=np.zeros((1, 3, 16, 16), np.float32))
    ran = strop("benchmark", classifier, "--input", "wrong.npz", "--seconds", 0.5)
    assert ran.code == 5
    assert "image" in ran.stderr
    np.savez(tmp_path / "flat.npz", x=np.zeros((1, 3, 16), np.float32))
    ran = strop("benchmark", classifier, "--input", "flat.npz", "--seconds", 0.5, "--json")
    assert ran.document["error"]["code"] == "input.rank"
