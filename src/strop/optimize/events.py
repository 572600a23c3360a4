"""What a long run tells while it works: one event type, heard by the command line, a notebook, or nobody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["plan", "stage", "progress", "decision", "warning"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing worth telling.

    kind: "plan" (what is to come), "stage" (a part begins), "progress" (`fraction` of it is done), "decision"
    (a trial was kept or dropped, in words), "warning"; remaining_seconds: of the whole run, where it is known.
    """

    kind: Kind
    message: str
    fraction: float | None = None
    remaining_seconds: float | None = None
    data: Mapping[str, object] = field(default_factory=dict)


Listener = Callable[[Event], None]


def nobody(event: Event) -> None:
    """Hears nothing."""
