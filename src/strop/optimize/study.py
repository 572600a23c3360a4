"""The record of a run: every finished trial and every decision, in one SQLite file, written as they happen.

A trial and its raw samples go in together or not at all, and are on disk when `add` returns: whatever ends the process
then, SIGKILL included, the next to open the file finds them. `read_study` opens a file that came from anywhere.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from strop.documents import to_text
from strop.errors import FileError, UsageError
from strop.measure.clock import timestamp
from strop.optimize.study_lock import StudyLock
from strop.optimize.trial import Samples, TrialResult

_TABLES = """
begin;
create table if not exists facts (name text primary key, value text not null);
create table if not exists trials
    (number integer primary key, key text not null, finished text not null, result text not null);
create table if not exists decisions
    (number integer primary key, made text not null, words text not null, key text, command text);
create table if not exists samples
    (number integer primary key, key text not null, role text not null, kind text not null, taken integer not null,
     seconds text not null);
create table if not exists models (sha256 text primary key, name text not null, onnx blob not null);
commit;
"""
_LATER_COLUMNS = {"decisions": ("key", "command")}
"""What studies of older versions lack; they are read as they are, and get it when a run continues them."""
_NEEDED = ("facts", "trials", "decisions")
_HEADER = b"SQLite format 3\0"
MOST_SAMPLES = 2000
"""Of each contender and race that are kept; more are thinned evenly."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision in words, the trial it is about (None: the run), and the command that replays what it rests on."""

    words: str
    made: str
    key: str | None
    command: str | None


