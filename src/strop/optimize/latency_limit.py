"""Reads how long a request may take: `p90=10ms`, a percentile and a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from strop.errors import UsageError
from strop.measure.statistics import Percentile, percentile
from strop.optimize.limits import parse_limits


@dataclass(frozen=True, slots=True)
class LatencyLimit:
    """The q-th percentile (in percent) of a request's latency must be at most `seconds`."""

    q: float
    seconds: float

    def __str__(self) -> str:
        return f"p{self.q:g} <= {self.seconds * 1e3:g} ms"

    def of(self, latencies: Sequence[float] | np.ndarray) -> Percentile:
        """Returns the percentile that the limit is about, without value where so few latencies do not earn it."""
        return percentile(latencies, self.q)


def parse_latency_limit(text: str) -> LatencyLimit:
    """Returns the limit that `text` states, read as `strop optimize` reads it; 10ms alone is about the median.

    Example:
        >>> str(parse_latency_limit("p90=10ms"))
        'p90 <= 10 ms'
    """
    found = parse_limits(text)
    if len(found) != 1 or found[0].percent is None:
        raise UsageError(
            "usage.bad-option",
            "a curve has one limit, for a percentile",
            got=text,
            expected="a percentile and a time: p90=10ms",
            hint="--max-latency p90=10ms",
        )
    return LatencyLimit(found[0].percent, found[0].bound)
