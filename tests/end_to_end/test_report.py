"""`strop report`: from a study's file to a page or a document, whatever file it is given."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from strop.cli.app import build
from strop.documents import to_text
from tests import study_documents


def write_study(path: Path, contents: dict[str, Any], *, old: bool = False) -> Path:
    """Writes a study with the tables of today, or of the first version: facts, trials, decisions in words only."""
    connection = sqlite3.connect(path)
    connection.executescript(
        "create table facts (name text primary key, value text not null);"
        "create table trials (number integer primary key, key text, finished text, result text);"
        "create table decisions (number integer primary key, made text not null, words text not null);"
    )
    for name, fact in contents["facts"].items():
        connection.execute("insert into facts values (?, ?)", (name, to_text(fact)))
    for row in contents["trials"]:
        values = (row["trial"]["key"], "2026", to_text(row))
        connection.execute("insert into trials (key, finished, result) values (?, ?, ?)", values)
    for row in contents["decisions"]:
        connection.execute("insert into decisions (made, words) values ('2026', ?)", (row["words"],))
    if not old:
        connection.executescript(
            "alter table decisions add column key text; alter table decisions add column command text;"
            "create table samples"
            " (number integer primary key, key text, role text, kind text, taken integer, seconds text);"
        )
        for row in contents["samples"]:
            values = (row["key"], row["role"], row["kind"], row["taken"], to_text(row["seconds"]))
            statement = "insert into samples (key, role, kind, taken, seconds) values (?, ?, ?, ?, ?)"
            connection.execute(statement, values)
    connection.commit()
    connection.close()
    return path


def run(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(build(), ["report", *map(str, words)])
    return result.exit_code, result.stdout, result.stderr


def test_the_page_is_written_beside_the_study(tmp_path: Path) -> None:
    study = write_study(tmp_path / "net.study.db", study_documents.whole())
    code, stdout, stderr = run(study)
    assert (code, stdout) == (0, "")
    page = (tmp_path / "net.report.html").read_text("utf8")
    assert "2.50 times" in page and "density" in page
    assert f"written: {tmp_path / 'net.report.html'}" in stderr
    assert "net runs 2.50 times as fast as before." in stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.report.html", "net.study.db"]


def test_a_study_of_the_first_version_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    study = write_study(tmp_path / "net.study.db", study_documents.as_written_today(), old=True)
    before = study.read_bytes()
    code, _, _ = run(study, "-o", tmp_path / "page.html")
    assert code == 0
    assert "openvino int8, threads 2: kept, faster" in (tmp_path / "page.html").read_text("utf8")
    assert study.read_bytes() == before


def test_json_is_one_document_and_writes_no_page_unless_asked(tmp_path: Path) -> None:
    study = write_study(tmp_path / "net.study.db", study_documents.whole())
    code, stdout, _ = run(study, "--json")
    document = json.loads(stdout)
    assert code == 0
    assert not (tmp_path / "net.report.html").exists()
    assert document["schema"] == "strop.report/1"
    assert document["state"] == "confirmed" and document["gained"] is True
    assert document["confirmation"]["speedup"]["point"] == 2.5
    assert {one["rule"] for one in document["explanations"]} >= {"first inference", "noise"}
    p50, _, p99, p999 = document["percentiles_ms"]["after"]
    assert 1.4 < p50["value"] < 1.8 and p99["value"] > p50["value"] and p999["value"] is None
    assert len(document["trials"]) == 7


@pytest.mark.parametrize("interrupted", [True, False])
def test_a_study_without_an_end_gives_an_honest_page(tmp_path: Path, interrupted: bool) -> None:
    study = write_study(tmp_path / "net.study.db", study_documents.unfinished(interrupted=interrupted))
    code, stdout, stderr = run(study, "--json")
    document = json.loads(stdout)
    assert code == 0
    assert document["state"] == ("interrupted" if interrupted else "unfinished")
    assert document["confirmation"] is None
    assert "confirmed" in stderr


def test_a_file_that_is_no_study_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database")
    sqlite3.connect(tmp_path / "other.db").execute("create table people (name text)").connection.close()
    for name in ("text.db", "other.db"):
        code, _, stderr = run(tmp_path / name)
        assert code == 5
        assert "study.not-a-study" in stderr
    code, _, stderr = run(tmp_path / "missing.study.db")
    assert code == 5
    assert "file.read" in stderr
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.parametrize("text", ["{", '{"a": ' * 3000])
def test_a_damaged_row_is_a_clear_error(tmp_path: Path, text: str) -> None:
    study = write_study(tmp_path / "net.study.db", study_documents.whole())
    with sqlite3.connect(study) as connection:
        connection.execute("update facts set value = ? where name = 'confirmation'", (text,))
    connection.close()
    code, stdout, stderr = run(study, "--json")
    assert code == 5
    assert json.loads(stdout)["error"]["code"] == "file.read"
    assert "the study is damaged" in stderr


def test_a_study_cut_in_two_is_a_clear_error(tmp_path: Path) -> None:
    study = write_study(tmp_path / "net.study.db", study_documents.whole())
    whole = study.read_bytes()
    study.write_bytes(whole[: len(whole) // 2])
    code, _, stderr = run(study)
    assert code == 5
    assert "code: study.not-a-study" in stderr or "code: file.read" in stderr


def test_the_page_is_never_written_over_the_study(tmp_path: Path) -> None:
    study = write_study(tmp_path / "net.study.db", study_documents.whole())
    before = study.read_bytes()
    code, _, stderr = run(study, "-o", study)
    assert code == 2
    assert "written over a file that is read" in stderr
    assert study.read_bytes() == before
    code, _, _ = run(study, "-o", tmp_path / "no" / "page.html")
    assert code == 2


def test_the_demo_writes_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = study_documents.whole()
    study = write_study(tmp_path / "out.study.db", contents)
    facts = contents["facts"]
    document = {**facts, **facts["confirmation"], "trials": contents["trials"], "study": str(study)}
    monkeypatch.setattr("strop.demo.run_demo", lambda *arguments, **options: document)
    result = CliRunner().invoke(build(), ["demo", "--output", str(tmp_path)])
    assert result.exit_code == 0, result.stderr
    assert "2.50 times" in (tmp_path / "out.html").read_text("utf8")


def test_the_page_needs_no_engine(tmp_path: Path) -> None:
    import subprocess
    import sys

    study = write_study(tmp_path / "net.study.db", study_documents.whole())
    script = (
        "import sys; from strop.cli.app import build; from strop.report.opening import open_record;"
        "from strop.report.page import page; page(open_record(sys.argv[1]));"
        "print([name for name in ('onnx', 'onnxruntime', 'openvino', 'llvmlite', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, study], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
