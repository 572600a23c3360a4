from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.conftest import Strop


def test_doctor_knows_the_machine_and_the_engines(strop: Strop) -> None:
    ran = strop("doctor", "--seconds", 2, "--json")
    assert ran.code == 0, ran.stderr
    document = ran.document
    assert document["machine"]["cores"] >= 1
    engines = {engine["name"]: engine for engine in document["engines"]}
    assert engines["onnxruntime"]["available"]
    assert engines["onnxruntime"]["version"]
    assert "reference" in engines
    assert sum(document["noise"]["verdicts"].values()) > 0


def test_doctor_measures_what_a_thread_attains(strop: Strop) -> None:
    ran = strop("doctor", "--seconds", 0, "--rates", "--json")
    assert ran.code == 0, ran.stderr
    assert set(ran.document["attainable"]) == {"flops", "int8", "bandwidth"}
    assert strop("doctor", "--seconds", 0, "--json").document["attainable"] is None


def test_the_cache_is_shown_and_cleared(strop: Strop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STROP_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "cache" / "stamps").mkdir(parents=True)
    (tmp_path / "cache" / "stamps" / ("0" * 32)).touch()
    (tmp_path / "cache" / "mine.txt").touch()
    shown = strop("cache", "--json").document
    assert (shown["schema"], shown["folder"]) == ("strop.cache/1", str(tmp_path / "cache"))
    assert {kind["kind"]: kind["entries"] for kind in shown["kinds"]}["stamps"] == 1
    cleared = strop("cache", "--clear", "--json")
    assert cleared.document["cleared"] == {"entries": 1, "bytes": 0}
    assert "removed 1 entries" in cleared.stderr
    assert [kind["entries"] for kind in cleared.document["kinds"]] == [0, 0, 0, 0]
    assert (tmp_path / "cache" / "mine.txt").exists()


def test_inspect_says_what_a_model_is(strop: Strop, classifier: Path) -> None:
    ran = strop("inspect", classifier, "--json")
    assert ran.code == 0, ran.stderr
    assert ran.document["schema"] == "strop.inspect/1"
    assert "[batch, 3, 16, 16]" in ran.stderr  # rich would take it for markup
    assert ran.document["operators"]["Conv"] >= 1
    assert ran.document["macs"] > 0
    assert ran.document["free_sizes"] == ["batch"]


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"this is a text file, not a model\n" * 4, "model.not-onnx"), (b"", "model.truncated")],
)
def test_what_is_no_model_is_refused(strop: Strop, tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    ran = strop("inspect", "bad.onnx", "--json")
    assert ran.code == 5
    assert ran.document["error"]["code"] == code
    assert "try:" in ran.stderr


def test_a_truncated_model_is_refused(strop: Strop, classifier: Path) -> None:
    content = classifier.read_bytes()
    classifier.write_bytes(content[: len(content) // 2])
    ran = strop("inspect", classifier, "--json")
    assert ran.code == 5
    assert ran.document["error"]["code"] == "model.truncated"


def test_a_file_that_could_run_code_is_refused(strop: Strop, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"\x80\x04")
    ran = strop("inspect", "model.pt", "--json")
    assert ran.code == 2
    assert ran.document["error"]["code"] == "usage.refused-file"
    assert "ONNX" in ran.document["error"]["hint"]


def test_a_missing_option_is_a_usage_error(strop: Strop) -> None:
    assert strop("optimize", "model.onnx").code == 2
    assert strop("no-such-command").code == 2


def test_the_version_is_printed_on_stdout(strop: Strop) -> None:
    ran = strop("--version")
    assert ran.code == 0
    assert ran.stdout.startswith("strop ")


def test_every_command_explains_itself(strop: Strop) -> None:
    from strop.cli.app import COMMANDS

    for name in COMMANDS:
        ran = strop(name, "--help")
        assert ran.code == 0
        assert "--json" in ran.stdout
