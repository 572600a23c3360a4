"""Tells a listener what a run is doing, and writes what it decided into the study, in the same words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from strop.optimize.budget import Budget
from strop.optimize.events import Event, Kind, Listener
from strop.optimize.schedule import Schedule
from strop.optimize.study import Study

LAST = "confirmation"
"""The part of the schedule whose time is reserved from the start."""


@dataclass(slots=True)
class Narrator:
    """The voice of one run; `schedule` says how much of it is still to come, once it is `planned`.

    command: the line that runs the whole again, "" where there is none; replay: the words that replay a trial.
    """

    study: Study
    budget: Budget
    listener: Listener
    command: str = ""
    replay: Sequence[str] = ()
    warnings: list[str] = field(default_factory=list)
    schedule: Schedule = field(init=False)
    planned: bool = False

    def __post_init__(self) -> None:
        """Begins a schedule on the budget's clock."""
        self.schedule = Schedule(lambda: self.budget.elapsed)

    @property
    def remaining(self) -> float:
        """Seconds that the run will still take: the search within its share of the budget, then the confirmation."""
        searching = self.schedule.remaining(self._search_parts(), within=self.budget.for_search)
        return max(0.0, min(searching + self.schedule.remaining([LAST]), self.budget.remaining))

    @property
    def spare(self) -> float:
        """Seconds of the search's share of the budget that nothing on the schedule will need."""
        return max(0.0, self.budget.for_search - self.schedule.remaining(self._search_parts()))

    def _search_parts(self) -> list[str]:
        return [name for name in self.schedule.parts if name != LAST]

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
        command = (
            shlex.join([*(self.replay or ("strop", "replay", str(self.study.path))), key]) if key else self.command
        )
        self.study.decide(words, key=key, command=command or None)
        self._tell("decision", words)

    def warn(self, words: str) -> None:
        """Tells and keeps a warning."""
        self.warnings.append(words)
        self._tell("warning", words)

    def _tell(self, kind: Kind, words: str, data: Mapping[str, object] | None = None) -> None:
        if not self.planned:
            self.listener(Event(kind, words, data=data or {}))
            return
        elapsed, left = self.budget.elapsed, self.remaining
        self.listener(Event(kind, words, elapsed / max(elapsed + left, 1e-9), left, data or {}))
