"""The latency-throughput curve: what more requests at once give, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from strop.report.charts.curve import Point, curve
from strop.report.charts.scale import scale_of
from strop.report.phrases import NOT_MEASURED, interval, sentence, significant
from strop.report.reading import Figure, count, figure, items, mapping, number, positive, positive_figure, rows, words
from strop.report.record import Record

_PERCENTILES = ("p50", "p90", "p99")


@dataclass(frozen=True, slots=True)
class LoadRow:
    """One point in words: number, form, load, throughput with interval, percentiles of the latency."""

    number: int
    form: str
    load: str
    throughput: str
    interval: str
    percentiles: Sequence[str]
    is_sweet: bool


@dataclass(frozen=True, slots=True)
class Load:
    """The curve and its table; details: what else it says, in sentences; height_is: which percentile is drawn up."""

    words: str
    details: Sequence[str]
    chart: Markup
    rows: Sequence[LoadRow]
    height_is: str


def load(record: Record) -> Load | None:
    """Returns the section, None where the study has no curve."""
    fact = mapping(record.facts.get("curve"))
    points = [(row, found) for row in rows(fact.get("points")) if (found := _throughput(row)) is not None]
    if not points:
        return None
    sweet = count(fact.get("sweet_spot"))
    emphasized = (
        rows(fact.get("points"))[sweet] if sweet is not None and sweet < len(rows(fact.get("points"))) else None
    )
    height_is = next((name for name in ("p99", "p90", "p50") if all(_percentile(row, name) for row, _ in points)), "")
    shown = [
        LoadRow(
            index,
            f"{words(row.get('engine'))} {words(row.get('precision'))}",
            _load_words(row),
            significant(found.point),
            interval(found) if found.low < found.high else "",
            [significant(value) if (value := _percentile(row, name)) else NOT_MEASURED for name in _PERCENTILES],
            row is emphasized,
        )
        for index, (row, found) in enumerate(points, 1)
    ]
    said = [sentence(text) for one in items(fact.get("sentences")) if (text := words(one))]
    if not said:
        said = [sentence(words(fact.get("words")))]
    limit = words(fact.get("limit"))
    details = [*said[1:], *([f"The limit: {limit}."] if limit else [])]
    return Load(said[0], details, _chart(points, height_is, emphasized), shown, height_is)


def _chart(
    points: Sequence[tuple[Mapping[str, Any], Figure]], height_is: str, emphasized: Mapping[str, Any] | None
) -> Markup:
    if not height_is:
        return Markup("")
    drawn = [
        Point(
            index,
            " ".join(words(row.get(name)) for name in ("engine", "precision", "streams", "batch")),
            found.point,
            _percentile(row, height_is) or 0.0,
            row is emphasized,
        )
        for index, (row, found) in enumerate(points, 1)
    ]
    across = scale_of([point.across for point in drawn], from_zero=True)
    up = scale_of([point.up for point in drawn], from_zero=True)
    label = (
        f"{len(drawn)} points: inferences per second across, {height_is} latency in ms up; the table has the figures"
    )
    return curve(drawn, across, up, label=label, write_across=lambda v: f"{v:,.4g}", write_up=lambda v: f"{v:g} ms")


def _throughput(row: Mapping[str, Any]) -> Figure | None:
    held = row.get("throughput_per_second")
    found = positive_figure(held)
    plain = positive(held)
    return found or (Figure(plain, plain, plain) if plain is not None else None)


def _percentile(row: Mapping[str, Any], name: str) -> float | None:
    held = mapping(row.get("latency_ms")).get(name)
    found = figure(held)
    return found.point if found else positive(held)


def _load_words(row: Mapping[str, Any]) -> str:
    parts = []
    for name, one, many in (("streams", "stream", "streams"), ("batch", "", ""), ("requests", "request", "requests")):
        value = number(row.get(name))
        if value is None:
            continue
        parts.append(f"batch {value:g}" if name == "batch" else f"{value:g} {one if value == 1 else many}")
    return ", ".join(parts)
