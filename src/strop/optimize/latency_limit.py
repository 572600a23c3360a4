"""Reads how long a request may take: `p90=10ms`, a percentile and a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from strop.errors import UsageError
from strop.measure.statistics import Percentile, percentile

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


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
    """Returns the limit that `text` states.

    Example:
        >>> str(parse_latency_limit("p90=10ms"))
        'p90 <= 10 ms'
    """
    match = re.fullmatch(r"\s*p(\d+(?:\.\d+)?)\s*(?:=|<=)\s*(\d+(?:\.\d+)?)\s*(us|ms|s)\s*", text.lower())
    if match is None or not 0 < float(match[1]) < 100 or float(match[2]) <= 0:
        raise UsageError(
            "usage.bad-option",
            "not a limit for the latency",
            got=text,
            expected="a percentile and a time with its unit: p90=10ms, p99=1.5s, p50=200us",
            hint="--max-latency p90=10ms",
        )
    return LatencyLimit(float(match[1]), float(match[2]) * _UNITS[match[3]])
