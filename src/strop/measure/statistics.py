"""Figures from samples: median with its interval, earned percentiles, dispersion, proportions, paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from strop.errors import MeasurementError, UsageError
from strop.measure.estimate import Estimate
from strop.measure.paired import PairedDifference, paired_difference
from strop.measure.quantiles import correlation_time, normal_quantile, student_quantile

__all__ = [
    "Dispersion",
    "PairedDifference",
    "Percentile",
    "dispersion",
    "mean_estimate",
    "median_estimate",
    "paired_difference",
    "percentile",
    "proportion",
]

Samples = Sequence[float] | np.ndarray


def median_estimate(samples: Samples, *, level: float = 0.95) -> Estimate:
    """Returns the median of samples, in the order they were taken, with an interval that stands correlated noise.

    The interval lies between two order statistics, so no distribution is assumed; their distance comes from the
    effective number of samples, n divided by the correlation time of the signs around the median. Below 6 samples
    (at 95 %) the interval is the whole range and `level` says what that is worth, 1 - 2 ** (1 - n).
    Simulated in `tests/unit/measure/test_statistics.py`: it covers as promised from some 50 correlation times on.

    Raises MeasurementError (`measure.too-few`) without samples.

    Example:
        >>> median_estimate([1.0, 2.0, 3.0, 4.0, 5.0]).point
        3.0
    """
    values = _values(samples)
    n = len(values)
    point = float(np.median(values))
    effective = n / correlation_time(np.sign(values - point))
    quantile = (
        student_quantile((1 + level) / 2, max(effective - 1, 1)) if effective < n else normal_quantile((1 + level) / 2)
    )
    half = quantile * n / math.sqrt(effective) / 2
    rank = max(0, math.floor(n / 2 - half - 0.5))
    ordered = np.sort(values)
    return Estimate(
        point, float(ordered[rank]), float(ordered[n - 1 - rank]), min(level, max(0.0, 1 - 2.0 ** (1 - n))), n, "median"
    )


def mean_estimate(samples: Samples, *, level: float = 0.95) -> Estimate:
    """Returns the mean with Student's interval, widened for correlation as in `median_estimate`.

    Raises MeasurementError (`measure.too-few`) below two samples.
    """
    values = _values(samples, least=2)
    n = len(values)
    effective = n / correlation_time(values)
    error = float(values.std(ddof=1)) / math.sqrt(effective)
    half = student_quantile((1 + level) / 2, max(effective - 1, 1)) * error
    point = float(values.mean())
    return Estimate(point, point - half, point + half, level, n, "mean")


@dataclass(frozen=True, slots=True)
class Percentile:
    """A percentile q (in percent) of n samples, `value` None when n is below what q needs."""

    q: float
    value: float | None
    n: int
    needed: int

    def __str__(self) -> str:
        if self.value is None:
            return f"p{self.q:g} needs {self.needed}, have {self.n}"
        return f"p{self.q:g} = {self.value:g}"

    def to_json(self) -> dict[str, object]:
        """Returns q, value, n and needed as a JSON object."""
        return {"q": self.q, "value": self.value, "n": self.n, "needed": self.needed}


def percentile(samples: Samples, q: float, *, level: float = 0.95) -> Percentile:
    """Returns the q-th percentile (0 < q <= 100), without value where the sample is too small for it.

    It is earned when at least one sample lies beyond the true percentile with probability `level`:
    n >= log(1 - level) / log(q), 2995 for p99.9. The 100th is the largest sample seen, whatever n.

    Example:
        >>> str(percentile([0.1] * 200, 99.9))
        'p99.9 needs 2995, have 200'
    """
    if not 0 < q <= 100:
        raise UsageError(
            "usage.bad-option", "a percentile lies above 0 and at most at 100", got=q, hint="50 is the median"
        )
    values = _values(samples)
    needed = 1
    if q < 100:
        needed = math.ceil(math.log(1 - level) / math.log(max(q, 100 - q) / 100))
    value = float(np.percentile(values, q)) if len(values) >= needed else None
    return Percentile(q, value, len(values), needed)


@dataclass(frozen=True, slots=True)
class Dispersion:
    """How far samples scatter, as fractions: interquartile range over median, standard deviation over mean."""

    iqr_over_median: float
    cv: float


def dispersion(samples: Samples) -> Dispersion:
    """Returns the relative scatter of positive samples; cv sees outliers, iqr_over_median does not."""
    values = _values(samples)
    low, median, high = np.percentile(values, (25, 50, 75))
    return Dispersion(float((high - low) / median), float(values.std() / values.mean()))


def proportion(successes: int, n: int, *, level: float = 0.95) -> Estimate:
    """Returns successes / n with Wilson's score interval.

    Example:
        >>> round(proportion(0, 100).high, 3)
        0.037
    """
    if n < 1:
        raise MeasurementError("measure.too-few", "a proportion of nothing", got=n, expected="n >= 1", hint="give data")
    z = normal_quantile((1 + level) / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2) / (1 + z * z / n)
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Estimate(share, low, high, level, n, "proportion")


def _values(samples: Samples, *, least: int = 1) -> np.ndarray:
    values = np.asarray(samples, dtype=float)
    if values.size < least:
        raise MeasurementError(
            "measure.too-few",
            "there are too few samples",
            got=values.size,
            expected=f"at least {least}",
            hint="run for longer",
        )
    return values
