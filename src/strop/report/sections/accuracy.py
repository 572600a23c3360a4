"""Accuracy before and after, the paired difference against the limit, and where it was lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from strop.report.charts.intervals import axis, interval_row
from strop.report.charts.scale import scale_of
from strop.report.metric_words import MetricWords, metric_words
from strop.report.phrases import MINUS, confidence, counted, percent, significant
from strop.report.reading import Figure, count, figure, mapping, number
from strop.report.record import Record
from strop.report.sections.changes import Slices, Table, flips, slices


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
class Accuracy:
    """The section: what it comes to, the plots, where it changed."""

    words: str
    status: str
    plots: Sequence[Plot]
    slices: Slices | None
    flips: Table | None


def accuracy(record: Record) -> Accuracy | None:
    """Returns what is known of the accuracy, None where nothing was confirmed."""
    held = mapping(record.confirmation.get("accuracy"))
    if not held:
        return None
    agreeing = figure(held.get("agreeing"))
    if agreeing is not None:
        return Accuracy(*_agreement_words(held), [_agreement(held, agreeing)], slices(record), flips(record))
    before, after = (figure(held.get(side)) for side in ("before", "after"))
    if before is None or after is None:
        return None
    metric = metric_words(held)
    plots = [_before_after(metric, before, after, held)]
    drop = _drop(metric, held)
    if drop is not None:
        plots.append(drop)
    return Accuracy(_words(metric, held), _status(record, held), plots, slices(record), flips(record))


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
    return Plot([row], axis(scale, lambda value: f"{factor * value:.3g}".replace("-", MINUS), emphasized=0.0), note)


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
    name = "close outputs" if held.get("criterion") == "relative_l2" else "same answers"
    said = f"{name}: {metric.value(agreeing.point)}, {metric.interval(agreeing)}"
    chart = interval_row(scale, agreeing, label=said, kind="after", limit=least)
    n = count(held.get("n"))
    note = (
        f"The share of {counted(n, 'sample') if n else 'samples'} that chose nothing, with its {confidence(agreeing)}."
    )
    if least is not None:
        note += f" The solid line is the least that is accepted, {metric.value(least)}."
    row = AccuracyRow(name, "", chart, metric.value(agreeing.point), metric.interval(agreeing))
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


def _marks(metric: MetricWords) -> Callable[[float], str]:
    return lambda value: percent(value, 1) if metric.is_fraction else f"{value:.4g}"
