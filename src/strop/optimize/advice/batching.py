"""Batching: on a CPU it rarely gives what it gives on an accelerator; what it gives here was measured."""

from __future__ import annotations

from strop.measure.estimate import Verdict
from strop.optimize.advice.commands import benchmark_line
from strop.optimize.advice.recommendation import Recommendation
from strop.optimize.advice.situation import Situation, times

WORTH = 1.1


def advise_on_batching(situation: Situation) -> list[Recommendation]:
    """Says what a batch gives over single inputs with the same streams."""
    measured, resources = situation.measured, situation.resources
    if not situation.model.free_batch:
        return [Recommendation("batching.fixed", "know", "The model's batch is fixed, so batching was not tried.", "")]
    if measured.batch is None:
        return [Recommendation("batching.unknown", "know", "Batching was not compared.", situation.why_not("batch"))]
    evidence = {"batch": measured.batch.to_json(), "size": measured.batch_size}
    reason = f"batch {measured.batch_size} gives {times(measured.batch)} of batch 1 on {measured.best}"
    if measured.batch.verdict is Verdict.FASTER and measured.batch.ratio.point >= WORTH:
        return [
            Recommendation(
                "batching.pays",
                "do" if resources.goal in ("throughput", "mixed") else "know",
                "Batching pays here: put inputs together where their latency allows.",
                reason,
                evidence,
                benchmark_line(resources, measured.best, "--curve"),
            )
        ]
    if measured.batch.verdict is Verdict.CANNOT_TELL:
        return [Recommendation("batching.unclear", "know", "Whether batching pays cannot be told.", reason, evidence)]
    instead = "use streams" if measured.streams and measured.streams.verdict is Verdict.FASTER else "send single inputs"
    return [Recommendation("batching.poor", "do not", f"Do not batch on this CPU: {instead}.", reason, evidence)]
