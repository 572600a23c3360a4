"""The difference of a ratio metric between two systems on the same samples, with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from strop.errors import MeasurementError, UsageError
from strop.measure.estimate import Estimate
from strop.measure.quantiles import normal_quantile, student_quantile


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """b - a: two-sided estimate, and the one-sided bounds at the same level.

    deviation: standard deviation of one sample's share in the difference; a bound lies about z * deviation / sqrt(n)
    from the point, which says how many samples a tighter one needs.
    """

    difference: Estimate
    lower_bound: float
    upper_bound: float
    deviation: float


def paired_difference(a_rows: np.ndarray, b_rows: np.ndarray, *, level: float = 0.95) -> PairedDifference:
    """Returns sum(numerator) / sum(denominator) of b minus that of a, from rows [n, 2] of the same n samples.

    A hit rate has rows (0 or 1, 1), a character error rate rows (edits, characters). Hits are compared with Tango's
    score interval for paired proportions (Statistics in Medicine 17, 1998), which holds when few samples or none
    differ. Other rows use the delta method with two pseudo-samples of the largest share seen, one to each side: without
    them an interval from no difference at all would have no width.

    Example:
        >>> rows = np.array([[1.0, 1.0]] * 90 + [[0.0, 1.0]] * 10)
        >>> same = paired_difference(rows, rows)
        >>> same.difference.point, round(same.difference.high, 3)
        (0.0, 0.037)
    """
    a, b = np.asarray(a_rows, dtype=float), np.asarray(b_rows, dtype=float)
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != 2:
        raise UsageError(
            "usage.bad-option",
            "paired rows must be two arrays [n, 2] of the same n samples",
            got=f"{a.shape} and {b.shape}",
            hint="evaluate both on the same samples",
        )
    n = len(a)
    if n == 0 or not (a[:, 1].sum() > 0 and b[:, 1].sum() > 0):
        raise MeasurementError(
            "measure.too-few", "there is nothing to compare", got=n, expected="at least 1 sample", hint="give more data"
        )
    ratio_a, ratio_b = a[:, 0].sum() / a[:, 1].sum(), b[:, 0].sum() / b[:, 1].sum()
    shares = (b[:, 0] - ratio_b * b[:, 1]) / b[:, 1].mean() - (a[:, 0] - ratio_a * a[:, 1]) / a[:, 1].mean()
    point = float(ratio_b - ratio_a)
    deviation = float(shares.std())
    two_sided, one_sided = (1 + level) / 2, level
    if _are_hits(a) and _are_hits(b):
        gained = int(((b[:, 0] == 1) & (a[:, 0] == 0)).sum())
        lost = int(((b[:, 0] == 0) & (a[:, 0] == 1)).sum())
        low, high = _score_interval(gained, lost, n, normal_quantile(two_sided))
        lower, upper = _score_interval(gained, lost, n, normal_quantile(one_sided))
    else:
        largest = float(np.abs(shares).max()) or float((a[:, 1] / a[:, 1].mean()).max())
        padded = np.concatenate([shares, [largest, -largest]])
        error = float(padded.std(ddof=1)) / math.sqrt(n)
        low, high = (point + side * student_quantile(two_sided, n) * error for side in (-1, 1))
        lower, upper = (point + side * student_quantile(one_sided, n) * error for side in (-1, 1))
    return PairedDifference(Estimate(point, low, high, level, n, "difference"), lower, upper, deviation)


def _are_hits(rows: np.ndarray) -> bool:
    return bool(np.all(rows[:, 1] == 1) and np.all((rows[:, 0] == 0) | (rows[:, 0] == 1)))


def _score_interval(gained: int, lost: int, n: int, z: float) -> tuple[float, float]:
    """Returns the differences that Tango's score test does not reject, found by bisection on both sides."""

    def score(difference: float) -> float:
        linear = -gained - lost + (2 * n - gained + lost) * difference
        constant = -lost * difference * (1 - difference)
        probability_lost = (math.sqrt(max(linear * linear - 8 * n * constant, 0.0)) - linear) / (4 * n)
        variance = n * (2 * probability_lost + difference * (1 - difference))
        distance = gained - lost - n * difference
        return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)

    def crossing(inside: float, outside: float, target: float) -> float:
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if abs(score(middle)) < target else (inside, middle)
        return outside

    point = (gained - lost) / n
    return (
        -1.0 if point == -1 else crossing(point, -1.0, z),
        1.0 if point == 1 else crossing(point, 1.0, z),
    )
