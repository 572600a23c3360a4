from __future__ import annotations

from pathlib import Path

import pytest

from strop.errors import FileError
from strop.optimize.study import Study, read_study


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
