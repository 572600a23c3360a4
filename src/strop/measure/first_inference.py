"""First-inference latency: import, read, compile and first run, each in fresh processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from strop.errors import UsageError
from strop.measure.blocks import Progress
from strop.measure.estimate import Estimate
from strop.measure.statistics import median_estimate
from strop.measure.worker import Worker


@dataclass(frozen=True, slots=True)
class FirstInference:
    """Seconds of each stage in order, and of their sum; medians over fresh processes."""

    stages: Mapping[str, Estimate]
    total: Estimate


def first_inference(
    factory: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    repeats: int = 5,
    environment: Mapping[str, str] | None = None,
    cores: tuple[int, ...] | None = None,
    on_progress: Progress | None = None,
) -> FirstInference:
    """Returns the medians of the stages that the hosted object's `stages()` reports, one fresh process a repeat.

    `stages()` does the work and returns {"import": seconds, "read": ..., "compile": ..., "first_run": ...}; its process
    has imported numpy and nothing heavier before. `total` is the median of the sums, not the sum of the medians.

    Raises UsageError below 5 repeats: the interval would say nothing.
    """
    if repeats < 5:
        raise UsageError(
            "usage.bad-option", "first inference needs at least 5 fresh processes", got=repeats, hint="repeats=5"
        )
    rows: list[dict[str, float]] = []
    for number in range(repeats):
        with Worker(factory, arguments, environment=environment, cores=cores) as worker:
            rows.append(worker.call("stages").value)
        if on_progress:
            on_progress((number + 1) / repeats)
    return FirstInference(
        {stage: median_estimate([row[stage] for row in rows]) for stage in rows[0]},
        median_estimate([sum(row.values()) for row in rows]),
    )
