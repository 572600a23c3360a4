"""What ends a run early loses nothing: the next goes on with what was finished, and with the same samples."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.optimize.world import IMAGES, World, run, statuses

from strop.errors import FileError, LimitError, UsageError
from strop.optimize import int8_forms
from strop.optimize.study import Study, read_study

FLOAT, QUANTIZED = "openvino f32, threads 1", "openvino int8, threads 1"


def keys(path: Path) -> list[str]:
    with closing(read_study(path)) as study:
        return [trial["trial"]["key"] for trial in study.trials()]  # type: ignore[index,misc]


def interrupted(world: World, tmp_path: Path, at: str, **options: Any) -> None:
    world.interrupt_at = at
    with pytest.raises(KeyboardInterrupt):
        run(world, tmp_path, **options)
    world.interrupt_at = None


def test_finished_trials_are_not_measured_again_and_the_best_is_raced_on(world: World, tmp_path: Path) -> None:
    world.speeds = {FLOAT: 0.0015, QUANTIZED: 0.001}
    interrupted(world, tmp_path, QUANTIZED)
    finished = keys(tmp_path / "out.study.db")
    assert len(finished) == 4
    world.opened.clear()
    result = run(world, tmp_path, resume=True)
    assert keys(tmp_path / "out.study.db")[: len(finished)] == finished
    assert len(set(keys(tmp_path / "out.study.db"))) == len(keys(tmp_path / "out.study.db"))
    assert world.opened.count("onnxruntime f32, threads 1") == 0
    assert world.opened[:3] == ["onnxruntime f32", FLOAT, QUANTIZED]
    assert result.document["label"] == QUANTIZED
    against = next(trial["against"] for trial in result.document["trials"] if trial["label"] == QUANTIZED)
    assert against == FLOAT
    assert any("4 trials are not measured again" in words for words in result.document["decisions"])
    assert not (tmp_path / "out.study.db.1").exists()


def test_the_int8_models_come_from_the_study_and_are_the_same(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.speeds = {FLOAT: 0.0015, QUANTIZED: 0.001}
    interrupted(world, tmp_path, f"{QUANTIZED}, cpu_pinning True")

    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("quantized again")

    monkeypatch.setattr(int8_forms, "quantize_model", never)
    result = run(world, tmp_path, resume=True)
    assert result.document["label"] == QUANTIZED


def test_a_finished_run_that_is_resumed_confirms_again_and_tries_nothing(world: World, tmp_path: Path) -> None:
    world.speeds = {FLOAT: 0.0015}
    before = keys(run(world, tmp_path).study)
    result = run(world, tmp_path, resume=True)
    assert keys(result.study) == before
    assert result.document["confirmed"]
    assert result.document["label"] == FLOAT


def test_what_had_no_time_is_tried_when_there_is_more(world: World, tmp_path: Path) -> None:
    world.speeds = {FLOAT: 0.0015, QUANTIZED: 0.001}
    world.opening = dict.fromkeys((FLOAT, QUANTIZED), 4.0)
    first = run(world, tmp_path, budget="18s")
    assert "not tried" in statuses(first).values()
    second = run(world, tmp_path, budget="300s", resume=True)
    assert "not tried" not in statuses(second).values()
    assert second.document["label"] == QUANTIZED
    assert second.document["plan"]["shares"] == first.document["plan"]["shares"], "what confirms has chosen nothing"


def test_an_engine_found_hopeless_is_not_asked_again(world: World, tmp_path: Path) -> None:
    world.refuses = {"openvino"}
    interrupted(world, tmp_path, "onnxruntime int8, threads 1")
    world.opened.clear()
    result = run(world, tmp_path, resume=True)
    assert FLOAT not in world.opened
    assert statuses(result)[FLOAT] == "unsupported"


def test_a_best_that_no_longer_opens_is_tried_anew(world: World, tmp_path: Path) -> None:
    world.speeds = {FLOAT: 0.0015}
    interrupted(world, tmp_path, "onnxruntime int8, threads 1")
    world.refuses = {"openvino"}
    result = run(world, tmp_path, resume=True)
    assert result.document["engine"] == "onnxruntime"
    assert any("cannot be opened again" in warning for warning in result.document["warnings"])
    assert result.document["trials"][-1]["status"] != "kept"


@pytest.mark.parametrize(
    ("change", "of"),
    [
        ({"max_drop": 0.02}, "limit on accuracy"),
        ({"objective": "throughput"}, "objective"),
        ({"max_memory": "2GB"}, "limit"),
        ({"labels": [0] * len(IMAGES)}, "data set"),
        ({"engines": ["onnxruntime"]}, "version of Strop or an engine"),
    ],
)
def test_a_study_of_something_else_is_refused_untouched(
    world: World, tmp_path: Path, change: dict[str, Any], of: str
) -> None:
    interrupted(world, tmp_path, QUANTIZED)
    before = (tmp_path / "out.study.db").read_bytes()
    with pytest.raises(UsageError) as caught:
        run(world, tmp_path, resume=True, **change)
    assert caught.value.code == "study.other"
    assert of in str(caught.value)
    assert (tmp_path / "out.study.db").read_bytes() == before


def test_another_machine_is_refused(world: World, tmp_path: Path) -> None:
    interrupted(world, tmp_path, QUANTIZED)
    with closing(Study(tmp_path / "out.study.db")) as study:
        study.fact("machine", {"fingerprint": "another"})
    with pytest.raises(UsageError, match="another machine"):
        run(world, tmp_path, resume=True)


def test_without_a_study_there_is_nothing_to_resume(world: World, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no study to resume"):
        run(world, tmp_path, resume=True)
    assert not (tmp_path / "out.study.db").exists()


def test_a_run_killed_before_it_wrote_anything_is_resumed_as_a_new_one(world: World, tmp_path: Path) -> None:
    (tmp_path / "out.study.db").touch()
    assert run(world, tmp_path, resume=True).document["confirmed"]


def test_a_trial_that_was_tampered_with_is_refused(world: World, tmp_path: Path) -> None:
    interrupted(world, tmp_path, QUANTIZED)
    with closing(sqlite3.connect(tmp_path / "out.study.db", isolation_level=None)) as connection:
        connection.execute("""update trials set result = replace(result, '"openvino"', '"os.system"')""")
    with pytest.raises(FileError) as caught:
        run(world, tmp_path, resume=True)
    assert caught.value.code == "study.not-a-study"


def test_a_bundle_whose_worker_is_killed_is_confirmed_again(world: World, tmp_path: Path) -> None:
    world.speeds = {FLOAT: 0.0015}
    world.bundle_crashes = 1
    result = run(world, tmp_path)
    assert result.document["label"] == FLOAT
    assert any("is done again" in warning for warning in result.document["warnings"])


def test_a_full_disk_hides_neither_its_reason_nor_the_best_so_far(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.speeds = {FLOAT: 0.0015}
    add = Study.add

    def full(study: Study, result: Any) -> None:
        if "int8" in result.spec.label:
            monkeypatch.setattr(Study, "_write", refuse)
        add(study, result)

    def refuse(*arguments: object) -> None:
        raise FileError("file.write", "the study cannot be written", got="disk full", hint="free some space")

    monkeypatch.setattr(Study, "add", full)
    with pytest.raises(FileError, match="the study cannot be written"):
        run(world, tmp_path)
    assert (tmp_path / "out.strop").read_text() == FLOAT
    monkeypatch.undo()
    assert len(keys(tmp_path / "out.study.db")) == 3, "what was finished before is there"


def test_a_disk_that_is_full_elsewhere_is_a_clear_error(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device", "/tmp/model.onnx")

    monkeypatch.setattr(int8_forms, "quantize_model", full)
    with pytest.raises(FileError) as caught:
        run(world, tmp_path)
    assert caught.value.code == "file.write"
    assert "No space left" in str(caught.value)
    assert "--resume" in caught.value.hint
    assert (tmp_path / "out.strop").exists()


def test_an_interrupt_after_the_confirmation_does_not_take_it_back(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("strop.optimize.afterwards.STEPS", [("ablation", interrupt)])
    with pytest.raises(KeyboardInterrupt):
        run(world, tmp_path)
    with closing(read_study(tmp_path / "out.study.db")) as study:
        assert "confirmation" in study.facts()
        assert "interrupted" not in study.facts()


def test_a_budget_that_ends_in_the_search_still_confirms(world: World, tmp_path: Path) -> None:
    world.speeds = {FLOAT: 0.0015}
    world.opening = dict.fromkeys(("onnxruntime int8, threads 1", QUANTIZED), 4.0)
    result = run(world, tmp_path, budget="20s")
    assert result.document["confirmed"]
    assert world.clock.now() <= 22.0


def test_every_decision_says_what_replays_it(world: World, tmp_path: Path) -> None:
    world.speeds = {FLOAT: 0.0015}
    result = run(world, tmp_path, command="strop optimize c.onnx")
    with closing(read_study(result.study)) as study:
        rows = study.decision_rows()
    assert rows
    assert all(row.command for row in rows)
    about = next(row for row in rows if row.words.startswith(f"{FLOAT}: kept"))
    assert about.command == f"strop replay {result.study} {about.key}"


def test_a_baseline_that_is_near_chance_stays_so_when_resumed(world: World, tmp_path: Path) -> None:
    shuffled = [(label + 1) % 5 for label in world.labels]
    for resume in (False, True):
        with pytest.raises(LimitError):
            run(world, tmp_path, labels=shuffled, resume=resume)
    assert np.all([len(keys(tmp_path / "out.study.db")) == 1])
