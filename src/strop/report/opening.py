"""Reads a study file into a record: whatever is wrong with the file is one clear error."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from strop.errors import FileError
from strop.optimize.study import read_study
from strop.report.record import Record, record_of


def open_record(path: str | Path) -> Record:
    """Returns what the study at `path` holds; nothing in it is executed, and it is not changed.

    Raises FileError: `file.read` where it cannot be read, `study.not-a-study` where it is something else.
    """
    return record_of(study_contents(path))


def page_path(study: str | Path) -> Path:
    """Returns where the page of a study is written unless told otherwise: beside it.

    Example:
        >>> page_path("runs/model.study.db").as_posix()
        'runs/model.report.html'
    """
    path = Path(study)
    return path.with_name(path.name.removesuffix(".db").removesuffix(".study") + ".report.html")


def study_contents(path: str | Path) -> dict[str, Any]:
    """Returns facts, trials, decisions and samples of the study at `path` as JSON objects."""
    with closing(read_study(path)) as study:
        try:
            return {
                "facts": dict(study.facts()),
                "trials": study.trials(),
                "decisions": [asdict(one) for one in study.decision_rows()],
                "samples": study.samples(),
            }
        except (ValueError, TypeError, RecursionError) as error:
            raise FileError(
                "file.read",
                "the study is damaged",
                where=str(path),
                got="a row is no JSON" if isinstance(error, json.JSONDecodeError) else error,
                hint="copy the file from where it was made again, or run the search again",
            ) from error
