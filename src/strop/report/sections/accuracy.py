"""Accuracy before and after, the paired difference against the limit, and where it was lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from strop.report.charts.intervals import axis, interval_row
from strop.report.charts.scale import scale_of
from strop.report.metric_words import MetricWords, metric_words
from strop.report.phrases import confidence, counted, percent, sentence, significant
from strop.report.reading import Figure, count, figure, items, mapping, number, rows, words
from strop.report.record import Record

MOST_ROWS = 12
"""Of slices and flips: the worst come first."""


@dataclass(frozen=True, slots=True)
class AccuracyRow:
    """One interval: what it is, the chart, its point and ends in words."""

    name: str
    what: str
    chart: Markup
    point: str
    interval: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Intervals on one axis."""

    rows: Sequence[AccuracyRow]
    axis: Markup
    note: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of what lies behind: worst slices, or changed predictions; more: how many rows are left out."""

    title: str
    words: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    more: int


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The section: what it comes to, the plots, the tables."""

    words: str
    status: str
    plots: Sequence[Plot]
    tables: Sequence[Table]


def accuracy(record: Record) -> Accuracy | None:
    """Returns what is known of the accuracy, None where nothing was confirmed."""
    held = mapping(record.confirmation.get("accuracy"))
    if not held:
        return None
    tables = [table for table in (_slices(record), _flips(record)) if table is not None]
    agreeing = figure(held.get("agreeing"))
    if agreeing is not None:
        return Accuracy(*_agreement_words(held), [_agreement(held, agreeing)], tables)
    before, after = (figure(held.get(side)) for side in ("before", "after"))
    if before is None or after is None:
        return None
    metric = metric_words(held)
    plots = [_before_after(metric, before, after, held)]
    drop = _drop(metric, held)
    if drop is not None:
        plots.append(drop)
    return Accuracy(_words(metric, held), _status(record, held), plots, tables)


def _before_after(metric: MetricWords, before: Figure, after: Figure, held: Mapping[str, Any]) -> Plot:
    scale = scale_of([before.low, before.high, after.low, after.high], from_zero=False)
    rows_ = [
        AccuracyRow(
            which,
            "",
            interval_row(
                scale,
                one,
                label=f"{metric.name} {which}: {metric.value(one.point)}, {metric.interval(one)}",
                kind=which,
            ),
            metric.value(one.point),
            metric.interval(one),
        )
        for which, one in (("before", before), ("after", after))
    ]
    n = count(held.get("n"))
    better = "higher" if metric.higher_is_better else "lower"
    on = f" on {counted(n, 'sample')} that chose nothing" if n else ""
    note = f"{metric.name}{on}, each with its {confidence(before)}; {better} is better."
    return Plot(rows_, axis(scale, _marks(metric)), note)


def _drop(metric: MetricWords, held: Mapping[str, Any]) -> Plot | None:
    """Returns the loss with its interval against the limit: to the right is worse, whichever way the metric counts."""
    difference, limit = figure(held.get("difference")), number(held.get("limit"))
    if difference is None:
        return None
    loss = difference
    if metric.higher_is_better:
        loss = Figure(-difference.point, -difference.high, -difference.low, difference.level, difference.n)
    ends = [loss.low, loss.high, 0.0] + ([limit] if limit is not None else [])
    scale = scale_of(ends, from_zero=False)
    ends_said = f"{metric.difference(loss.low).removesuffix(' points')} to {metric.difference(loss.high)}"
    said = f"loss: {metric.difference(loss.point)}, {ends_said}"
    chart = interval_row(scale, loss, label=said, kind="after", reference=0.0, limit=limit)
    note = f"The loss on the same samples, paired ({confidence(loss)}). The dashed line is no loss"
    note += f", the solid one the limit of {metric.size(limit)}." if limit is not None else "."
    row = AccuracyRow("loss", "paired", chart, metric.difference(loss.point), ends_said)
    factor = 100 if metric.is_fraction else 1
    return Plot([row], axis(scale, lambda value: f"{factor * value:.3g}", emphasized=0.0), note)


