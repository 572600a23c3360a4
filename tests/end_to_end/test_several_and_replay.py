"""A folder of models in one call, limits that cannot be kept, a run that goes on, and a trial run again."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from strop.optimize.study import read_study
from tests.end_to_end.conftest import Strop

SHORT = ("--max-drop", "50%", "--engines", "onnxruntime", "--budget")


def test_a_folder_of_models_is_one_call_and_one_failure_stops_nobody(
    strop: Strop, classifier: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    classifier.rename(models / "good.onnx")
    (models / "broken.onnx").write_text("no model")
    (tmp_path / "data.npz").rename(tmp_path / "good.npz")
    (tmp_path / "broken.npz").write_bytes((tmp_path / "good.npz").read_bytes())
    ran = strop("optimize", "models", "--data", "{model}.npz", *SHORT, "16s", "-o", "out", "--json")
    assert ran.code == 5, ran.stderr
    assert ran.document["schema"] == "strop.optimize-folder/1"
    broken, good = ran.document["results"]
    assert (broken["model"], broken["status"], broken["error"]["code"]) == ("broken.onnx", "failed", "model.not-onnx")
    assert (good["model"], good["status"], good["document"]["confirmed"]) == ("good.onnx", "ok", True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good.strop", "good.study.db"]


def test_a_limit_that_cannot_be_kept_is_exit_1_and_its_trials_replay(
    strop: Strop, classifier: Path, tmp_path: Path
) -> None:
    words = ("optimize", classifier.name, "--data", "data.npz", *SHORT, "12s", "-o", "out.strop", "--json")
    ran = strop(*words, "--max-memory", "1MB")
    assert ran.code == 1, ran.stderr
    assert ran.document["limits_met"] is False
    assert (tmp_path / "out.strop").exists()
    assert "peak memory at most 1 MB" in ran.stderr
    refused = strop(*words, "--resume")
    assert refused.code == 2
    assert refused.document["error"]["code"] == "study.other"
    with closing(read_study(tmp_path / "out.study.db")) as study:
        command = next(row.command for row in study.decision_rows() if "baseline top1" in row.words)
    assert command
    again = strop(*command.split()[1:], "--seconds", "0.5", "--json")
    assert again.document["schema"] == "strop.replay/1"
    assert again.document["new"]["latency_ms"]["point"] > 0
    assert again.code == (0 if again.document["agrees"] else 1)
    confirmed = strop("replay", "out.study.db", "confirmation", "--seconds", "1", "--json")
    figures = [confirmed.document[side]["accuracy"]["after"] for side in ("old", "new")]
    assert figures[0] == figures[1], "the same samples on the same bundle"
