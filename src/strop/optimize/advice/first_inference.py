"""The first result of a fresh process: for short-lived programs it is all that counts (W6)."""

from __future__ import annotations

from strop.optimize.advice.commands import benchmark_line
from strop.optimize.advice.recommendation import Recommendation
from strop.optimize.advice.situation import Situation

MANY_INFERENCES = 100
"""A first inference longer than so many warm ones dominates a program that makes few."""


def advise_on_first_inference(situation: Situation) -> list[Recommendation]:
    """Says how long the first result takes, in warm inferences, and what shortens it."""
    measured, resources = situation.measured, situation.resources
    wanted = resources.goal == "first-inference"
    if measured.first is None:
        if not wanted:
            return []
        return [
            Recommendation(
                "first-inference.unknown", "know", "The first inference is not known.", situation.why_not("first")
            )
        ]
    times_ms = dict(sorted(measured.first.milliseconds.items(), key=lambda item: item[1]))
    best_name, best_ms = next(iter(times_ms.items()))
    warm = measured.engine(measured.best)
    shown = ", ".join(f"{name} {milliseconds:.0f} ms" for name, milliseconds in times_ms.items())
    evidence: dict[str, object] = {"first_inference_ms": times_ms}
    count = None
    if warm is not None and warm.latency is not None:
        count = best_ms / 1e3 / warm.latency.point
        evidence["warm_inferences"] = count
        shown += f"; the shortest is {count:.0f} warm inferences"
    if not wanted and (count is None or count < MANY_INFERENCES):
        return []
    return [
        Recommendation(
            "first-inference.dominates",
            "do" if wanted else "know",
            f"The first inference dominates short programs: ship a .strop bundle, which is mapped instead of compiled, "
            f"keep the cache folder between runs, and prefer {best_name}.",
            f"measured in fresh processes: {shown}",
            evidence,
            benchmark_line(resources, best_name, "--first-inference"),
        )
    ]
