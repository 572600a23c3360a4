"""The first step, and the cheapest: another engine runs the same model, with the same outputs."""

from __future__ import annotations

from strop.optimize.advice.commands import BASELINE, compare_line, search_line
from strop.optimize.advice.recommendation import Recommendation
from strop.optimize.advice.situation import EngineFigure, Situation, duration, times


def advise_on_engine(situation: Situation) -> list[Recommendation]:
    """Says which engine is measured fastest, and what is to be installed to try another."""
    engines, resources = situation.measured.engines, situation.resources
    tried = [one for one in engines if one.speedup is not None]
    others = [one for one in tried if one.name != BASELINE]
    missing = [one for one in engines if one.speedup is None]
    found: list[Recommendation] = []
    best = max((one for one in others if one.is_faster), key=_ratio, default=None)
    evidence = {one.name: one.speedup.to_json() for one in others if one.speedup}
    shown = "; ".join(f"{one.name} {times(one.speedup)}" for one in others if one.speedup)
    names = [BASELINE, *(one.name for one in others)]
    if best is not None and best.speedup is not None and best.latency is not None:
        command = compare_line(resources, names) if resources.data is None else search_line(resources)
        found.append(
            Recommendation(
                "conversion.engine",
                "do",
                f"Run it on {best.name}: the same model, the same outputs, sooner.",
                f"measured against {BASELINE}: {shown}",
                evidence,
                command,
                f'strop.compile("{resources.model}", engine="{best.name}")',
            )
        )
    elif others:
        found.append(
            Recommendation(
                "conversion.stay",
                "do not",
                f"Changing the engine gains nothing in float32: stay on {BASELINE}.",
                f"measured: {shown}",
                evidence,
                compare_line(resources, names),
            )
        )
    else:
        baseline = situation.measured.engine(BASELINE)
        reason = situation.why_not("engines")
        if baseline is not None and baseline.latency is not None:
            reason = f"only {BASELINE} ran it, in {duration(baseline.latency.point)}"
        found.append(Recommendation("conversion.unknown", "know", "No other engine was compared.", reason))
    for one in missing:
        found.append(
            Recommendation(
                f"conversion.{one.name}",
                "know",
                f"{one.name} was left out.",
                one.why_not or situation.why_not("engines"),
                command="strop doctor",
            )
        )
    return found


def _ratio(figure: EngineFigure) -> float:
    return figure.speedup.ratio.point if figure.speedup else 0.0
