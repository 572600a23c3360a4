"""How many threads one request is worth."""

from __future__ import annotations

from strop.measure.estimate import Verdict
from strop.optimize.advice.commands import benchmark_line
from strop.optimize.advice.recommendation import Recommendation
from strop.optimize.advice.situation import Situation, times


def advise_on_threads(situation: Situation) -> list[Recommendation]:
    """Says what one thread gives against all of them; nothing on one core."""
    measured, resources = situation.measured, situation.resources
    if measured.cores < 2:
        return []
    speedup = measured.one_thread
    if speedup is None:
        return [
            Recommendation("threads.unknown", "know", "Threads were not compared.", situation.why_not("one_thread"))
        ]
    reason = f"1 thread against {measured.cores} on {measured.best}: {times(speedup)}, {speedup.verdict}"
    evidence = {"one_thread": speedup.to_json(), "cores": measured.cores}
    if speedup.verdict in (Verdict.FASTER, Verdict.SAME):
        return [
            Recommendation(
                "threads.one",
                "do",
                "Run a request on one thread: more do not help, and the other cores are free for other requests.",
                reason,
                evidence,
                benchmark_line(resources, measured.best, "--threads 1"),
            )
        ]
    if speedup.verdict is Verdict.SLOWER:
        return [
            Recommendation(
                "threads.all", "know", "All cores help a single request: keep the default.", reason, evidence
            )
        ]
    return [Recommendation("threads.unclear", "know", "Whether threads help cannot be told.", reason, evidence)]
