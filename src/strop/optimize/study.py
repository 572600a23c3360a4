"""The record of a run: every finished trial and every decision, in one SQLite file, written as they happen."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from strop.documents import to_text
from strop.errors import FileError
from strop.measure.clock import timestamp
from strop.optimize.trial import TrialResult

_TABLES = """
create table if not exists facts (name text primary key, value text not null);
create table if not exists trials
    (number integer primary key, key text not null, finished text not null, result text not null);
create table if not exists decisions (number integer primary key, made text not null, words text not null);
"""


class Study:
    """An open study. A trial is on disk as soon as `add` returns, so no later failure loses it.

    Example:
        >>> study = Study(":memory:")
        >>> study.decide("kept: openvino f32")
        >>> study.decisions()
        ['kept: openvino f32']
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._connection.executescript(_TABLES)
        except sqlite3.Error as error:
            raise FileError(
                "file.write",
                "the study cannot be written",
                where=str(path),
                got=error,
                hint="choose an output folder that exists, is writable and not full (-o)",
            ) from error

    def fact(self, name: str, value: object) -> None:
        """Records a fact of the whole run (model, machine, command, plan, confirmation)."""
        self._write("insert or replace into facts values (?, ?)", (name, to_text(value)))

    def add(self, result: TrialResult) -> None:
        """Records a finished trial."""
        row = (result.spec.key, timestamp(), to_text(result.to_json()))
        self._write("insert into trials (key, finished, result) values (?, ?, ?)", row)

    def decide(self, words: str) -> None:
        """Records a decision in words."""
        self._write("insert into decisions (made, words) values (?, ?)", (timestamp(), words))

    def facts(self) -> Mapping[str, object]:
        """Returns the facts by name."""
        return {name: json.loads(value) for name, value in self._read("select name, value from facts")}

    def trials(self) -> list[dict[str, object]]:
        """Returns the finished trials in order, as JSON objects."""
        return [json.loads(str(row[0])) for row in self._read("select result from trials order by number")]

    def decisions(self) -> list[str]:
        """Returns the decisions in order."""
        return [str(row[0]) for row in self._read("select words from decisions order by number")]

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise FileError(
                "file.write",
                "the study cannot be written",
                where=str(self.path),
                got=error,
                hint="free some space; what was finished before is in the file",
            ) from error

    def _read(self, statement: str) -> list[tuple[str, ...]]:
        with closing(self._connection.execute(statement)) as cursor:
            return cursor.fetchall()
