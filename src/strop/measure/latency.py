"""Latency of one request: first call, warm-up and steady state apart; median, percentiles when earned, scatter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from strop.errors import UsageError
from strop.measure.blocks import Block, Progress
from strop.measure.clock import SYSTEM, Clock
from strop.measure.estimate import Estimate
from strop.measure.statistics import Dispersion, Percentile, dispersion, median_estimate, percentile
from strop.measure.warmup import warm_up

DEFAULT_SECONDS = 3.0
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
CHUNK_SECONDS = 0.1
WARM_UP_SHARE = 0.25
LARGE_CV = 0.25


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds per request: the first call, then the samples taken after `warmup_count` calls (the first included)."""

    first_seconds: float
    warmup_count: int
    samples: np.ndarray = field(repr=False)
    estimate: Estimate
    percentiles: tuple[Percentile, ...]
    dispersion: Dispersion
    warnings: tuple[str, ...] = ()

    def to_json(self) -> Mapping[str, object]:
        """Returns everything but the samples, in seconds, as a JSON object."""
        return {
            "first_seconds": self.first_seconds,
            "warmup_count": self.warmup_count,
            "estimate": self.estimate.to_json(),
            "minimum": float(self.samples.min()),
            "mean": float(self.samples.mean()),
            "maximum": float(self.samples.max()),
            "percentiles": [one.to_json() for one in self.percentiles],
            "iqr_over_median": self.dispersion.iqr_over_median,
            "cv": self.dispersion.cv,
            "warnings": list(self.warnings),
        }


def measure_latency(
    block: Block,
    *,
    seconds: float | None = None,
    iterations: int | None = None,
    percentiles: tuple[float, ...] = PERCENTILES,
    clock: Clock = SYSTEM,
    on_progress: Progress | None = None,
) -> Latency:
    """Returns the latency of single requests, one after the other.

    It runs for `seconds` (3 by default), or for `iterations` requests, or with both given until both are satisfied;
    first call and warm-up come on top. A warning says when samples scatter or calls were still getting faster.

    Raises UsageError for an option out of range.

    Example:
        >>> from strop.measure.blocks import block
        >>> latency = measure_latency(block(lambda: sum(range(1000))), iterations=50)
        >>> len(latency.samples), str(latency.percentiles[-1])
        (50, 'p99.9 needs 2995, have 50')
    """
    if seconds is None and iterations is None:
        seconds = DEFAULT_SECONDS
    for what, value in (("seconds", seconds), ("iterations", iterations)):
        if value is not None and not value > 0:
            raise UsageError(
                "usage.bad-option", f"{what} must be above 0", got=value, hint=f"leave {what} out for the default"
            )
    least_seconds, least_count = seconds or 0.0, iterations or 1
    warm = warm_up(block, seconds=WARM_UP_SHARE * (seconds or DEFAULT_SECONDS), clock=clock)
    samples: list[float] = []
    start = clock.now()
    while (spent := clock.now() - start) < least_seconds or len(samples) < least_count:
        if on_progress:
            on_progress(min(spent / least_seconds if least_seconds else 1.0, len(samples) / least_count, 1.0))
        count = max(1, round(min(CHUNK_SECONDS, max(least_seconds - spent, 0.0) or CHUNK_SECONDS) / warm.call_seconds))
        if spent >= least_seconds:
            count = min(count, least_count - len(samples))
        samples.extend(block(count))
    if on_progress:
        on_progress(1.0)
    scatter = dispersion(samples)
    warnings = []
    if not warm.settled:
        warnings.append("calls were still getting faster when the time for warm-up was over: run for longer")
    if scatter.cv > LARGE_CV:
        warnings.append(
            f"samples scatter by {scatter.cv:.0%} of their mean: close other programs, fix the processor's frequency, "
            "or trust only comparisons taken by turns"
        )
    return Latency(
        warm.first_seconds,
        warm.count,
        np.array(samples),
        median_estimate(samples),
        tuple(percentile(samples, q) for q in percentiles),
        scatter,
        tuple(warnings),
    )
