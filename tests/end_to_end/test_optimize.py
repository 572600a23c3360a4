from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import strop as package
from tests.end_to_end.conftest import Strop


def test_optimize_hands_over_a_confirmed_bundle(strop: Strop, classifier: Path, tmp_path: Path) -> None:
    words = ("optimize", classifier, "--data", "data.npz", "--max-drop", "5%", "--budget", "60s", "-o", "out.strop")
    ran = strop(*words, "--json")
    assert ran.code == 0, ran.stderr
    document = ran.document
    assert document["schema"] == "strop.optimize/1"
    assert document["confirmed"] is True
    assert document["accuracy"]["metric"] == "top1"
    assert document["accuracy"]["drop"] <= 0.05
    assert document["accuracy"]["n"] == document["plan"]["shares"]["confirmation"]
    assert document["speedup"]["low"] > 1 or not document["gained"]
    assert any(trial["status"] == "kept" for trial in document["trials"])
    assert all(trial["reason"] for trial in document["trials"])
    assert any("labelled samples" in warning for warning in document["warnings"])
    # What was written runs, gives what was recorded, and is what the document says.
    loaded = package.load(tmp_path / "out.strop")
    try:
        loaded.self_test()
        assert loaded.engine == document["engine"]
        with np.load(tmp_path / "data.npz") as data:
            outputs = loaded({loaded.inputs[0].name: data[loaded.inputs[0].name][:1]})
        assert outputs[loaded.outputs[0].name].shape == (1, 5)
    finally:
        loaded.close()
    with closing(sqlite3.connect(tmp_path / "out.study.db")) as study:
        assert study.execute("select count(*) from trials").fetchone()[0] == len(document["trials"])


def test_without_labels_agreement_is_the_limit(strop: Strop, classifier: Path, tmp_path: Path) -> None:
    with np.load(tmp_path / "data.npz") as data:
        np.savez(tmp_path / "plain.npz", **{name: data[name] for name in data.files if name != "labels"})
    refused = strop("optimize", classifier, "--data", "plain.npz", "--max-drop", "1%", "-o", "out.strop", "--json")
    assert refused.code == 2
    assert refused.document["error"]["code"] == "usage.missing-labels"
    assert "--min-agreement" in refused.stderr
    words = ("optimize", classifier, "--data", "plain.npz", "--min-agreement", "0.9", "--budget", "40s")
    ran = strop(*words, "--engines", "onnxruntime", "-o", "out.strop", "--json")
    assert ran.code == 0, ran.stderr
    assert ran.document["accuracy"]["agreeing"]["point"] >= 0.9


def test_a_baseline_near_chance_stops_the_run(strop: Strop, classifier: Path, tmp_path: Path) -> None:
    with np.load(tmp_path / "data.npz") as data:
        arrays = dict(data)
    arrays["labels"] = (arrays["labels"] + 1) % 5  # labels counted from another start
    np.savez(tmp_path / "shifted.npz", **arrays)
    ran = strop("optimize", classifier, "--data", "shifted.npz", "--budget", "40s", "-o", "out.strop", "--json")
    assert ran.code == 1, ran.stderr
    assert ran.document["error"]["code"] == "quality.near-chance"
    assert "order of the labels" in ran.document["error"]["hint"]
    assert not (tmp_path / "out.strop").exists()


def test_throughput_is_an_objective_of_its_own(strop: Strop, classifier: Path) -> None:
    words = ("optimize", classifier, "--data", "data.npz", "--objective", "throughput", "--max-drop", "10%")
    ran = strop(*words, "--engines", "onnxruntime", "--budget", "45s", "-o", "out.strop", "--json")
    assert ran.code == 0, ran.stderr
    assert any("streams" in trial["trial"]["settings"] for trial in ran.document["trials"])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C otherwise")
def test_ctrl_c_in_a_search_keeps_the_best_so_far(classifier: Path, tmp_path: Path) -> None:
    words = ["optimize", str(classifier), "--data", "data.npz", "--max-drop", "5%", "-o", "out.strop"]
    process = subprocess.Popen(
        [sys.executable, "-m", "strop.cli", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "140"},
    )
    _wait_for_trials(tmp_path / "out.study.db", 2, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "interrupted: the best so far is written, not confirmed" in stderr
    with closing(sqlite3.connect(tmp_path / "out.study.db")) as study:
        assert study.execute("select count(*) from trials").fetchone()[0] >= 2
    loaded = package.load(tmp_path / "out.strop")
    loaded.self_test()
    loaded.close()
    assert not list(tmp_path.glob(".out*")), "no torn file is left"


def _wait_for_trials(path: Path, count: int, process: subprocess.Popen[str]) -> None:
    for _ in range(600):
        assert process.poll() is None, process.communicate()[1]
        if path.exists():
            with closing(sqlite3.connect(path)) as study:
                try:
                    if study.execute("select count(*) from trials").fetchone()[0] >= count:
                        return
                except sqlite3.OperationalError:
                    pass  # the tables are not there yet
        time.sleep(0.1)
    raise AssertionError("no trials within a minute")
