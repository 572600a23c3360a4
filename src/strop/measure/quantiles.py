"""Quantiles of the distributions that intervals need, and how much a correlated series is worth; no scipy."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np


def normal_quantile(probability: float) -> float:
    """Returns z with P(Z <= z) = probability for a standard normal Z."""
    return NormalDist().inv_cdf(probability)


def student_quantile(probability: float, degrees: float) -> float:
    """Returns t with P(T <= t) = probability for Student's T; within 1 % from 3 degrees of freedom on.

    Uses Hill's expansion (Communications of the ACM 13, algorithm 396, 1970); 1 and 2 degrees are exact.
    """
    if probability < 0.5:
        return -student_quantile(1 - probability, degrees)
    tail = 2 * (1 - probability)
    if degrees <= 1:
        return 1 / math.tan(tail * math.pi / 2)
    if degrees <= 2:
        return math.sqrt(2 / (tail * (2 - tail)) - 2)
    a = 1 / (degrees - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * degrees
    y = (d * tail) ** (2 / degrees)
    if y > 0.05 + a:
        x = normal_quantile(tail / 2)
        y = x * x
        if degrees < 5:
            c += 0.3 * (degrees - 4.5) * (x + 0.6)
        c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y * y)
    else:
        y = (
            (1 / (((degrees + 6) / (degrees * y) - 0.089 * d - 0.822) * (degrees + 2) * 3) + 0.5 / (degrees + 4)) * y
            - 1
        ) * (degrees + 1) / (degrees + 2) + 1 / y
    return math.sqrt(degrees * y)


@lru_cache(maxsize=256)
def signed_rank_quantile(n: int, tail: float) -> int:
    """Returns the largest k with P(W <= k) <= tail for Wilcoxon's signed rank statistic W of n values; -1 if none.

    Exact by convolution up to 60 values, beyond that the normal approximation.
    """
    if n > 60:
        deviation = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return math.floor(n * (n + 1) / 4 + normal_quantile(tail) * deviation - 0.5)
    ways = np.zeros(n * (n + 1) // 2 + 1)
    ways[0] = 1.0
    for rank in range(1, n + 1):
        ways[rank:] += ways[:-rank].copy()
    return int(np.searchsorted(np.cumsum(ways) / 2.0**n, tail, side="right")) - 1


def correlation_time(series: np.ndarray) -> float:
    """Returns how many successive values of the series are worth one independent value (at least 1).

    The sum of autocorrelations, cut by Geyer's initial monotone sequence (Statistical Science 7, 1992).
    """
    n = len(series)
    centred = np.asarray(series, dtype=float) - np.mean(series)
    if n < 4 or not np.any(centred):
        return 1.0
    spectrum = np.fft.rfft(centred, 2 * n)
    covariance = np.fft.irfft(spectrum * np.conj(spectrum))[:n]
    even = n // 2 * 2
    pairs = covariance[0:even:2] + covariance[1:even:2]
    ends = np.flatnonzero(pairs <= 0)
    pairs = np.minimum.accumulate(pairs[: ends[0] if len(ends) else None])
    return max(1.0, float(2 * pairs.sum() / covariance[0]) - 1.0)
