"""A file is known again without being read as ONNX, and never mistaken for another."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from strop.engines.native import identity
from strop.engines.native.identity import Identity, Known
from strop.engines.source import ModelFile, StoredModel
from strop.model.load import load_model
from strop.testing.models import multilayer_perceptron

HASH, OTHER = Known("1" * 64, "f32"), Known("2" * 64, "int8")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return load_model(multilayer_perceptron()).save(tmp_path / "mlp.onnx")


@pytest.fixture(autouse=True)
def _young_files_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_SETTLED_NANOSECONDS", -1)


def _reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose bytes are read from now on."""
    read: list[Path] = []
    real = Path.open

    def noted(path: Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if mode == "rb":
            read.append(path)
        return real(path, mode, *arguments, **named)

    monkeypatch.setattr(Path, "open", noted)
    return read


def test_an_unknown_file_is_not_known(file: Path, tmp_path: Path) -> None:
    assert Identity(ModelFile(file), tmp_path / "notes").find() is None


def test_a_known_file_is_known_without_reading_it(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Identity(ModelFile(file), tmp_path / "notes")
    assert first.find() is None
    first.note(HASH)
    read = _reads(monkeypatch)
    assert Identity(ModelFile(file), tmp_path / "notes").find() == HASH
    assert read == []


def test_a_copy_is_known_by_its_content_and_then_by_its_stamp(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Identity(ModelFile(file), tmp_path / "notes").note(HASH)
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(file.read_bytes())
    read = _reads(monkeypatch)
    for _ in range(2):
        assert Identity(ModelFile(copy), tmp_path / "notes").find() == HASH
    assert read == [copy]


def test_a_changed_file_with_its_time_set_back_is_not_known(file: Path, tmp_path: Path) -> None:
    Identity(ModelFile(file), tmp_path / "notes").note(HASH)
    before, data = file.stat(), bytearray(file.read_bytes())
    data[-1] ^= 1
    time.sleep(0.02)  # a time step of the file system
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert Identity(ModelFile(file), tmp_path / "notes").find() is None


def test_a_note_as_old_as_the_file_does_not_count(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Identity(ModelFile(file), tmp_path / "notes").note(HASH)
    monkeypatch.setattr(identity, "_SETTLED_NANOSECONDS", 2_000_000_000)
    read = _reads(monkeypatch)
    assert Identity(ModelFile(file), tmp_path / "notes").find() == HASH
    assert read == [file], "a note that may be of the file's state before its last change is not enough"


def test_other_shapes_are_another_model(file: Path, tmp_path: Path) -> None:
    Identity(ModelFile(file), tmp_path / "notes").note(HASH)
    shaped = Identity(ModelFile(file, {"x": (1, 16)}), tmp_path / "notes")
    assert shaped.find() is None
    shaped.note(OTHER)
    assert Identity(ModelFile(file, {"x": [1, 16]}), tmp_path / "notes").find() == OTHER
    assert Identity(ModelFile(file), tmp_path / "notes").find() == HASH


def test_a_stored_model_and_a_file_with_its_content_are_one(file: Path, tmp_path: Path) -> None:
    model = load_model(file)
    Identity(ModelFile(file), tmp_path / "notes").note(HASH)
    stored = StoredModel("mlp", model.inputs, model.outputs, False, file.read_bytes)
    assert Identity(stored, tmp_path / "notes").find() == HASH
    assert Identity(StoredModel.at(file, like=model), tmp_path / "notes").find() == HASH


def test_a_model_that_may_name_other_files_is_never_noted(tmp_path: Path) -> None:
    proto = multilayer_perceptron()
    proto.metadata_props.add(key="location", value="weights.bin")
    path = tmp_path / "external.onnx"
    path.write_bytes(proto.SerializeToString())
    Identity(ModelFile(path), tmp_path / "notes").note(HASH)
    assert Identity(ModelFile(path), tmp_path / "notes").find() is None


@pytest.mark.parametrize("content", [b"", b"no hash", b"\xff" * 64, b"1" * 65, b"1" * 64 + b" f16"])
def test_a_damaged_note_is_no_note(file: Path, tmp_path: Path, content: bytes) -> None:
    Identity(ModelFile(file), tmp_path / "notes").note(HASH)
    for note in (tmp_path / "notes").iterdir():
        note.write_bytes(content)
    assert Identity(ModelFile(file), tmp_path / "notes").find() is None


def test_notes_that_cannot_be_written_are_no_error(file: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("a file")
    Identity(ModelFile(file), tmp_path / "notes").note(HASH)
    assert Identity(ModelFile(file), tmp_path / "notes").find() is None


def test_a_model_in_memory_is_not_looked_up(tmp_path: Path) -> None:
    assert Identity(load_model(multilayer_perceptron()), tmp_path / "notes").find() is None
