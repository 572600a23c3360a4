"""Advice from the facts and trials of a run: what was tried, what next; a study may come from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.optimize.test_advice_paths import check

from strop.errors import FileError
from strop.machine import machine
from strop.optimize.advice.from_study import advise_from_study, advise_on_run, is_study, resources_of
from strop.optimize.study import Study

COMMAND = "strop optimize 'my net.onnx' --data d.npz --labels l.csv --max-drop 1% --budget 3m --json -o out.strop"


def trial(engine: str, precision: str, status: str, reason: str = "", **more: Any) -> dict[str, Any]:
    spec = {"engine": engine, "precision": precision, "settings": {}}
    return {"trial": spec, "label": f"{engine} {precision}", "status": status, "reason": reason, **more}


def ratio(point: float, verdict: str) -> dict[str, object]:
    return {"point": point, "low": point * 0.98, "high": point * 1.02, "verdict": verdict}


GAINED = {"gained": True, "label": "openvino f32", "speedup": ratio(1.5, "faster"), "accuracy_words": "kept"}


def run(*trials: dict[str, Any], **facts: Any) -> dict[str, Any]:
    given = {
        "model": {"name": "my net"},
        "command": COMMAND,
        "objective": "latency",
        "data": {"samples": 900},
        "machine": {"fingerprint": machine().fingerprint},
        "baseline_accuracy": {"metric": "top1"},
        "confirmation": {
            "gained": True,
            "label": "openvino f32",
            "speedup": ratio(1.5, "faster"),
            "accuracy_words": "a",
        },
        **facts,
    }
    found = advise_on_run(given, trials)
    for one in found:
        check(one)
    return {one.code: one for one in found}


ENGINES = (trial("onnxruntime", "f32", "kept"), trial("native", "f32", "dropped"), trial("openvino", "f32", "kept"))


def test_the_command_says_what_the_run_had() -> None:
    resources = resources_of({"command": COMMAND, "baseline_accuracy": {"metric": "top1"}})
    assert (resources.model, resources.data, resources.labels) == ("my net.onnx", "d.npz", "l.csv")
    assert resources.max_drop == "1%"
    assert resources.labelled
    assert resources_of({"model": {"name": "n"}, "command": ""}).data is None
    assert resources_of({"command": "strop optimize 'unclosed"}).model == "model.onnx"


def test_a_finished_run_says_what_it_gained_and_nothing_more() -> None:
    found = run(*ENGINES)
    assert list(found) == ["study.gained"]
    assert "1.50 x" in found["study.gained"].reason


def test_what_was_not_tried_asks_for_more_time() -> None:
    found = run(*ENGINES, trial("openvino", "int8", "not tried", "the budget's share for the search is used up"))
    assert "--budget 360s" in str(found["study.budget"].command)
    assert "openvino int8" in found["study.budget"].reason


def test_8_bits_that_lost_accuracy_go_on_in_the_order() -> None:
    lost = trial("openvino", "int8", "dropped", "faster, but top1 0.72 -> 0.6", accuracy={"drop": 0.12})
    report = {"samples": 100, "quantized": {"a": "Conv"}, "sanity": {"ok": True}}
    found = run(*ENGINES, lost, **{"quantization for openvino": report})
    assert "--samples 900" in str(found["quantization.more-samples"].command)
    assert "top1 0.72 -> 0.6" in found["quantization.more-samples"].reason
    found = run(*ENGINES, lost, **{"quantization for openvino": {**report, "samples": 300}})
    assert "mse" in str(found["quantization.other-ranges"].python)


def test_8_bits_that_failed_their_sanity_check_go_on_too() -> None:
    report = {
        "samples": 300,
        "quantized": {"a": "Conv"},
        "sanity": {"ok": False, "reason": "output 'y' changed by 80%"},
    }
    found = run(*ENGINES, **{"quantization for openvino": report})
    assert "output 'y' changed by 80%" in found["quantization.other-ranges"].reason


def test_8_bits_that_are_slower_are_not_worth_it_and_kept_ones_are_kept() -> None:
    report = {"samples": 300, "quantized": {"a": "Conv"}, "sanity": {"ok": True}}
    slower = trial("openvino", "int8", "dropped", "slower: 0.8 x", speedup=ratio(0.8, "slower"))
    found = run(*ENGINES, slower, **{"quantization for openvino": report})
    assert found["quantization.not-worth-it"].kind == "do not"
    kept = trial("openvino", "int8", "kept", "faster", speedup=ratio(1.8, "faster"), accuracy={"drop": 0.0})
    assert "quantization.keep" in run(*ENGINES, kept, **{"quantization for openvino": report})
    unclear = trial("openvino", "int8", "dropped", "cannot tell", speedup=ratio(1.0, "cannot tell"))
    assert "quantization.post-training" in run(*ENGINES, unclear, **{"quantization for openvino": report})


def test_noise_few_labels_other_machines_and_refusals_are_told() -> None:
    noisy = [trial("native", "f32", "dropped", speedup=ratio(1.1, "cannot tell")) for _ in range(3)]
    found = run(
        *ENGINES,
        *noisy,
        machine={"fingerprint": "other", "cpu_name": "another", "cores": 8},
        plan={"shares": {"confirmation": 40}},
        objective="throughput",
        confirmation={"gained": False, "not_confirmed": [{"label": "native f32", "reason": "same when confirmed"}]},
    )
    codes = {
        "study.nothing",
        "study.noise",
        "study.labels",
        "study.other-machine",
        "study.not-confirmed",
        "study.curve",
    }
    assert codes <= set(found)
    assert "40 labelled samples" in found["study.labels"].reason


def test_an_unfinished_run_and_engines_that_refuse_are_told() -> None:
    found = run(*ENGINES[:1], trial("native", "f32", "unsupported", "no kernel"), confirmation=None)
    assert found["study.unfinished"].kind == "do"
    assert found["study.engine.native"].reason == "no kernel"
    assert "study.untried.openvino" in found


def test_a_study_is_read_and_anything_else_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.study.db"
    study = Study(path)
    study.fact("model", {"name": "net"})
    study.fact("command", COMMAND)
    study.close()
    assert is_study(path)
    document = advise_from_study(str(path), command="strop advise out.study.db")
    assert document["schema"] == "strop.advice/1"
    assert document["tried"] == []
    assert document["recommendations"][0]["code"] == "study.unfinished"
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08not a database")
    assert not is_study(tmp_path / "model.onnx")
    assert not is_study(tmp_path / "missing")
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"SQLite format 3\0" + b"\xff" * 200)
    with pytest.raises(FileError):
        advise_from_study(str(damaged))


def test_a_study_with_odd_facts_raises_nothing() -> None:
    odd = {
        "confirmation": 5,
        "plan": [],
        "data": "x",
        "machine": None,
        "model": 3,
        "quantization for x": 7,
        "command": 9,
    }
    for one in advise_on_run(odd, [trial("openvino", "int8", "dropped", speedup={"point": "x"})]):
        assert one.text
