"""Every trial in order, with its status, its reason, and its ratio on one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from strop.report.charts.intervals import axis, interval_row
from strop.report.charts.scale import scale_of_ratios
from strop.report.phrases import TIMES, counted, ratio, ratio_interval, significant
from strop.report.reading import rows, words
from strop.report.record import Record, Trial

_MARKS = {"kept": "\N{BLACK CIRCLE}", "dropped": "\N{WHITE CIRCLE}", "failed": "\N{MULTIPLICATION SIGN}"}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One trial as a row."""

    number: int
    label: str
    status: str
    mark: str
    reason: str
    chart: Markup
    ratio: str
    interval: str
    latency: str
    seconds: str
    command: str
    is_best: bool


@dataclass(frozen=True, slots=True)
class Attempts:
    """All trials on one axis; counts: how many of each status, in words."""

    rows: Sequence[Attempt]
    axis: Markup
    counts: str


def attempts(record: Record) -> Attempts | None:
    """Returns the section, None where nothing was tried."""
    if not record.trials:
        return None
    ends = [end for trial in record.trials if trial.ratio for end in (trial.ratio.low, trial.ratio.high)]
    scale = scale_of_ratios(ends)
    commands = {one.trial: one.command for one in record.decisions if one.trial and one.command}
    refused = {
        words(row.get("label")): words(row.get("reason")) for row in rows(record.confirmation.get("not_confirmed"))
    }
    found = []
    for number, trial in enumerate(record.trials, 1):
        said = f"{trial.label}: {ratio(trial.ratio.point)}, {ratio_interval(trial.ratio)}" if trial.ratio else ""
        chart = interval_row(
            scale, trial.ratio, label=said, kind="after" if trial.status == "kept" else "hollow", reference=1.0
        )
        reason = trial.reason
        if trial.label in refused:
            reason += f"; not confirmed: {refused[trial.label]}"
        found.append(
            Attempt(
                number,
                trial.label,
                trial.status,
                _MARKS.get(trial.status, "\N{EN DASH}"),
                reason,
                chart,
                ratio(trial.ratio.point) if trial.ratio else "",
                ratio_interval(trial.ratio) if trial.ratio else "",
                significant(trial.latency_ms.point) if trial.latency_ms else "",
                significant(trial.seconds) if trial.seconds else "",
                commands.get(trial.key, ""),
                trial.label == record.label and record.gained,
            )
        )
    return Attempts(found, axis(scale, lambda value: f"{value:g}{TIMES}", emphasized=1.0), _counts(record.trials))


def _counts(trials: Sequence[Trial]) -> str:
    counts: dict[str, int] = {}
    for trial in trials:
        counts[trial.status] = counts.get(trial.status, 0) + 1
    said = ", ".join(f"{n} {status}" for status, n in counts.items())
    return f"{counted(len(trials), 'trial')}: {said}."
