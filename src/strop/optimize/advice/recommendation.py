"""One piece of advice: what to do, or not to do, why, and the figures it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["do", "do not", "know"]
"""What to do next; what is not worth doing; what explains the rest."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """code: stable, `stage.what`; text: a sentence; reason: why, with figures; evidence: those figures by name.

    command: the line that does it, where one does; python: the same from Python, where there is no command.
    """

    code: str
    kind: Kind
    text: str
    reason: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    command: str | None = None
    python: str | None = None

    def to_json(self) -> dict[str, object]:
        """Returns the fields as a JSON object."""
        return {
            "code": self.code,
            "kind": self.kind,
            "text": self.text,
            "reason": self.reason,
            "evidence": dict(self.evidence),
            "command": self.command,
            "python": self.python,
        }
