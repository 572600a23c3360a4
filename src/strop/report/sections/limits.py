"""The limits the user set on latency, memory and throughput: before, now, and whether they are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strop.report.phrases import NOT_MEASURED, file_size, listed, significant
from strop.report.reading import mapping, positive, rows, words
from strop.report.record import Record


@dataclass(frozen=True, slots=True)
class LimitRow:
    """One limit: in words, what was measured before and now, whether it is kept now ("kept", "not kept", ...)."""

    limit: str
    before: str
    now: str
    state: str


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits with what they come to in a sentence."""

    words: str
    rows: Sequence[LimitRow]


def limits(record: Record) -> Limits | None:
    """Returns the limits of a confirmed record, None where none was set."""
    found = rows(record.confirmation.get("limits"))
    if not found:
        return None
    return Limits(limits_sentence(record), [_row(one) for one in found])


def limits_sentence(record: Record) -> str:
    """Returns whether the limits are kept, nothing where none was set."""
    found = [_row(one) for one in rows(record.confirmation.get("limits"))]
    broken = [one.limit for one in found if one.state == "not kept"]
    unknown = [one.limit for one in found if one.state == "cannot tell"]
    if broken:
        return f"Not kept: {listed(broken)}."
    if unknown:
        return f"Whether it is kept cannot be told: {listed(unknown)}."
    return "Every limit is kept." if found else ""


def keeps_limits_better(record: Record) -> bool:
    """Whether a limit is kept now that was not kept before."""
    return any(
        one.get("met") is True and mapping(one.get("before")).get("met") is False
        for one in rows(record.confirmation.get("limits"))
    )


def _row(one: Mapping[str, Any]) -> LimitRow:
    limit = mapping(one.get("limit"))
    kind, met = words(limit.get("kind")), one.get("met")
    state = "kept" if met is True else "not kept" if met is False else "cannot tell"
    before = mapping(one.get("before")).get("value")
    said = words(limit.get("words")) or words(one.get("words")) or "a limit without words"
    return LimitRow(said, _shown(kind, before), _shown(kind, one.get("value")), state)


def _shown(kind: str, value: object) -> str:
    """Returns seconds as milliseconds, bytes in their unit, a rate per second."""
    found = positive(value)
    if found is None:
        return NOT_MEASURED
    if kind == "latency":
        return f"{significant(1e3 * found)} ms"
    return file_size(found) if kind == "memory" else f"{significant(found)} per second"
