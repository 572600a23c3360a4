from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from strop.errors import FileError
from strop.measure.estimate import Estimate, Speedup, Verdict
from strop.optimize.study import MOST_SAMPLES, Study, read_study
from strop.optimize.trial import Samples, TrialResult, TrialSpec

SPEC = TrialSpec("model", "data", "openvino", "int8", "latency", {"threads": 2})
SPEEDUP = Speedup(Estimate(1.4, 1.3, 1.5, 0.99, 40), Verdict.FASTER, 0.03)

OLD_TABLES = """
create table facts (name text primary key, value text not null);
create table trials (number integer primary key, key text not null, finished text not null, result text not null);
create table decisions (number integer primary key, made text not null, words text not null);
insert into facts values ('schema', '"strop.optimize/1"');
insert into decisions (made, words) values ('2026-01-01', 'kept it');
"""


def test_what_was_added_is_there_for_another_reader_at_once(tmp_path: Path) -> None:
    study = Study(tmp_path / "s.study.db")
    study.add(TrialResult(SPEC, "kept", "faster", latency=Estimate(0.002, 0.001, 0.003, 0.95, 100), speedup=SPEEDUP))
    study.decide("kept it")
    study.fact("plan", {"seconds": 12})
    other = read_study(tmp_path / "s.study.db")  # the first is still open: nothing waits for a close
    assert [trial["label"] for trial in other.trials()] == ["openvino int8, threads 2"]
    latency = other.trials()[0]["latency_ms"]
    assert isinstance(latency, dict) and latency["point"] == pytest.approx(2.0)
    assert other.decisions() == ["kept it"]
    assert other.facts() == {"plan": {"seconds": 12}}
    study.close()
    other.close()


def test_samples_lie_beside_their_trial_thinned_evenly(tmp_path: Path) -> None:
    with closing(Study(tmp_path / "s.study.db")) as study:
        many = [index / 1000 for index in range(5001)]
        races = [Samples("challenger", "latency", many), Samples("best", "latency", [0.001])]
        study.add(TrialResult(SPEC, "kept", "faster", samples=races))
        study.add_samples("other", [Samples("after", "throughput", [0.25])])
        challenger, best, after = study.samples()
    assert (challenger["key"], challenger["role"], challenger["taken"]) == (SPEC.key, "challenger", 5001)
    seconds = challenger["seconds"]
    assert isinstance(seconds, list) and len(seconds) == MOST_SAMPLES
    assert (seconds[0], seconds[-1]) == (0.0, 5.0)
    assert float(np.diff(seconds).max()) < 0.004
    assert best["seconds"] == [0.001]
    assert (after["key"], after["kind"], after["seconds"]) == ("other", "throughput", [0.25])


def test_a_trial_and_its_samples_go_in_together_or_not_at_all(tmp_path: Path) -> None:
    with closing(Study(tmp_path / "s.study.db")) as study:
        bad = Samples("best", "latency", [0.1])
        object.__setattr__(bad, "role", None)  # what the table refuses
        with pytest.raises(FileError):
            study.add(TrialResult(SPEC, "kept", "faster", samples=[Samples("challenger", "latency", [0.1]), bad]))
        assert study.trials() == []
        assert study.samples() == []
        study.add(TrialResult(SPEC, "kept", "faster"))  # and the study goes on
        assert len(study.trials()) == 1


def test_a_decision_carries_what_it_is_about_and_what_replays_it(tmp_path: Path) -> None:
    with closing(Study(tmp_path / "s.study.db")) as study:
        study.decide("kept", key=SPEC.key, command="strop replay s.study.db 1")
        study.decide("enough")
    with closing(read_study(tmp_path / "s.study.db")) as read:
        about, plain = read.decision_rows()
    assert (about.words, about.key, about.command) == ("kept", SPEC.key, "strop replay s.study.db 1")
    assert (plain.key, plain.command) == (None, None)


def test_a_study_of_an_older_version_is_read_and_continued(tmp_path: Path) -> None:
    path = tmp_path / "old.study.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLD_TABLES)
    with closing(read_study(path)) as read:
        assert read.decisions() == ["kept it"]
        assert read.decision_rows()[0].command is None
        assert read.samples() == []
        assert read.model("abc") is None
    with closing(Study(path)) as study:
        study.decide("and more", key="k", command="c")
        assert [one.key for one in study.decision_rows()] == [None, "k"]


def test_a_model_that_was_made_is_kept_as_it_was(tmp_path: Path) -> None:
    with closing(Study(tmp_path / "s.study.db")) as study:
        study.add_model("abc", "int8", b"\x00onnx")
        study.add_model("abc", "int8", b"\x00onnx")
        assert study.model("abc") == b"\x00onnx"
        assert study.model("abd") is None


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    Study(tmp_path / "s.study.db").close()
    before = (tmp_path / "s.study.db").read_bytes()
    with closing(read_study(tmp_path / "s.study.db")) as read, pytest.raises(FileError):
        read.decide("no")
    assert (tmp_path / "s.study.db").read_bytes() == before


def test_a_study_in_a_folder_that_may_not_be_written_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "s #1?"  # a name that an address would take apart
    folder.mkdir()
    with closing(Study(folder / "s.study.db")) as study:
        study.decide("kept it")
    (folder / "s.study.db").chmod(0o400)
    folder.chmod(0o500)
    try:
        with closing(read_study(folder / "s.study.db")) as read:
            assert read.decisions() == ["kept it"]
    finally:
        folder.chmod(0o700)


def test_what_a_killed_writer_left_half_done_is_rolled_back_by_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "s.study.db"
    with closing(Study(path)) as study:
        study.decide("finished")
    child = os.fork()
    if child == 0:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("pragma cache_spill = 1")
        connection.execute("pragma cache_size = 1")
        connection.execute("begin")
        for _ in range(200):
            connection.execute("insert into decisions (made, words) values ('', ?)", ("half" * 200,))
        os._exit(9)  # as SIGKILL would: nothing is committed, the journal stays
    os.waitpid(child, 0)
    assert path.with_name("s.study.db-journal").exists()
    with closing(read_study(path)) as read:
        assert read.decisions() == ["finished"]


@pytest.mark.parametrize(
    "statements",
    [
        "create table other (x)",
        OLD_TABLES.replace("strop.optimize/1", "somebody.else/1"),
        OLD_TABLES + "create view extra as select 1",
        OLD_TABLES + "create trigger extra after insert on facts begin select 1; end",
        "create view facts as select 'schema' as name, '\"strop.optimize/1\"' as value",
    ],
)
def test_a_database_that_is_no_study_is_refused(tmp_path: Path, statements: str) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.executescript(statements)
    with pytest.raises(FileError) as caught:
        read_study(tmp_path / "other.db")
    assert caught.value.code == "study.not-a-study"


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