def _words(metric: MetricWords, held: Mapping[str, Any]) -> str:
    drop, bound = number(held.get("drop")), number(held.get("bound"))
    if drop is None or bound is None:
        return ""
    lost = "Nothing was lost" if drop <= 0 else f"{metric.size(drop)} lost"
    return f"{lost}; with 95 % confidence at most {metric.at_most(bound)}."


def _status(record: Record, held: Mapping[str, Any]) -> str:
    certified, limit = record.confirmation.get("certified"), number(held.get("limit"))
    if certified is True:
        return "within the limit, certified"
    if limit is None:
        return ""
    if held.get("within") is not True:
        return "limit exceeded"
    needed = count(held.get("needed_n"))
    return (
        f"within the limit, not certified: that takes about {counted(needed, 'sample')}"
        if needed
        else ("within the limit, not certified")
    )


def _agreement(held: Mapping[str, Any], agreeing: Figure) -> Plot:
    least = number(held.get("limit"))
    ends = [agreeing.low, agreeing.high, 1.0] + ([least] if least is not None else [])
    scale = scale_of(ends, from_zero=False)
    metric = MetricWords("agreement", is_fraction=True, higher_is_better=True)
    said = f"same answers: {metric.value(agreeing.point)}, {metric.interval(agreeing)}"
    chart = interval_row(scale, agreeing, label=said, kind="after", limit=least)
    n = count(held.get("n"))
    note = (
        f"The share of {counted(n, 'sample') if n else 'samples'} that chose nothing, with its {confidence(agreeing)}."
    )
    if least is not None:
        note += f" The solid line is the least that is accepted, {metric.value(least)}."
    row = AccuracyRow("same answers", "", chart, metric.value(agreeing.point), metric.interval(agreeing))
    return Plot([row], axis(scale, _marks(metric)), note)


def _agreement_words(held: Mapping[str, Any]) -> tuple[str, str]:
    distance = number(held.get("relative_l2"))
    said = "No labels: the limit is the agreement with the original."
    if distance is not None:
        said += f" The outputs lie {significant(distance, 2)} of their size apart (relative L2)."
    agreeing, least = figure(held.get("agreeing")), number(held.get("limit"))
    if agreeing is None or least is None:
        return said, ""
    return said, "within the limit" if agreeing.point >= least else "limit exceeded"


def _slices(record: Record) -> Table | None:
    """Returns the groups whose accuracy suffered most, from the fact `slices`."""
    return _table(record.facts.get("slices"), "Worst slices", ("rows", "slices", "worst", "groups"))


def _flips(record: Record) -> Table | None:
    """Returns the samples whose prediction changed, from the fact `flips`."""
    return _table(record.facts.get("flips"), "Changed predictions", ("rows", "flips", "samples"))


def _table(fact: object, title: str, names: Sequence[str]) -> Table | None:
    """Returns the first list of objects that `fact` holds under one of `names` as a table."""
    held = mapping(fact)
    found = rows(fact) or next((rows(held.get(name)) for name in names if rows(held.get(name))), [])
    said = sentence(words(held.get("words")))
    if not found:
        return Table(title, said, (), (), 0) if said else None
    columns = [str(name) for name in dict.fromkeys(name for row in found[:MOST_ROWS] for name in row)]
    shown = [[_cell(row.get(name)) for name in columns] for row in found[:MOST_ROWS]]
    total = max(count(held.get("total")) or 0, len(found))
    return Table(title, said, [name.replace("_", " ") for name in columns], shown, total - len(shown))


def _cell(value: object) -> str:
    held = figure(value)
    if held is not None:
        return f"{significant(held.point)} ({significant(held.low)} to {significant(held.high)})"
    plain = number(value)
    if plain is not None:
        return str(int(plain)) if plain == int(plain) and abs(plain) < 1e9 else significant(plain)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if items(value):
        return ", ".join(_cell(one) for one in items(value)[:8])
    return words(value)[:200] or "\N{EN DASH}"


def _marks(metric: MetricWords):  # type: ignore[no-untyped-def]
    return lambda value: percent(value, 1) if metric.is_fraction else f"{value:.4g}"
