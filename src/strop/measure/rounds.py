"""The interval of a comparison, from one difference per round.

In each round the order of the callables is drawn by lot and then mirrored (A B B A or B A A B), so whatever the machine
does to a round (its speed changes in steps of up to 1.5x, within seconds) counts for or against either side with the
same probability. The differences are then symmetric around the truth by construction, whatever the noise and however it
is correlated, and Wilcoxon's signed rank interval is exact. What the lot cannot balance is a truth that itself changes
with the machine's mode: then differences of neighbouring rounds are alike, and the interval is widened by how much.
"""

from __future__ import annotations

import math

import numpy as np

from strop.measure.estimate import Estimate, Speedup, Verdict
from strop.measure.quantiles import correlation_time, signed_rank_quantile

MOST_DIFFERENCES = 1000


def rounds_needed(level: float) -> int:
    """Returns the least number of rounds that give an interval at this level: 8 at 99 %, 6 at 95 %."""
    return math.ceil(1 - math.log2(1 - level))


def shift_estimate(differences: np.ndarray, *, level: float) -> Estimate:
    """Returns the centre of the differences (median of all pairwise means, Hodges and Lehmann) with its interval."""
    rounds = len(differences)
    while len(differences) > MOST_DIFFERENCES:
        # All pairs are held at once; means of neighbours are as symmetric around the truth as what they are made of.
        even = len(differences) // 2 * 2
        differences = differences[:even].reshape(-1, 2).mean(axis=1)
    n = len(differences)
    first, second = np.triu_indices(n)
    means = np.sort((differences[first] + differences[second]) / 2)
    count = len(means)
    point = float(np.median(means))
    reach = count / 2 - signed_rank_quantile(n, (1 - level) / 2)
    ranks = np.argsort(np.argsort(np.abs(differences - point))) + 1.0
    reach *= math.sqrt(correlation_time(np.sign(differences - point) * ranks))
    lowest = max(0, math.floor(count / 2 - reach))
    attained = min(level, max(0.0, 1 - 2.0 ** (1 - n)))
    return Estimate(point, float(means[lowest]), float(means[count - 1 - lowest]), attained, rounds, "ratio")


def speedup(log_ratios: np.ndarray, *, level: float, margin: float) -> Speedup:
    """Returns the speed-up with its verdict, from one log(baseline seconds / its seconds) per round."""
    shift = shift_estimate(log_ratios, level=level)
    ratio = Estimate(
        math.exp(shift.point), math.exp(shift.low), math.exp(shift.high), shift.level, shift.n, shift.statistic
    )
    return Speedup(ratio, verdict(ratio, margin=margin), margin)


def verdict(ratio: Estimate, *, margin: float) -> Verdict:
    """Returns `same` if the interval lies within 1 +- margin, else which side of 1 it lies on, else `cannot tell`.

    Example:
        >>> verdict(Estimate(1.2, 1.1, 1.3, level=0.99, n=50), margin=0.03)
        <Verdict.FASTER: 'faster'>
    """
    if 1 - margin <= ratio.low and ratio.high <= 1 + margin:
        return Verdict.SAME
    if ratio.low > 1:
        return Verdict.FASTER
    if ratio.high < 1:
        return Verdict.SLOWER
    return Verdict.CANNOT_TELL
