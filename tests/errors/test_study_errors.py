from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from strop.errors import FileError, UsageError
from strop.optimize.options import recorded_options, replayed_options
from strop.optimize.replay import replay
from strop.optimize.study import Study, read_study
from strop.optimize.trial import TrialResult, TrialSpec
from strop.testing.models import multilayer_perceptron


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a bundle, say", b"SQLite format 3\0 and then nothing"])
def test_a_file_that_is_no_study_is_refused_with_what_to_give(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.study.db"
    path.write_bytes(content)
    with pytest.raises(FileError) as caught:
        read_study(path)
    assert caught.value.code == "study.not-a-study"
    assert str(path) in str(caught.value)
    assert ".study.db" in caught.value.hint


def test_a_study_that_is_not_there_says_who_writes_one(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        read_study(tmp_path / "missing.study.db")
    assert caught.value.code == "file.read"
    assert "strop optimize" in caught.value.hint


def test_a_truncated_study_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "s.study.db"
    study = Study(path)
    for number in range(200):
        study.decide(f"decision {number} " * 20)
    study.close()
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(FileError) as caught:
        read_study(path).decisions()
    assert caught.value.hint


def test_code_that_only_the_study_names_is_not_run(tmp_path: Path) -> None:
    """A study may come from anywhere; the user's own word runs code, the study's does not."""
    evil = tmp_path / "evil.py"
    evil.write_text("raise SystemExit('it ran')")
    for name in ("data", "metric", "decode"):
        recorded = {"model": "m.onnx", "data": "d.npz", name: f"{evil}:samples"}
        with pytest.raises(UsageError) as caught:
            replayed_options(recorded)
        assert caught.value.code == "study.no-trial"
        assert caught.value.hint == f"if you trust it: --{name} {evil}:samples"
        assert replayed_options(recorded, **{name: "mine.py:f"})[name] == "mine.py:f"


def test_data_given_as_an_object_must_be_named(tmp_path: Path) -> None:
    recorded = recorded_options(model="m.onnx", data={"x": []}, labels=[1, 2], metric=None)
    with pytest.raises(UsageError) as caught:
        replayed_options(recorded)
    assert "which data" in str(caught.value)
    assert caught.value.hint == "name it: --data PATH"


def test_a_trial_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    spec = TrialSpec("m", "d", "openvino", "f32", "latency", {"threads": 2})
    with closing(Study(tmp_path / "s.study.db")) as study:
        study.add(TrialResult(spec, "kept", "the baseline"))
    with pytest.raises(UsageError) as caught:
        replay(tmp_path / "s.study.db", "ffff")
    assert caught.value.code == "study.no-trial"
    assert f"{spec.key} (openvino f32, threads 2)" in str(caught.value)


def test_another_model_than_the_studys_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(multilayer_perceptron().SerializeToString())
    spec = TrialSpec("m", "d", "onnxruntime", "f32", "latency")
    with closing(Study(tmp_path / "s.study.db")) as study:
        study.fact("model", {"sha256": "0" * 64})
        study.fact("options", recorded_options(model=str(tmp_path / "m.onnx"), data="d.npz"))
        study.add(TrialResult(spec, "kept", "the baseline"))
    with pytest.raises(UsageError) as caught:
        replay(tmp_path / "s.study.db", "baseline")
    assert caught.value.code == "study.other"
    assert "--model" in caught.value.hint
