"""What was gained by what: the ablation where the study has one, else the steps that were kept, as they were raced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from strop.report.charts.intervals import axis, interval_row
from strop.report.charts.scale import Scale, scale_of_ratios
from strop.report.phrases import TIMES, ratio, ratio_interval, sentence, times_as
from strop.report.reading import Figure, mapping, number, positive_figure, rows, words
from strop.report.record import Record

_HEIGHT = 42.0
"""As the two lines of figures beside it."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One ratio of a step: how it was measured ("alone", "added"), drawn and in words; empty words where it was not."""

    how: str
    chart: Markup
    figure: str
    interval: str


@dataclass(frozen=True, slots=True)
class Step:
    """A step with its ratios, and why one could not be measured."""

    name: str
    words: str
    bars: Sequence[Bar]
    why_not: str
    is_total: bool = False


@dataclass(frozen=True, slots=True)
class Gains:
    """The steps on one axis; words: what they come to; note: how they were measured."""

    steps: Sequence[Step]
    axis: Markup
    words: str
    note: str


def gains(record: Record) -> Gains | None:
    """Returns what each step gained; None where no step was kept and nothing was taken apart."""
    fact = mapping(record.facts.get("ablation"))
    if rows(fact.get("steps")) and record.gained:
        return _from_ablation(record)
    return _from_trials(record)


def _from_ablation(record: Record) -> Gains:
    fact = mapping(record.facts.get("ablation"))
    found = [
        (
            words(row.get("name")),
            words(row.get("words")),
            [("alone", positive_figure(row.get("alone"))), ("added", positive_figure(row.get("added")))],
            words(row.get("why_not")),
        )
        for row in rows(fact.get("steps"))
    ]
    together = positive_figure(fact.get("together")) or record.speedup
    shown = [figure for _, _, pairs, _ in found for _, figure in pairs if figure] + ([together] if together else [])
    scale = scale_of_ratios(end for figure in shown for end in (figure.low, figure.high))
    steps = [
        Step(
            name,
            "" if text == why_not else text,
            [_bar(scale, how, figure, name) for how, figure in pairs if figure],
            why_not,
        )
        for name, text, pairs, why_not in found
    ]
    if together is not None:
        steps.append(Step("together", record.label, [_bar(scale, "", together, "together")], "", is_total=True))
    interaction = number(fact.get("interaction"))
    said = sentence(words(fact.get("words")))
    if not said and interaction is not None and interaction > 0:
        said = f"Together they give {times_as(interaction)} the product of the steps alone."
    note = (
        "Each step alone on what you had, and added to the steps above it; races of their own, so last digits differ "
        "from the confirmation's."
    )
    return Gains(steps, axis(scale, _mark, emphasized=1.0), said, note)


def _from_trials(record: Record) -> Gains | None:
    kept = [trial for trial in record.tried if trial.status == "kept" and trial.ratio is not None]
    if not kept:
        return None
    ratios = [trial.ratio for trial in kept if trial.ratio] + (
        [record.speedup] if record.gained and record.speedup else []
    )
    scale = scale_of_ratios(end for figure in ratios for end in (figure.low, figure.high))
    refused = {
        words(row.get("label")): words(row.get("reason")) for row in rows(record.confirmation.get("not_confirmed"))
    }
    steps = [
        Step(
            trial.label,
            f"against {trial.against}",
            [_bar(scale, "", trial.ratio, trial.label)] if trial.ratio else [],
            f"not confirmed: {refused[trial.label]}" if trial.label in refused else "",
        )
        for trial in kept
    ]
    if record.gained and record.speedup is not None:
        text = f"{record.label} against {record.baseline}, as confirmed"
        steps.append(Step("together", text, [_bar(scale, "", record.speedup, "together")], "", is_total=True))
    note = (
        "The steps that were kept, each raced against the best before it while searching. The study holds no ablation: "
        "what engine, precision and settings give alone was not measured."
    )
    return Gains(steps, axis(scale, _mark, emphasized=1.0), "", note)


def _bar(scale: Scale, how: str, figure: Figure, name: str) -> Bar:
    text = f"{name}{f', {how}' if how else ''}: {ratio(figure.point)}, {ratio_interval(figure)}"
    kind = "after" if figure.low > 1 else "hollow"
    chart = interval_row(scale, figure, label=text, kind=kind, reference=1.0, height=_HEIGHT)
    return Bar(how, chart, ratio(figure.point), ratio_interval(figure))


def _mark(value: float) -> str:
    return f"{value:g}{TIMES}"
