"""What tuning measured, kept between runs: for each problem the seconds of every kernel and schedule that was tried.

A file of the cache folder holds the records of one machine, ISA level and version of the kernels, a JSON line each. It
is read only where it is this user's own, and written whole. A line that is no record is ignored with a warning, and so
is a file that cannot be read or written: without records, the cost model chooses.

A record is found by what its problem computes and in which order of axes, not by the exact strides: those are not
known yet when a kernel is chosen, and hardly change its time.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import strop
from strop.compiler.cache_folder import check_own
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Problem
from strop.compiler.layouts import Layout
from strop.compiler.machine_code import toolchain
from strop.machine import Machine, cache_directory, machine

_log = logging.getLogger(__name__)

SCHEMA: Final = "strop.records/1"
FOLDER: Final = "records"
_MEASURED: Final = 2  # how `tune.py` measures: times of another version are none to compare with
_ROOMS: Final = (".", "isa", "kernels")  # of the compiler: what decides a kernel's code

Key = tuple[str, str]
"""A kernel's family and its schedule as text."""


@dataclass(frozen=True, slots=True)
class Record:
    """The seconds of each kernel and schedule that was tried for a problem; rounds: how often each ran."""

    seconds: Mapping[Key, float]
    rounds: int

    @property
    def best(self) -> Key:
        """The quickest."""
        return min(self.seconds, key=lambda key: self.seconds[key])

    def to_json(self) -> dict[str, Any]:
        """Returns it as a JSON object."""
        tried = [[family, schedule, seconds] for (family, schedule), seconds in self.seconds.items()]
        return {"rounds": self.rounds, "tried": tried}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Record:
        """Returns what `to_json` wrote; raises ValueError, TypeError or KeyError for anything else."""
        seconds = {(str(family), str(schedule)): float(time) for family, schedule, time in document["tried"]}
        if not seconds or not all(math.isfinite(time) and time > 0 for time in seconds.values()):
            raise ValueError("times that cannot be")
        return cls(seconds, int(document["rounds"]))


class Records:
    """The records of one machine; kept: by the problem's name. folder: None for that of the cache folder.

    `used` holds those that were asked for and found: what a program was made of.
    """

    def __init__(self, isa: Isa, folder: Path | None = None, *, here: Machine | None = None) -> None:
        self.origin = origin_of(isa, here or machine())
        folder = cache_directory() / FOLDER if folder is None else folder
        name = hashlib.sha256(json.dumps(self.origin).encode()).hexdigest()[:32]
        self.path = folder / f"{name}.records"
        self.kept: dict[str, Record] = _read(self.path)
        self.used: dict[str, Record] = {}

    def find(self, problem: Problem) -> Record | None:
        """Returns what was measured for a problem, and notes that it was used."""
        if not self.kept:
            return None
        name = name_of(problem)
        record = self.kept.get(name)
        if record is not None:
            self.used[name] = record
        return record

    def add(self, problem: Problem, record: Record) -> None:
        """Keeps a record in memory; `save` writes it."""
        self.kept[name_of(problem)] = record

    def save(self) -> None:
        """Writes all records, with those that other processes wrote meanwhile; a failure is a warning."""
        merged = {**_read(self.path), **self.kept}
        lines = [json.dumps({"schema": SCHEMA, **self.origin})]
        lines += [json.dumps({"problem": name, **record.to_json()}) for name, record in sorted(merged.items())]
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, hidden = tempfile.mkstemp(suffix=".part", dir=self.path.parent)
            try:
                with os.fdopen(descriptor, "w", encoding="utf8") as file:
                    file.write("\n".join(lines) + "\n")
                Path(hidden).replace(self.path)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(hidden).unlink()
                raise
        except OSError as error:
            _log.warning("what was measured is not kept: %s: %s", self.path, error)

    @property
    def used_digest(self) -> str:
        """64 hexadecimal digits that stand for every record that was used."""
        what = [[name, record.to_json()] for name, record in sorted(self.used.items())]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def origin_of(isa: Isa, here: Machine) -> dict[str, Any]:
    """Returns what records hold for: CPU, caches, ISA level, one thread, and the kernels' version.

    Times are of one thread: a team divides a kernel's units without changing its schedule.
    """
    return {
        "cpu": here.cpu_name,
        "caches": dict(sorted(here.caches.items())),
        "isa": isa.level,
        "threads": 1,
        "measured": _MEASURED,
        "strop": strop.__version__,
        "toolchain": toolchain(),
        "kernels": _kernels(),
    }


def name_of(problem: Problem) -> str:
    """Returns 16 hexadecimal digits that stand for what a problem computes and in which order its axes lie."""
    return hashlib.sha256(repr(_plain(problem)).encode()).hexdigest()[:16]


@functools.cache
def _kernels() -> str:
    """Returns what changes with the kernels' source: in a checkout the version does not tell."""
    digest = hashlib.sha256()
    for room in _ROOMS:
        for path in sorted(Path(__file__).parent.joinpath(room).glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Returns a problem with its layouts' strides and halos told by the order of axes alone."""
    if isinstance(value, Layout):
        return _ordered(value)
    if isinstance(value, Problem):
        return type(value).__name__, tuple(_plain(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, tuple) and any(isinstance(each, (Layout, Problem)) for each in value):
        return tuple(_plain(each) for each in value)
    return value


def _ordered(layout: Layout) -> tuple[object, ...]:
    """Returns shape, type, the axes from the outermost to the innermost, and what the innermost steps by."""
    axes = [axis for axis, n in enumerate(layout.shape) if n > 1 and layout.strides[axis]]
    axes.sort(key=lambda axis: -abs(layout.strides[axis]))
    repeated = tuple(axis for axis, n in enumerate(layout.shape) if n > 1 and not layout.strides[axis])
    return layout.shape, layout.dtype, tuple(axes), repeated, layout.strides[axes[-1]] if axes else 0, layout.fill


def _read(path: Path) -> dict[str, Record]:
    """Returns the records of a file, without what is none."""
    try:
        check_own(os.lstat(path))
        text = path.read_text(encoding="utf8", errors="replace")
    except FileNotFoundError:
        return {}
    except OSError as error:
        _log.warning("ignored records that cannot be used: %s: %s", path, error)
        return {}
    records, damaged = {}, 0
    for line in text.splitlines():
        try:
            document = json.loads(line)
            if "schema" not in document:
                records[str(document["problem"])] = Record.from_json(document)
            elif document["schema"] != SCHEMA:
                raise ValueError("of another version")
        except (ValueError, TypeError, KeyError):
            damaged += 1
    if damaged:
        _log.warning("ignored %d damaged lines of records: %s", damaged, path)
    return records
