"""What goes wrong outside Strop: workers that are killed, runs that are ended, outputs that cannot be written."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from strop.cli.app import build
from strop.model.load import load_model
from strop.model.random_inputs import runnable_inputs
from strop.optimize.comparison import compare_engines, enough_ran
from strop.optimize.events import Event
from strop.testing.models import multilayer_perceptron
from tests.end_to_end.conftest import Strop


def test_an_engine_that_crashes_in_its_turn_is_a_result_and_the_others_are_measured(classifier: Path) -> None:
    model = load_model(classifier)
    killed: list[int] = []

    def kill_the_youngest(event: Event) -> None:
        if event.kind == "progress" and not killed:
            youngest = max(psutil.Process().children(), key=lambda child: child.create_time())
            killed.append(youngest.pid)
            youngest.kill()

    engines = ["onnxruntime", "onnxruntime:threads=1", "reference"]
    inputs = runnable_inputs(model)
    document = compare_engines(model, engines, inputs, seconds=0.5, first_inference=False, on_event=kill_the_youngest)
    statuses = [result["status"] for result in document["results"]]
    assert statuses == ["ok", "ok", "failed"]
    assert document["results"][2]["error"]["code"] == "worker.died"
    assert document["results"][1]["speedup"]["point"] > 0
    assert enough_ran(document)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_a_run_that_is_terminated_ends_like_ctrl_c_and_leaves_no_process(classifier: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "strop.cli", "benchmark", str(classifier), "--engine", "onnxruntime", "--json"]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("measure"):
            break
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in stderr
    assert psutil.wait_procs(children, timeout=10)[1] == []


def test_a_knob_that_no_engine_has_is_a_usage_error_not_a_failed_engine(strop: Strop, classifier: Path) -> None:
    ran = strop("compare", classifier, "--engines", "onnxruntime:turbo=1,onnxruntime", "--json")
    assert ran.code == 2
    assert ran.document["error"]["code"] == "usage.unknown-knob"
    assert "'turbo'" in ran.stderr and "threads" in ran.document["error"]["hint"]


def test_nothing_is_written_over_the_model_or_a_folder(strop: Strop, classifier: Path, tmp_path: Path) -> None:
    before = classifier.read_bytes()
    (tmp_path / "folder").mkdir()
    for output, words in ((classifier, "over a file that is read"), ("folder", "the output is a folder")):
        for command in ("quantize", "optimize"):
            ran = strop(command, classifier, "--data", "data.npz", "-o", output, "--json")
            assert ran.code == 2, ran.stderr
            assert ran.document["error"]["code"] == "usage.bad-option"
            assert words in ran.stderr
            assert "-o" in ran.document["error"]["hint"]
    assert classifier.read_bytes() == before
    assert not list(tmp_path.glob("*.db"))


def test_verify_names_the_model_that_does_not_take_the_data(strop: Strop, classifier: Path, tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(multilayer_perceptron().SerializeToString())
    ran = strop("verify", classifier, "other.onnx", "--data", "data.npz", "--json")
    assert ran.code == 5
    assert ran.document["error"]["code"] == "input.rank"
    assert ran.document["error"]["where"] == "other.onnx"


def test_without_its_model_the_demo_says_the_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strop.demo.importlib.util.find_spec", lambda name: None)
    ran = CliRunner().invoke(build(), ["demo", "--json"])
    assert ran.exit_code == 3
    error = json.loads(ran.stdout)["error"]
    assert error["code"] == "unsupported.package-missing"
    assert error["hint"] == "pip install --no-deps --ignore-requires-python rapidocr-onnxruntime==1.4.4"
