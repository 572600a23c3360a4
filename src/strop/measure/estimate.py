"""What a measurement says: a point, its interval, and the verdict of a comparison."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What an interval of a speed ratio says about the second of two callables."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "same"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its confidence interval.

    point, low, high carry the unit that the place where it stands names (`latency_ms` -> milliseconds);
    level is the confidence level of [low, high]; n the number of observations; statistic what point is.

    Example:
        >>> Estimate(1.5, 1.4, 1.6, level=0.95, n=200, statistic="median").point
        1.5
    """

    point: float
    low: float
    high: float
    level: float
    n: int
    statistic: str = "median"

    def to_json(self) -> dict[str, object]:
        """Returns the fields as a JSON object."""
        return asdict(self)

    def scaled(self, factor: float) -> Estimate:
        """Returns the estimate in another unit: each figure times `factor` (> 0)."""
        return Estimate(self.point * factor, self.low * factor, self.high * factor, self.level, self.n, self.statistic)


@dataclass(frozen=True, slots=True)
class Speedup:
    """How many times faster than the baseline (above 1 = faster), with the verdict at `margin`."""

    ratio: Estimate
    verdict: Verdict
    margin: float

    def to_json(self) -> dict[str, object]:
        """Returns point, low, high, verdict, level, n and margin as a JSON object."""
        return {**self.ratio.to_json(), "verdict": str(self.verdict), "margin": self.margin}


SPEEDUP_OF_ITSELF = {"point": 1.0, "low": 1.0, "high": 1.0, "verdict": str(Verdict.SAME)}
"""What a baseline's speed-up against itself is, as JSON."""
