"""Labels given apart from the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from strop.errors import DataError
from strop.quality.labels import read_labels


def test_csv_columns_go_by_the_header(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes(b'\xef\xbb\xbfname, label ,path\r\nx,"a, b",1.png\r\n\r\ny,c,2.png\r\n')
    labels = read_labels(tmp_path / "l.csv")
    assert labels.values == ("a, b", "c") and labels.paths == ("1.png", "2.png")


def test_text_becomes_numbers_only_where_nothing_is_lost(tmp_path: Path) -> None:
    for content, values in (("3\n0\n-1\n", (3, 0, -1)), ("007\n12\n", ("007", "12")), ("3\nx\n", ("3", "x"))):
        (tmp_path / "l.txt").write_text(content)
        assert read_labels(tmp_path / "l.txt").values == values


def test_a_text_file_keeps_empty_lines_and_spaces(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_bytes(b"two words\r\n\r\n end \n")
    assert read_labels(tmp_path / "l.txt").values == ("two words", "", " end ")


def test_arrays_give_plain_numbers_or_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "l.npy", np.array([2, 1], np.int64))
    values = read_labels(tmp_path / "l.npy").values
    assert values == (2, 1) and all(type(value) is int for value in values)
    assert [value.shape for value in read_labels(np.zeros((3, 4))).values] == [(4,)] * 3


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("l.csv", b"path,class\na,1\n", "data.labels"),
        ("l.csv", b"", "data.labels"),
        ("l.csv", b"path,label\na,b,c\n", "data.labels"),
        ("l.csv", b"\xff\xfe\x00", "data.format"),
        ("l.npy", b"text", "data.format"),
        ("l.json", b"[]", "data.format"),
    ],
)
def test_what_is_no_list_of_labels_is_refused(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_labels(tmp_path / name)
    assert caught.value.code == code and name in str(caught.value)


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_labels(tmp_path / "l.csv")
    assert caught.value.code == "data.missing"
