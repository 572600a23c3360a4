"""Labels given apart from the data: a .csv, .npy or .txt file, or a sequence.

A label read from text becomes a whole number where every label of the file is one, written plainly (so that the text
"007" stays text); everything else stays the text it is, and metrics of numbers convert it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from strop.errors import DataError

_WHOLE = re.compile(r"^(0|-?[1-9][0-9]*)$")


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels in order; `paths` where each names its sample (a CSV file with a column `path`)."""

    values: tuple[object, ...]
    name: str
    paths: tuple[str, ...] | None = None
    what: str = "label"

    def check_count(self, samples: int) -> None:
        """Raises DataError (`data.labels`) unless there is one label per sample."""
        if len(self.values) != samples:
            raise DataError(
                "data.labels",
                f"there is not one {self.what} per sample",
                where=self.name,
                got=f"{len(self.values)} {self.what}s",
                expected=f"{samples} (the number of samples)",
                hint=f"check that {self.what}s and data belong together and are in the same order",
            )


def read_labels(labels: str | Path | Sequence[object] | np.ndarray, *, column: str = "label") -> Labels:
    """Returns labels from a file's path or a sequence; column: what they are, and which column of a CSV file."""
    return replace(_read(labels, column), what=column)


def _read(labels: str | Path | Sequence[object] | np.ndarray, column: str) -> Labels:
    if isinstance(labels, (str, Path)):
        path = Path(labels)
        if not path.is_file():
            raise DataError("data.missing", f"the {column}s file is not there", where=str(path), hint="check the path")
        readers = {".csv": lambda path: _read_csv(path, column), ".npy": _read_npy, ".txt": _read_txt}
        if path.suffix.lower() not in readers:
            raise DataError(
                "data.format",
                "labels of this kind cannot be read",
                where=str(path),
                got=path.suffix or "no suffix",
                expected=", ".join(readers),
                hint=f"write a CSV file with the header path,{column}",
            )
        return readers[path.suffix.lower()](path)
    return Labels(tuple(_plain(label) for label in labels), f"{column}s")


def typed(texts: Iterable[str]) -> tuple[object, ...]:
    """Returns texts as whole numbers where all of them are plainly written ones, else as they are."""
    texts = tuple(texts)
    return tuple(int(text) for text in texts) if texts and all(map(_WHOLE.match, texts)) else texts


def _plain(label: object) -> object:
    if isinstance(label, np.generic) or (isinstance(label, np.ndarray) and label.ndim == 0):
        return label.item()
    return label


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            "data.format", "the file is not UTF-8 text", where=str(path), got=str(error), hint="save it as UTF-8"
        ) from error


def _read_csv(path: Path, column: str) -> Labels:
    rows = [row for row in csv.reader(_text(path).splitlines(), skipinitialspace=True) if row]
    header = [cell.strip() for cell in rows[0]] if rows else []
    if column not in header:
        raise DataError(
            "data.labels",
            f"the file has no column {column!r}",
            where=str(path),
            got=",".join(header)[:80] or "an empty file",
            expected=f"path,{column}",
            hint=f"make the first line the header path,{column}",
        )
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise DataError(
                "data.labels",
                f"row {number} has another number of cells than the header",
                where=str(path),
                got=len(row),
                expected=len(header),
                hint='put values that hold a comma into quotes: "a, b"',
            )
    values = typed(row[header.index(column)] for row in rows[1:])
    paths = tuple(row[header.index("path")].strip() for row in rows[1:]) if "path" in header else None
    return Labels(values, str(path), paths)


def _read_npy(path: Path) -> Labels:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(
            "data.format", "not a .npy file of numbers or text", where=str(path), got=str(error), hint="use np.save"
        ) from error
    if array.ndim == 0:
        raise DataError(
            "data.labels", "a single value is no list of labels", where=str(path), got=array, hint="one label a sample"
        )
    return Labels(tuple(_plain(label) for label in array), str(path))


def _read_txt(path: Path) -> Labels:
    text = _text(path)
    lines = text.removesuffix("\n").split("\n") if text else []
    return Labels(typed(line.removesuffix("\r") for line in lines), str(path))
