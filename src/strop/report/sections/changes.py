"""Where accuracy changed: the classes or groups that lost most, and the predictions that flipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from strop.quality.metrics.registry import METRICS
from strop.report.charts.intervals import axis, interval_row
from strop.report.charts.scale import Scale, scale_of
from strop.report.metric_words import MetricWords
from strop.report.phrases import MINUS, percent, sentence, significant
from strop.report.reading import Figure, count, figure, items, mapping, number, rows, words
from strop.report.record import Record

MOST_ROWS = 12
"""The worst come first."""
_SHARES = ("confidence_before", "confidence_after")


@dataclass(frozen=True, slots=True)
class SliceRow:
    """One class or group: how many samples, before and after, the loss drawn with its interval."""

    name: str
    n: str
    change: str
    chart: Markup
    loss: str
    interval: str


@dataclass(frozen=True, slots=True)
class Slices:
    """The slices that lost, the worst first, on one axis; more: how many are left out."""

    words: str
    unit: str
    rows: Sequence[SliceRow]
    axis: Markup
    more: int


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as the study has them; more: how many are left out."""

    title: str
    words: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    more: int


def slices(record: Record) -> Slices | None:
    """Returns the worst slices, None where the study has none with a figure before and after."""
    fact = mapping(record.facts.get("slices"))
    known = [row for row in rows(fact.get("rows")) if number(row.get("before")) is not None and _loss(row) is not None]
    if not known:
        return None
    metric = _metric(words(fact.get("metric")))
    lost = [row for row in known if (number(row.get("drop")) or 0.0) > 0]
    shown = lost[:MOST_ROWS]
    losses = [loss for row in shown if (loss := _loss(row)) is not None]
    scale = scale_of([0.0, *(end for loss in losses for end in (loss.low, loss.high))], from_zero=False)
    factor = 100 if metric.is_fraction else 1
    total = max(count(fact.get("total")) or 0, len(known))
    return Slices(
        sentence(words(fact.get("words"))),
        "points" if metric.is_fraction else metric.name,
        [_slice(row, loss, metric, scale) for row, loss in zip(shown, losses, strict=True)],
        axis(scale, lambda value: f"{factor * value:.3g}".replace("-", MINUS), emphasized=0.0),
        total - len(shown),
    )


def flips(record: Record) -> Table | None:
    """Returns the samples whose prediction changed, None where the study does not say."""
    fact = mapping(record.facts.get("flips"))
    found, said = rows(fact.get("rows")), sentence(words(fact.get("words")))
    if not found and not said:
        return None
    shown = found[:MOST_ROWS]
    columns = list(dict.fromkeys(words(name) for row in shown for name in row))
    cells = [[_cell(name, row.get(name)) for name in columns] for row in shown]
    total = max(count(fact.get("total")) or 0, len(found))
    return Table("Changed predictions", said, [name.replace("_", " ") for name in columns], cells, total - len(shown))


def _slice(row: Mapping[str, Any], loss: Figure, metric: MetricWords, scale: Scale) -> SliceRow:
    name = words(row.get("slice")) or "a slice without a name"
    n, before, after = count(row.get("n")), number(row.get("before")) or 0.0, number(row.get("after")) or 0.0
    point, low, high = (metric.difference(end).removesuffix(" points") for end in (loss.point, loss.low, loss.high))
    ends = f"{low} to {high}"
    is_known = loss.low < loss.high
    said = f"{name}: loss {metric.difference(loss.point)}{f', {ends}' if is_known else ''}"
    return SliceRow(
        name,
        f"n = {n:,}" if n else "",
        f"{metric.value(before)} \N{RIGHTWARDS ARROW} {metric.value(after)}",
        interval_row(scale, loss, label=said, kind="after" if loss.low > 0 else "hollow", reference=0.0),
        point,
        ends if is_known else "",
    )


def _loss(row: Mapping[str, Any]) -> Figure | None:
    drop, low, high = (number(row.get(name)) for name in ("drop", "low", "high"))
    if drop is None or number(row.get("after")) is None:
        return None
    if low is None or high is None or not low <= drop <= high:
        return Figure(drop, drop, drop)
    return Figure(drop, low, high)


def _metric(name: str) -> MetricWords:
    """Returns how a slice's figure is written; "right" is the share of samples that are."""
    known = METRICS.get(name)
    return MetricWords(name, is_fraction=known.is_fraction if known else name == "right", higher_is_better=True)


def _cell(name: str, value: object) -> str:
    held, plain = figure(value), number(value)
    if held is not None:
        return f"{significant(held.point)} ({significant(held.low)} to {significant(held.high)})"
    if plain is not None:
        if name in _SHARES:
            return percent(plain)
        return f"{plain:.0f}" if plain == int(plain) and abs(plain) < 1e9 else significant(plain)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if items(value):
        return ", ".join(_cell("", one) for one in items(value)[:8])[:200]
    return words(value)[:200] or "\N{EN DASH}"
