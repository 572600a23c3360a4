"""Latency, throughput or both: which figure to look at, and which command finds the setting for it (W5)."""

from __future__ import annotations

from strop.optimize.advice.commands import benchmark_line
from strop.optimize.advice.recommendation import Recommendation
from strop.optimize.advice.situation import Situation, duration, times


def advise_on_use_case(situation: Situation) -> list[Recommendation]:
    """Returns how to tune for what the user is after."""
    resources, measured = situation.resources, situation.measured
    best = measured.engine(measured.best)
    alone = f"a request alone takes {duration(best.latency.point)} on {best.name}" if best and best.latency else ""
    loaded = (
        f"{measured.cores} streams give {times(measured.streams)} the throughput of one" if measured.streams else ""
    )
    reason = "; ".join(part for part in (alone, loaded) if part) or situation.why_not("engines")
    evidence: dict[str, object] = {
        "latency_ms": best.latency.scaled(1e3).to_json() if best and best.latency else None,
        "streams": measured.streams.to_json() if measured.streams else None,
    }
    if resources.goal == "mixed":
        return [
            Recommendation(
                "use-case.mixed",
                "do",
                "Look for the most throughput within the latency you may have, and run there.",
                reason,
                evidence,
                benchmark_line(resources, measured.best, f"--curve --max-latency p90={_allowed(situation)}"),
            )
        ]
    if resources.goal == "throughput":
        return [
            Recommendation(
                "use-case.throughput",
                "do",
                "Keep as many requests in flight as streams need, and choose the point on the curve.",
                reason,
                evidence,
                benchmark_line(resources, measured.best, "--curve"),
            )
        ]
    if resources.goal == "latency":
        return [
            Recommendation(
                "use-case.latency",
                "know",
                "For latency one request runs at a time, with all threads that pay: look at p90, not at the mean.",
                reason,
                evidence,
                benchmark_line(resources, measured.best),
            )
        ]
    return []


def _allowed(situation: Situation) -> str:
    """Returns a limit to begin with: three times what a request alone takes; 10 ms where that is not known."""
    best = situation.measured.engine(situation.measured.best)
    if best is None or best.latency is None:
        return "10ms"
    microseconds = 3e6 * best.latency.point
    return f"{microseconds / 1e3:.3g}ms" if microseconds >= 100 else f"{microseconds:.3g}us"
