from __future__ import annotations

from pathlib import Path

import pytest

from strop.errors import FileError
from strop.measure.estimate import Estimate, Speedup, Verdict
from strop.optimize.study import Study
from strop.optimize.trial import TrialResult, TrialSpec

SPEC = TrialSpec("model", "data", "openvino", "int8", "latency", {"threads": 2})


def test_what_was_added_is_there_for_another_reader_at_once(tmp_path: Path) -> None:
    study = Study(tmp_path / "s.study.db")
    speedup = Speedup(Estimate(1.4, 1.3, 1.5, 0.99, 40), Verdict.FASTER, 0.03)
    study.add(TrialResult(SPEC, "kept", "faster", latency=Estimate(0.002, 0.001, 0.003, 0.95, 100), speedup=speedup))
    study.decide("kept it")
    study.fact("plan", {"seconds": 12})
    other = Study(tmp_path / "s.study.db")  # the first is still open: nothing waits for a close
    assert [trial["label"] for trial in other.trials()] == ["openvino int8, threads 2"]
    latency = other.trials()[0]["latency_ms"]
    assert isinstance(latency, dict) and latency["point"] == pytest.approx(2.0)
    assert other.decisions() == ["kept it"]
    assert other.facts() == {"plan": {"seconds": 12}}
    study.close()
    other.close()


def test_a_study_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        Study(tmp_path / "missing" / "s.study.db")
    assert caught.value.code == "file.write"
    assert "missing" in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.study.db"
    path.write_text("this is no database at all, only text " * 40)
    with pytest.raises(FileError):
        Study(path)
