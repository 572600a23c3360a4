"""Two models on the same samples: the paired difference, whether it is within a limit, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np

from strop.errors import DataError, UsageError
from strop.measure.estimate import Estimate
from strop.measure.quantiles import normal_quantile
from strop.measure.statistics import paired_difference
from strop.quality.evaluate import RESAMPLES, Evaluation, unseen
from strop.quality.hits import are_hits
from strop.quality.sample_size import SamplePlan, plan_samples, rounded_up


@dataclass(frozen=True, slots=True)
class AccuracyDifference:
    """What b loses against a, in the metric's unit.

    difference: b - a with its two-sided interval; drop: the loss, positive whichever way the metric counts; bound: the
    drop's one-sided upper bound at the same level. limit: the largest drop accepted, or None; within: the drop is at
    most that; certified: the bound is, too; needed_n: the samples it would take to certify this drop, None where it is
    certified already or no number of samples would do.
    """

    metric: str
    a: Estimate
    b: Estimate
    difference: Estimate
    drop: float
    bound: float
    limit: float | None
    within: bool
    certified: bool
    needed_n: int | None

    @property
    def n(self) -> int:
        """The number of samples."""
        return self.difference.n

    @property
    def verdict(self) -> str:
        """The outcome in words."""
        if self.limit is None:
            return "no limit given"
        if self.certified:
            return "within limit, certified"
        if not self.within:
            return "limit exceeded"
        return f"within limit, not certified (needs n = {self.needed_n or 'more than can be told'})"

    def to_json(self) -> dict[str, object]:
        """Returns all fields, n and the verdict as a JSON object."""
        return asdict(self) | {"n": self.n, "verdict": self.verdict}


def compare_evaluations(
    a: Evaluation, b: Evaluation, *, max_drop: float | None = None, relative: bool = False, level: float = 0.95
) -> AccuracyDifference:
    """Returns b against a, evaluated on the same samples (which each model may have had prepared in its own way).

    max_drop: the largest loss accepted, in the metric's unit, or as a share of a's value where `relative`.
    Shares of samples are compared by a score interval that holds when few samples or none differ, other ratios by the
    delta method, a user's function by a paired bootstrap (seeded).
    """
    if a.keys != b.keys or a.targets != b.targets or a.metric.name != b.metric.name:
        raise UsageError(
            "usage.bad-option",
            "two evaluations can be compared only with the same metric on the same samples",
            got=f"{a.metric.name} on {a.n} and {b.metric.name} on {b.n} samples",
            hint="evaluate both on the same data set",
        )
    if not math.isfinite(a.value.point):
        raise DataError(
            "quality.metric",
            f"{a.metric.name} of the baseline is not a finite number",
            got=a.value.point,
            hint="its outputs hold NaN or infinity: check the model and its preprocessing",
        )
    difference, lower, upper = _difference(a, b, level)
    sign = -1.0 if a.metric.higher_is_better else 1.0
    drop = sign * difference.point + 0.0  # no -0.0
    bound = -lower if a.metric.higher_is_better else upper
    limit = None if max_drop is None else max_drop * abs(a.value.point) if relative else max_drop
    tolerance = 1e-12  # 0.01 and (3 - 2) / 100 are meant to be equal
    within = limit is None or drop <= limit + tolerance
    certified = limit is not None and within and bound <= limit + tolerance
    needed = None if limit is None or certified or not within else _needed(a, b, drop, bound, limit)
    return AccuracyDifference(
        a.metric.name, a.value, b.value, difference, drop, bound, limit, within, certified, needed
    )


def plan_from(
    a: Evaluation, b: Evaluation, limit: float, *, have: int | None = None, level: float = 0.95
) -> SamplePlan:
    """Returns how many samples would certify `limit` (in the metric's unit), by what a and b differ on those they ran.

    Where they differ on none, as many are taken to differ as may, at `level`, go unseen.
    """
    found = compare_evaluations(a, b, level=level)
    deviation: float | None = None
    flipped: float | None = None
    if a.rows is None or b.rows is None:
        deviation = (found.bound - found.drop) * math.sqrt(a.n) / normal_quantile(level)
    elif are_hits(a.rows) and are_hits(b.rows):
        flipped = float((a.rows[:, 0] != b.rows[:, 0]).mean()) or unseen(a.metric, a.value.point, a.n, level)
    else:
        spread = paired_difference(a.rows, b.rows, level=level).deviation
        deviation = spread or math.sqrt(unseen(a.metric, a.value.point, a.n, level))
    return plan_samples(
        limit,
        deviation=deviation,
        flipped=flipped,
        drop=max(found.drop, 0.0),
        level=level,
        measured=a.n,
        have=have,
        is_fraction=a.metric.is_fraction,
    )


def _difference(a: Evaluation, b: Evaluation, level: float) -> tuple[Estimate, float, float]:
    if not math.isfinite(b.value.point):
        worst = Estimate(b.value.point, b.value.point, b.value.point, level, b.n, "difference")
        return worst, b.value.point, b.value.point
    if a.rows is not None and b.rows is not None:
        paired = paired_difference(a.rows, b.rows, level=level)
        return paired.difference, paired.lower_bound, paired.upper_bound
    draws = np.random.default_rng(0).integers(0, a.n, size=(RESAMPLES, a.n))
    values = [b.metric.value_of(indices) - a.metric.value_of(indices) for indices in draws]
    low, high, lower, upper = np.quantile(values, ((1 - level) / 2, (1 + level) / 2, 1 - level, level)).tolist()
    if low == high == 0 and a.predictions == b.predictions:
        # No sample differs; of those that were not drawn some may.
        upper = unseen(a.metric, a.value.point, a.n, level)
        low, high, lower = -upper, upper, -upper
    point = b.value.point - a.value.point
    return Estimate(point, low, high, level, a.n, "difference"), lower, upper


def _needed(a: Evaluation, b: Evaluation, drop: float, bound: float, limit: float) -> int | None:
    """Returns about how many samples certify the drop seen: its bound's distance shrinks as 1 / sqrt(n).

    Where no sample differs it shrinks as 1 / n, as in the rule of three. Rounded up to two digits.
    """
    room = limit - drop
    if room <= 0 or not math.isfinite(bound):
        return None
    nothing_differs = a.rows is not None and b.rows is not None and np.array_equal(a.rows, b.rows)
    shrink = (bound - drop) / room
    return rounded_up(a.n * (shrink if nothing_differs else shrink**2))
