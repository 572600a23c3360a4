"""Where the time of the best form goes, operation by operation, against the machine's limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from strop.report.charts.bars import filled_bar
from strop.report.layers import Layers, is_disturbed, layers_of
from strop.report.phrases import counted, percent, significant
from strop.report.record import Record

MOST_ROWS = 14
LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One operation: name (its end, where it is long), kind, chart, milliseconds, shares of the time and of the limit.

    limit is "" where it is not known.
    """

    name: str
    whole_name: str
    kind: str
    chart: Markup
    ms: str
    share: str
    limit: str


@dataclass(frozen=True, slots=True)
class Where:
    """The longest operations, the rest in one line, and the time by kind."""

    words: str
    rows: Sequence[LayerRow]
    rest: str
    kinds: Sequence[tuple[str, str, str]]
    has_limits: bool
    note: str


def where(record: Record) -> Where | None:
    """Returns the section, None where the study has no times of operations."""
    layers = layers_of(record)
    if layers is None:
        return None
    longest = layers.rows[0].ms
    shown = layers.rows[:MOST_ROWS]
    rows = [
        LayerRow(
            _short(row.name),
            row.name,
            row.kind,
            filled_bar(
                row.ms / longest,
                None if row.percent_of_limit is None else row.percent_of_limit / 100,
                label=f"{significant(row.ms)} ms",
            ),
            significant(row.ms),
            percent(row.ms / layers.ms, 1),
            "" if row.percent_of_limit is None else percent(row.percent_of_limit / 100),
        )
        for row in shown
    ]
    others = layers.rows[MOST_ROWS:]
    rest = ""
    if others:
        ms = sum(row.ms for row in others)
        rest = f"and {counted(len(others), 'shorter operation')}: {significant(ms)} ms, {percent(ms / layers.ms)}"
    has_limits = any(row.percent_of_limit is not None for row in layers.rows)
    note = layers.words
    if has_limits:
        note += " The solid part of a bar is what the operation would take at the machine's limit; the rest is room."
    said = f"{_words(layers)} {_sum(record, layers)}"
    if is_disturbed(record, layers):
        said += " Something else ran beside this profile: read it with care; it explains nothing below."
    return Where(said, rows, rest, _kinds(layers), has_limits, note.strip())


def _words(layers: Layers) -> str:
    half, taken = 0, 0.0
    for row in layers.rows:
        half, taken = half + 1, taken + row.ms
        if taken >= 0.5 * layers.ms:
            break
    return f"{counted(half, 'operation takes', 'operations take')} half of the time, of {len(layers.rows)} in all."


def _short(name: str) -> str:
    """Returns a name of some exporters' length by its end, which tells most."""
    return name if len(name) <= LONGEST_NAME else f"...{name[3 - LONGEST_NAME :]}"


def _sum(record: Record, layers: Layers) -> str:
    """Returns what all operations take together, beside a request where that was confirmed on one sample."""
    latency = record.latency_ms("after")
    together = f"Together they take {significant(layers.ms)} ms"
    if latency is None or record.batch != 1:
        return f"{together}."
    return f"{together}; a request was confirmed at {significant(latency.point)} ms."


def _kinds(layers: Layers) -> list[tuple[str, str, str]]:
    """Returns kind, milliseconds and share, the longest first."""
    sums: dict[str, float] = {}
    for row in layers.rows:
        sums[row.kind or "other"] = sums.get(row.kind or "other", 0.0) + row.ms
    ordered = sorted(sums.items(), key=lambda pair: -pair[1])[:6]
    return [(kind, significant(ms), percent(ms / layers.ms)) for kind, ms in ordered]
