"""Streams: requests side by side; they help only who has several requests at once (W7)."""

from __future__ import annotations

from strop.measure.estimate import Verdict
from strop.optimize.advice.commands import benchmark_line
from strop.optimize.advice.recommendation import Recommendation
from strop.optimize.advice.situation import Situation, times


def advise_on_streams(situation: Situation) -> list[Recommendation]:
    """Returns what streams give with many requests in flight, and what they cost with one at a time."""
    measured, resources = situation.measured, situation.resources
    if measured.cores < 2:
        return []
    found: list[Recommendation] = []
    if measured.streams is None:
        return [Recommendation("streams.unknown", "know", "Streams were not compared.", situation.why_not("streams"))]
    evidence = {"streams": measured.streams.to_json(), "count": measured.cores}
    reason = f"{measured.cores} streams against 1 on {measured.best}, requests in flight: {times(measured.streams)}"
    if measured.streams.verdict is Verdict.FASTER:
        found.append(
            Recommendation(
                "streams.many",
                "do" if resources.goal in ("throughput", "mixed") else "know",
                "With several requests at once, streams give more throughput than threads within a request.",
                reason,
                evidence,
                benchmark_line(resources, measured.best, "--objective throughput"),
            )
        )
    elif measured.streams.verdict is Verdict.CANNOT_TELL:
        found.append(
            Recommendation("streams.unclear", "know", "Whether streams give more cannot be told.", reason, evidence)
        )
    else:
        found.append(
            Recommendation(
                "streams.none",
                "do not",
                "Streams give no more throughput here.",
                f"{reason}, {measured.streams.verdict}",
                evidence,
            )
        )
    if measured.synchronous is not None and measured.synchronous.verdict in (Verdict.SAME, Verdict.SLOWER):
        found.append(
            Recommendation(
                "streams.synchronous",
                "do not",
                "Do not set streams where calls come one at a time: the throughput setting does nothing for them.",
                f"one request at a time, {measured.cores} streams against 1: {times(measured.synchronous)}, "
                f"{measured.synchronous.verdict}",
                {"synchronous": measured.synchronous.to_json()},
            )
        )
    return found


def batch_for(in_flight: int, streams: int) -> int:
    """Returns the batch an accelerator wants: the requests in flight, over two for each stream; at least 1.

    On a CPU streams come first, and a batch is worth measuring on top of them only.

    Example:
        >>> batch_for(16, 2)
        4
    """
    return max(1, in_flight // (streams * 2))
