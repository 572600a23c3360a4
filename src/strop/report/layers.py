"""The fact `layers` as the rules see it: time per operation of the best form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from strop.report.reading import count, mapping, number, positive, rows, words
from strop.report.record import Record

DISTURBED = 1.25


@dataclass(frozen=True, slots=True)
class Layer:
    """One operation as the engine ran it; `bound` is "arithmetic" or "memory", empty where that is not known."""

    name: str
    kind: str
    ms: float
    percent_of_limit: float | None
    bound: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """A part that the engine `native` leaves to another engine; it is among the rows, too."""

    nodes: int
    ms: float
    engine: str
    reason: str


@dataclass(frozen=True, slots=True)
class Layers:
    """All operations, longest first, with what was measured beside them."""

    engine: str
    words: str
    threads: int | None
    rows: Sequence[Layer]
    foreign: Sequence[Foreign]

    @property
    def ms(self) -> float:
        """The time of all rows together."""
        return sum(row.ms for row in self.rows)

    @property
    def limit_ms(self) -> float | None:
        """What the rows would take at the machine's limit; None where less than half of their time has one."""
        known = [row for row in self.rows if row.percent_of_limit is not None]
        if sum(row.ms for row in known) < 0.5 * self.ms:
            return None
        return sum(row.ms * (row.percent_of_limit or 0) / 100 for row in known)

    @property
    def known_ms(self) -> float:
        """The time of those rows whose limit is known."""
        return sum(row.ms for row in self.rows if row.percent_of_limit is not None)

    def share(self, chosen: Sequence[Layer]) -> float:
        """Returns the share of the time that some rows take."""
        return sum(row.ms for row in chosen) / self.ms if self.ms else 0.0


def layers_of(record: Record) -> Layers | None:
    """Returns the study's fact `layers`, None where there is none."""
    fact = mapping(record.facts.get("layers"))
    found = [
        Layer(
            words(row.get("name")) or "an operation without a name",
            words(row.get("kind")),
            ms,
            number(row.get("percent_of_limit")),
            words(row.get("bound")),
        )
        for row in rows(fact.get("rows"))
        if (ms := positive(row.get("ms"))) is not None
    ]
    if not found:
        return None
    foreign = [
        Foreign(
            count(row.get("nodes")) or 0,
            positive(row.get("ms")) or 0.0,
            words(row.get("engine")),
            words(row.get("reason")),
        )
        for row in rows(fact.get("foreign"))
    ]
    found.sort(key=lambda row: -row.ms)
    return Layers(words(fact.get("engine")), words(fact.get("words")), count(fact.get("threads")), found, foreign)


def is_disturbed(record: Record, layers: Layers) -> bool:
    """Whether the operations together took clearly longer than the confirmed request that they make up.

    Then something ran beside the profile, and shares and limits of it explain nothing.
    """
    latency = record.latency_ms("after")
    return latency is not None and record.batch == 1 and layers.ms > DISTURBED * latency.high


def sound_layers(record: Record) -> Layers | None:
    """Returns the study's fact `layers`, None where there is none or it was disturbed."""
    layers = layers_of(record)
    return None if layers is None or is_disturbed(record, layers) else layers
