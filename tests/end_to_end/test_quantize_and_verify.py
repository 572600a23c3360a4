from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from tests.end_to_end.conftest import Strop


def test_quantize_writes_a_valid_model_and_its_distance(strop: Strop, classifier: Path, tmp_path: Path) -> None:
    ran = strop("quantize", classifier, "--data", "data.npz", "--samples", 30, "-o", "int8.onnx", "--json")
    assert ran.code == 0, ran.stderr
    document = ran.document
    assert document["schema"] == "strop.quantize/1"
    assert document["report"]["samples"] == 30
    assert document["agreement"]["relative_l2"] < 0.2
    model = onnx.load(tmp_path / "int8.onnx")
    onnx.checker.check_model(model)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in model.graph.node}


def test_quantizing_twice_is_refused(strop: Strop, classifier: Path) -> None:
    assert strop("quantize", classifier, "--data", "data.npz", "-o", "int8.onnx").code == 0
    ran = strop("quantize", "int8.onnx", "--data", "data.npz", "-o", "again.onnx", "--json")
    assert ran.code == 5
    assert ran.document["error"]["code"] == "model.already-quantized"


def test_verify_gives_the_paired_difference_and_exits_1_only_beyond_the_limit(strop: Strop, classifier: Path) -> None:
    assert strop("quantize", classifier, "--data", "data.npz", "-o", "int8.onnx").code == 0
    ran = strop("verify", classifier, "int8.onnx", "--data", "data.npz", "--json")
    assert ran.code == 0, ran.stderr
    document = ran.document
    assert document["n"] == 60
    assert document["a"]["point"] == 0.9
    assert document["difference"]["point"] == document["b"]["point"] - document["a"]["point"]
    assert document["drop"] == -document["difference"]["point"]
    limit = document["drop"] / 2 if document["drop"] > 0 else 0.0
    again = strop("verify", classifier, "int8.onnx", "--data", "data.npz", "--max-drop", limit, "--json")
    assert again.code == (1 if document["drop"] > 0 else 0)


def test_verify_without_labels_reports_agreement(strop: Strop, classifier: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.random.default_rng(1).normal(size=(8, 3, 16, 16)).astype(np.float32))
    ran = strop("verify", classifier, classifier, "--data", "images.npy", "--json")
    assert ran.code == 0, ran.stderr
    assert ran.document["agreement"]["agreeing"]["point"] == 1.0
    assert ran.document["agreement"]["relative_l2"] == 0.0


def test_nan_in_the_calibration_data_is_found(strop: Strop, classifier: Path, tmp_path: Path) -> None:
    images = np.zeros((5, 3, 16, 16), np.float32)
    images[3, 0, 0, 0] = np.nan
    np.save(tmp_path / "nan.npy", images)
    ran = strop("quantize", classifier, "--data", "nan.npy", "-o", "int8.onnx", "--json")
    assert ran.code == 5
    assert ran.document["error"]["code"] == "data.not-finite"
    assert "3" in str(ran.document["error"]["where"])
    assert not (tmp_path / "int8.onnx").exists()


def test_no_samples_is_said_so(strop: Strop, classifier: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "none.npy", np.zeros((0, 3, 16, 16), np.float32))
    ran = strop("quantize", classifier, "--data", "none.npy", "-o", "int8.onnx", "--json")
    assert ran.code == 5
    assert ran.document["error"]["code"] == "data.empty"


def test_labels_that_do_not_match_name_both_numbers(strop: Strop, classifier: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.zeros((5, 3, 16, 16), np.float32))
    np.save(tmp_path / "labels.npy", np.zeros(4, np.int64))
    words = ("verify", classifier, classifier, "--data", "images.npy", "--labels", "labels.npy", "--json")
    ran = strop(*words)
    assert ran.code == 5
    assert ran.document["error"]["code"] == "data.labels"
    assert "4" in ran.stderr and "5" in ran.stderr
