"""Latency and throughput before and after: distributions where the study has samples, intervals in any case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from strop.measure.statistics import percentile
from strop.report.charts.density import density_row, range_of_samples
from strop.report.charts.intervals import axis, interval_row
from strop.report.charts.scale import scale_of
from strop.report.phrases import confidence, counted, interval, significant
from strop.report.reading import Figure
from strop.report.record import SIDES, Objective, Record

FEWEST = 20
"""Samples below which a curve would tell more than they do."""
_QUANTILES = (50.0, 90.0, 99.0)
_FAR = 0.6
"""Where the lowest value is below this share of the highest, the axis begins at 0."""


@dataclass(frozen=True, slots=True)
class Side:
    """Before or after: its chart, its median with the interval, how many samples, its percentiles in words."""

    which: str
    what: str
    chart: Markup
    point: str
    interval: str
    n: str
    percentiles: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Speed:
    """One measure of both sides on one axis."""

    name: str
    unit: str
    sides: Sequence[Side]
    axis: Markup
    note: str


def speeds(record: Record) -> list[Speed]:
    """Returns latency and throughput of a confirmed record, what the search was after first; what is there of both."""
    latency = _speed(record, "latency", "ms", record.latency_ms("before"), record.latency_ms("after"))
    throughput = _speed(
        record, "throughput", "inferences per second", record.throughput("before"), record.throughput("after")
    )
    if latency is not None and record.batch > 1:
        latency = replace(latency, note=f"A request of the new form holds {record.batch} samples. {latency.note}")
    both = [latency, throughput] if record.objective == "latency" else [throughput, latency]
    return [one for one in both if one is not None]


def _speed(record: Record, name: Objective, unit: str, before: Figure | None, after: Figure | None) -> Speed | None:
    figures = {which: found for which, found in (("before", before), ("after", after)) if found is not None}
    if not figures:
        return None
    whats = {"before": record.baseline, "after": record.label if record.gained else f"{record.label} (the bundle)"}
    samples = _samples(record, name)
    if set(samples) >= set(figures):
        return _with_samples(name, unit, figures, samples, whats)
    ends = [end for one in figures.values() for end in (one.low, one.high)]
    scale = scale_of(ends, from_zero=min(ends) < _FAR * max(ends))
    sides = [
        Side(
            which,
            whats[which],
            interval_row(scale, one, label=_said(name, which, one, unit), kind=which),
            significant(one.point),
            interval(one),
            _counted(one),
            (),
        )
        for which, one in figures.items()
    ]
    level = confidence(next(iter(figures.values())))
    note = f"The {_statistic(figures)} with its {level}; this study holds no raw samples of it to draw."
    return Speed(name, unit, sides, axis(scale, lambda value: f"{value:g}"), note)


def _samples(record: Record, name: Objective) -> dict[str, list[float]]:
    """Returns the confirmation's samples in the unit they are shown in: milliseconds, or inferences per second."""
    found: dict[str, list[float]] = {}
    for which in SIDES:
        seconds = record.confirmed_samples(which, name)
        if len(seconds) >= FEWEST:
            found[which] = [1e3 * one if name == "latency" else 1 / one for one in seconds]
    return found


def _with_samples(
    name: str, unit: str, figures: dict[str, Figure], samples: dict[str, list[float]], whats: dict[str, str]
) -> Speed:
    low, high, beyond = range_of_samples([samples[which] for which in figures])
    scale = scale_of([low, high], from_zero=low < _FAR * high)
    sides = []
    for which, one in figures.items():
        earned = [found for q in _QUANTILES if (found := percentile(samples[which], q)).value is not None]
        if name == "throughput":
            earned = []  # a slow window is a low rate: its percentiles would read the wrong way round
        marked = [(f"p{found.q:g}", found.value) for found in earned if found.value is not None and found.q > 50]
        told = [(f"p{found.q:g}", significant(found.value)) for found in earned if found.value is not None]
        chart = density_row(
            scale,
            samples[which],
            one,
            label=_said(name, which, one, unit),
            kind=which,
            percentiles=marked,
        )
        sides.append(Side(which, whats[which], chart, significant(one.point), interval(one), _counted(one), told))
    note = (
        f"Each curve is how the samples of the confirmation spread, drawn to the same height; below it the "
        f"{_statistic(figures)} with its {confidence(next(iter(figures.values())))}."
    )
    if beyond:
        note += f" {counted(beyond, 'sample lies', 'samples lie')} further to the right."
    return Speed(name, unit, sides, axis(scale, lambda value: f"{value:g}"), note)


def _said(name: str, which: str, figure: Figure, unit: str) -> str:
    return f"{name} {which}: {significant(figure.point)} {unit}, {confidence(figure)} {interval(figure)}"


def _counted(figure: Figure) -> str:
    return f"n = {figure.n:,}" if figure.n else ""


def _statistic(figures: dict[str, Figure]) -> str:
    return next(iter(figures.values())).statistic or "median"
