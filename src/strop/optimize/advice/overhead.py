"""Small models spend their time in the call, not in the arithmetic."""

from __future__ import annotations

from strop.optimize.advice.commands import benchmark_line
from strop.optimize.advice.recommendation import Recommendation
from strop.optimize.advice.situation import Situation, duration

LARGE_SHARE = 0.5
SMALL_SHARE = 0.1


def advise_on_overhead(situation: Situation) -> list[Recommendation]:
    """Says where most of a request is spent outside the operations, with the figures."""
    bound, resources, measured = situation.measured.bound, situation.resources, situation.measured
    if bound is None:
        return [
            Recommendation(
                "overhead.unknown", "know", "What a call costs by itself is not known.", situation.why_not("bound")
            )
        ]
    if bound.overhead is None:
        return []
    share = bound.overhead / bound.call
    evidence: dict[str, object] = {
        "call_us": bound.call * 1e6,
        "operations_us": (bound.operations or 0.0) * 1e6,
        "overhead_us": bound.overhead * 1e6,
        "share": share,
    }
    figures = f"{duration(bound.overhead)} of {duration(bound.call)} on {measured.best}, one thread (measured)"
    if share >= LARGE_SHARE:
        several = (
            "Put several inputs into a request"
            if situation.model.free_batch
            else "Export the model with a free batch axis, and put several inputs into a request"
        )
        return [
            Recommendation(
                "overhead.bound",
                "do",
                f"This model is bound by what a call costs by itself. {several}, or reuse output arrays (run_into); "
                "faster kernels or 8 bits cannot help.",
                f"overhead: {figures}",
                evidence,
                benchmark_line(resources, measured.best, "--curve" if situation.model.free_batch else ""),
            )
        ]
    if share < SMALL_SHARE:
        return [
            Recommendation(
                "overhead.small", "know", "A call by itself costs next to nothing.", f"overhead: {figures}", evidence
            )
        ]
    return [
        Recommendation(
            "overhead.some", "know", "Part of a request is the call itself.", f"overhead: {figures}", evidence
        )
    ]
