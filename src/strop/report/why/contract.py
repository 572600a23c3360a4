"""What a rule gives: an explanation with its evidence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """What holds the speed back, or what a gain costs.

    rule: its name; words: one sentence; evidence: figures of this study; change: what would change it.
    """

    rule: str
    words: str
    evidence: tuple[str, ...]
    change: str

    def to_json(self) -> dict[str, object]:
        """Returns the fields as a JSON object."""
        return {"rule": self.rule, "words": self.words, "evidence": list(self.evidence), "change": self.change}
