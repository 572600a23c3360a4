"""Ends searches at random moments, over and over, and looks at what they leave."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from strop.loader import open_bundle
from strop.optimize.study import read_study

LONGEST_WAIT = 120


@dataclass
class Killing:
    """A search on a tiny model that is killed and resumed; told: the trials that a run said it had finished."""

    model: Path
    random: random.Random
    told: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    killed: dict[str, int] = field(default_factory=dict)

    @property
    def study(self) -> Path:
        return self.model.with_name("out.study.db")

    def run(self, kind: str) -> int:
        """Runs the search, ends it in some way after a random time, checks what is left; returns its exit code."""
        words = ["optimize", self.model.name, "--data", "data.npz", "--max-drop", "50%", "--budget", "20s"]
        words += ["--engines", "onnxruntime,openvino", "-o", "out.strop"]
        process = subprocess.Popen(
            [sys.executable, "-m", "strop.cli", *words, *(["--resume"] if self.study.exists() else [])],
            cwd=self.model.parent,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            if kind == "finish":
                _, talk = process.communicate(timeout=LONGEST_WAIT)
            else:
                talk = self._end(process, kind)
        finally:
            process.kill()
        self._check(talk)
        return process.returncode

    def _end(self, process: subprocess.Popen[str], kind: str) -> str:
        moment = self.random.uniform(0.3, 9.0)
        try:
            return process.communicate(timeout=moment)[1]  # it was done before
        except subprocess.TimeoutExpired:
            pass
        if kind == "worker":
            workers = psutil.Process(process.pid).children()
            if workers:
                self.random.choice(workers).kill()
            self.killed[kind] = self.killed.get(kind, 0) + 1
            try:
                return process.communicate(timeout=self.random.uniform(0.5, 4.0))[1]
            except subprocess.TimeoutExpired:
                kind = "main"  # it goes on, as it should; now its own end
        process.send_signal(signal.SIGINT if kind == "interrupt" else signal.SIGKILL)
        self.killed[kind] = self.killed.get(kind, 0) + 1
        return process.communicate(timeout=LONGEST_WAIT)[1]

    def _check(self, talk: str) -> None:
        """The study opens and is sound, every trial that was told of is in it, none twice, and no file is torn."""
        # Until its main function is reached, a process answers Ctrl-C as Python does.
        assert "Traceback" not in talk or ("in main" not in talk and "KeyboardInterrupt" in talk), talk
        # A line is told after its trial is written, so what was told must be there.
        self.told += [line.strip() for line in talk.splitlines() if _is_trial(line)]
        if not self.study.exists() or not self.study.stat().st_size:
            assert not self.keys
            return
        with closing(sqlite3.connect(self.study)) as connection:
            assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        with closing(read_study(self.study)) as study:
            trials = study.trials()
            rows = study.samples()
        keys = [trial["trial"]["key"] for trial in trials if trial["status"] != "not tried"]  # type: ignore[index]
        assert len(set(keys)) == len(keys), "a finished trial was measured again"
        assert keys[: len(self.keys)] == self.keys, "a finished trial was lost"
        self.keys = keys
        finished = {f"{trial['label']}: {trial['status']}, {trial['reason']}" for trial in trials}
        lost = [line for line in self.told if line not in finished and ": not tried," not in line]
        assert not lost, "a trial that was told of is not in the study"
        raced = {trial["trial"]["key"] for trial in trials if trial["speedup"]}  # type: ignore[index]
        assert raced <= {row["key"] for row in rows}, "a trial without its samples"
        bundle = self.model.with_name("out.strop")
        if bundle.exists():
            open_bundle(bundle).close()  # checks hashes


def _is_trial(line: str) -> bool:
    statuses = ("kept", "dropped", "unsupported", "failed", "not tried")
    return line.startswith("  ") and any(f": {status}, " in line for status in statuses)
