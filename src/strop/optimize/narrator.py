"""Tells a listener what a run is doing, and writes what it decided into the study, in the same words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from strop.optimize.budget import Budget
from strop.optimize.events import Event, Kind, Listener
from strop.optimize.study import Study


@dataclass(slots=True)
class Narrator:
    """The voice of one run; `planned_seconds` is its expected length, once that is known.

    command: the line that runs the whole again, "" where there is none.
    """

    study: Study
    budget: Budget
    listener: Listener
    command: str = ""
    planned_seconds: float | None = None
    warnings: list[str] = field(default_factory=list)

    def stage(self, words: str) -> None:
        """Tells that a part begins."""
        self._tell("stage", words)

    def progress(self, words: str) -> None:
        """Tells what is being done, for those who watch."""
        self._tell("progress", words)

    def plan(self, words: str, data: Mapping[str, object]) -> None:
        """Tells what is to come, and records it."""
        self.study.fact("plan", {"words": words, **data})
        self._tell("plan", words, data)

    def decide(self, words: str, *, key: str | None = None) -> None:
        """Tells and records a decision with the command that replays it; key: the trial it is about, or "confirmation".

        What no single trial shows takes the whole run again.
        """
        command = shlex.join(["strop", "replay", str(self.study.path), key]) if key else self.command
        self.study.decide(words, key=key, command=command or None)
        self._tell("decision", words)

    def warn(self, words: str) -> None:
        """Tells and keeps a warning."""
        self.warnings.append(words)
        self._tell("warning", words)

    def _tell(self, kind: Kind, words: str, data: Mapping[str, object] | None = None) -> None:
        if self.planned_seconds is None:
            self.listener(Event(kind, words, data=data or {}))
            return
        left = max(0.0, self.planned_seconds - self.budget.elapsed)
        self.listener(Event(kind, words, min(1.0, self.budget.elapsed / self.planned_seconds), left, data or {}))