class Study:
    """An open study. A trial is on disk as soon as `add` returns, so no later failure loses it.

    Raises FileError where it cannot be written, UsageError `study.busy` while another run writes it.

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
            for table, columns in _LATER_COLUMNS.items():
                for column in sorted(set(columns) - self._columns(table)):
                    self._connection.execute(f"alter table {table} add column {column} text")
        except sqlite3.Error as error:
            raise FileError(
                "file.write",
                "the study cannot be written",
                where=str(path),
                got=error,
                hint="choose an output folder that exists, is writable and not full (-o)",
            ) from error
        try:
            self._lock: StudyLock | None = StudyLock(self.path)
        except UsageError:
            self._connection.close()
            raise

    def fact(self, name: str, value: object) -> None:
        """Records a fact of the whole run (model, machine, command, plan, confirmation)."""
        self._write("insert or replace into facts values (?, ?)", (name, to_text(value)))

    def add(self, result: TrialResult) -> None:
        """Records a finished trial with its raw samples."""
        row = (result.spec.key, timestamp(), to_text(result.to_json()))
        with self._at_once():
            self._write("insert into trials (key, finished, result) values (?, ?, ?)", row)
            self._add_samples(result.spec.key, result.samples)

    def forget_untried(self) -> None:
        """Removes the trials that an earlier run had no time for: they are not finished."""
        for record in self.trials():
            trial: Any = record
            if trial["status"] == "not tried":
                self._write("delete from trials where key = ?", (trial["trial"]["key"],))

    def add_samples(self, key: str, samples: Sequence[Samples]) -> None:
        """Records raw samples that are no trial's: those of the confirmation of the form `key`."""
        with self._at_once():
            self._add_samples(key, samples)

    def decide(self, words: str, *, key: str | None = None, command: str | None = None) -> None:
        """Records a decision in words; key: the trial it is about; command: what replays it."""
        row = (timestamp(), words, key, command)
        self._write("insert into decisions (made, words, key, command) values (?, ?, ?, ?)", row)

    def add_model(self, sha256: str, name: str, onnx: bytes) -> None:
        """Keeps a model that the run made, so that it can be continued and replayed without making it again."""
        self._write("insert or ignore into models values (?, ?, ?)", (sha256, name, onnx))

    def facts(self) -> Mapping[str, object]:
        """Returns the facts by name."""
        return {name: json.loads(value) for name, value in self._read("select name, value from facts")}

    def trials(self) -> list[dict[str, object]]:
        """Returns the finished trials in order, as JSON objects."""
        return [json.loads(str(row[0])) for row in self._read("select result from trials order by number")]

    def decisions(self) -> list[str]:
        """Returns the decisions in order, in words."""
        return [one.words for one in self.decision_rows()]

    def decision_rows(self) -> list[Decision]:
        """Returns the decisions in order."""
        later = _LATER_COLUMNS["decisions"]
        shown = ", ".join(later if set(later) <= self._columns("decisions") else ("null",) * len(later))
        rows = self._read(f"select words, made, {shown} from decisions order by number")
        return [Decision(str(words), str(made), key, command) for words, made, key, command in rows]

    def samples(self) -> list[dict[str, object]]:
        """Returns the raw samples in the order of the races, a row for each contender of each.

        key: the trial; role: "challenger", "best" (what it was raced against), "before", "after" (the confirmation);
        kind: "latency" (seconds of a request) or "throughput" (seconds per inference with many in flight); taken: how
        many there were; seconds: at most 2000 of them, evenly spread, in order.
        """
        if not self._columns("samples"):
            return []
        rows = self._read("select key, role, kind, taken, seconds from samples order by number")
        return [
            {"key": key, "role": role, "kind": kind, "taken": taken, "seconds": json.loads(seconds)}
            for key, role, kind, taken, seconds in rows
        ]

    def model(self, sha256: str) -> bytes | None:
        """Returns a model that `add_model` kept, None where it did not."""
        if not self._columns("models"):
            return None
        rows = self._read("select onnx from models where sha256 = ?", (sha256,))
        return bytes(rows[0][0]) if rows else None

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()
        if self._lock is not None:
            self._lock.release()

    @classmethod
    def _reading(cls, path: Path, connection: sqlite3.Connection) -> Study:
        study = cls.__new__(cls)
        study.path, study._connection, study._lock = path, connection, None
        return study

    def _columns(self, table: str) -> set[str]:
        return {str(row[1]) for row in self._read(f"pragma table_info({table})")}

    def _add_samples(self, key: str, samples: Sequence[Samples]) -> None:
        for one in samples:
            row = (key, one.role, one.kind, len(one.seconds), to_text(_thinned(one.seconds)))
            self._write("insert into samples (key, role, kind, taken, seconds) values (?, ?, ?, ?, ?)", row)

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """Puts what the body writes into one transaction."""
        self._write("begin immediate", ())
        try:
            yield
            self._write("commit", ())
        except BaseException:
            if self._connection.in_transaction:
                self._connection.rollback()
            raise

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

    def _read(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            with closing(self._connection.execute(statement, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise FileError(
                "file.read",
                "the study cannot be read",
                where=str(self.path),
                got=error,
                hint="the file is damaged or in use: copy it and try the copy, or run the search again",
            ) from error


def read_study(path: str | Path) -> Study:
    """Returns the study at `path`, for reading only; it may come from anywhere, and nothing in it is executed.

    Raises FileError: `file.read` where there is no such file, `study.not-a-study` where it is something else.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            header = file.read(len(_HEADER))
    except OSError as error:
        raise FileError(
            "file.read",
            "the study cannot be read",
            where=str(path),
            got=error.strerror,
            hint="`strop optimize -o NAME.strop` writes NAME.study.db",
        ) from error
    if header != _HEADER:
        raise _no_study(path, "no SQLite file" if header else "an empty file")
    connection = _open_for_reading(path)
    try:
        connection.execute("pragma query_only = on")
        connection.execute("pragma trusted_schema = off")
        kinds = dict(connection.execute("select name, sql from sqlite_master where type = 'table'").fetchall())
        others = connection.execute("select name from sqlite_master where type in ('view', 'trigger')").fetchall()
        virtual = [name for name, sql in kinds.items() if "virtual" in str(sql).lower().partition("(")[0]]
        if others or virtual or not set(_NEEDED) <= set(kinds):
            raise _no_study(path, f"tables {', '.join(sorted(kinds)) or 'none'}")
        row = connection.execute("select value from facts where name = 'schema'").fetchone()
        schema = json.loads(row[0]) if row else "none"
        if row and not str(schema).startswith("strop.optimize/"):
            raise _no_study(path, f"schema {schema}")
    except (sqlite3.Error, ValueError) as error:
        connection.close()
        raise _no_study(path, error) from error
    except BaseException:
        connection.close()
        raise
    return Study._reading(path, connection)


def _open_for_reading(path: Path) -> sqlite3.Connection:
    """Returns a connection that only reads; what a killed run left half written is rolled back first.

    SQLite can roll back only where it may write, and needs no other permission for a file without a journal.
    """
    journal = path.with_name(path.name + "-journal")
    try:
        if journal.exists():
            with closing(sqlite3.connect(path)) as writing:
                writing.execute("select count(*) from sqlite_master").fetchone()
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise _no_study(path, error) from error


def _no_study(path: Path, got: object) -> FileError:
    return FileError(
        "study.not-a-study",
        "the file is not a study",
        where=str(path),
        got=got,
        expected="what `strop optimize` writes beside the bundle",
        hint="give the .study.db file",
    )


def _thinned(seconds: Sequence[float] | np.ndarray) -> list[float]:
    """Returns at most MOST_SAMPLES of the samples, evenly spread, to six digits."""
    values = np.asarray(seconds, dtype=float)
    if len(values) > MOST_SAMPLES:
        values = values[np.linspace(0, len(values) - 1, MOST_SAMPLES).round().astype(int)]
    return [float(f"{value:.6g}") for value in values]
