"""What it costs to start and to hold: first inference by stage, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from strop.report.charts.bars import divided_bar, filled_bar
from strop.report.phrases import file_size, percent, significant
from strop.report.reading import mapping, number, positive, words
from strop.report.record import SIDES, Record


@dataclass(frozen=True, slots=True)
class Start:
    """One side's first inference: total, and its stages (name, milliseconds in words, tint) where they are known."""

    which: str
    what: str
    total: str
    chart: Markup
    stages: Sequence[tuple[str, str, int]]


@dataclass(frozen=True, slots=True)
class Memory:
    """One side's peak memory."""

    which: str
    what: str
    chart: Markup
    megabytes: str


@dataclass(frozen=True, slots=True)
class Starting:
    """Both, each with a note; empty lists where it was not measured."""

    starts: Sequence[Start]
    memory: Sequence[Memory]
    bundle: str


def starting(record: Record) -> Starting | None:
    """Returns first inference and memory of a confirmed record, None where neither was measured."""
    whats = {"before": record.baseline, "after": record.label if record.gained else f"{record.label} (the bundle)"}
    starts, memory = _starts(record, whats), _memory(record, whats)
    if not starts and not memory:
        return None
    size = positive(record.facts.get("bundle_bytes"))
    return Starting(starts, memory, file_size(size) if size else "")


def _starts(record: Record, whats: Mapping[str, str]) -> list[Start]:
    totals = mapping(record.confirmation.get("first_inference_ms"))
    stages = mapping(record.confirmation.get("first_inference_stages_ms"))
    found = {side: total for side in ("before", "after") if (total := positive(totals.get(side))) is not None}
    if not found:
        return []
    longest = max(found.values())
    return [_start(side, whats[side], total, mapping(stages.get(side)), longest) for side, total in found.items()]


def _start(which: str, what: str, total: float, stages: Mapping[str, Any], longest: float) -> Start:
    parts = [
        (words(name).replace("_", " "), ms)
        for name, value in stages.items()
        if (ms := number(value)) is not None and ms > 0
    ]
    parts = parts[:6]
    said = f"first inference {which}: {significant(total)} ms"
    if not parts:
        return Start(which, what, significant(total), filled_bar(total / longest, None, label=said), ())
    said += ": " + ", ".join(f"{name} {significant(ms)} ms" for name, ms in parts)
    scale = max(longest, sum(ms for _, ms in parts))
    chart = divided_bar(parts, scale, label=said, kind=which)
    return Start(
        which,
        what,
        significant(total),
        chart,
        [(name, significant(ms), index % 5) for index, (name, ms) in enumerate(parts)],
    )


def _memory(record: Record, whats: Mapping[str, str]) -> list[Memory]:
    sides = {side: size for side in SIDES if (size := positive(record.side(side).get("peak_memory_mb"))) is not None}
    if not sides:
        return []
    largest = max(sides.values())
    return [
        Memory(
            side,
            whats[side],
            filled_bar(
                size / largest, None, label=f"peak memory {side}: {significant(size)} MB, {percent(size / largest)}"
            ),
            significant(size),
        )
        for side, size in sides.items()
    ]
