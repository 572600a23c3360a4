"""How many samples it takes to certify that at most so much accuracy is lost, said before they are run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from strop.errors import UsageError
from strop.measure.quantiles import normal_quantile

POWER = 0.8
FLIPPED = 0.03
"""The share of samples on which a quantized classifier is right where the original is wrong, or the other way round;
what is assumed where nothing was measured."""


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """`needed` samples certify a drop of at most `limit` at `level`, with probability `power`; None where none would.

    deviation: standard deviation of one sample's share in the difference; flipped: the share of samples right with one
    model and wrong with the other, where the metric is a share of right ones; drop: what is lost on average; measured:
    on how many samples those two were measured, None where they are assumed; have: the samples there are.
    """

    limit: float
    level: float
    power: float
    deviation: float
    flipped: float | None
    drop: float
    needed: int | None
    measured: int | None
    have: int | None
    is_fraction: bool

    @property
    def words(self) -> str:
        """The plan in a sentence."""
        limit = f"{100 * self.limit:.3g} points" if self.is_fraction else f"{self.limit:.3g}"
        how = f"as seen on {self.measured} samples" if self.measured else "as is usual"
        aim = f"to certify a drop of at most {limit} ({self.level:.0%})"
        if self.needed is None:
            return f"no number of samples is known {aim}: the drop seen is not below it"
        plan = f"{aim} run about {self.needed:,} samples"
        if self.flipped is not None:
            plan += f" ({self.power:.0%} chance, where {100 * self.flipped:.3g} % of them flip, {how})"
        else:
            plan += f" ({self.power:.0%} chance, where samples scatter {how})"
        if self.have is not None:
            plan += f"; there are {self.have:,}" + ("" if self.have >= self.needed else ", too few")
        return plan

    def to_json(self) -> dict[str, object]:
        """Returns the fields and the words as a JSON object."""
        return asdict(self) | {"words": self.words}


def plan_samples(
    limit: float,
    *,
    deviation: float | None = None,
    flipped: float | None = None,
    drop: float = 0.0,
    level: float = 0.95,
    power: float = POWER,
    measured: int | None = None,
    have: int | None = None,
    is_fraction: bool = True,
) -> SamplePlan:
    """Returns how many samples certify a drop of at most `limit`, where a model loses `drop` on average.

    The one-sided bound of a mean of n paired differences with standard deviation s lies z(level) s / sqrt(n) above it,
    so that it stays below the limit with probability `power` from n = ((z(level) + z(power)) s / (limit - drop))^2 on.
    For right and wrong answers of which a share f flips, s^2 = f - drop^2, and beside z(level) stands the deviation
    that the score test takes, that of the likeliest rates whose drop is the limit itself (Nam, Biometrics 53, 1997).
    Where nothing flips the rule of three holds, n = log(1 - level) / log(1 - limit), and no plan is below it. Rounded
    up to two digits; checked by simulation in `tests/unit/quality/test_sample_size.py`.

    deviation: s, where the metric is no share of right answers; flipped: f, 3 % unless it was measured. Raises
    UsageError for a limit that is not above 0.

    Example:
        >>> plan_samples(0.005).needed
        7600
    """
    if not limit > 0:
        raise UsageError(
            "usage.bad-option",
            "no number of samples certifies that nothing at all is lost",
            got=limit,
            expected="a limit above 0",
            hint="allow a little: --max-drop 0.5%",
        )
    if deviation is not None:
        spread = at_limit = deviation
        flipped = None
    else:
        flipped = FLIPPED if flipped is None else flipped
        spread, at_limit = math.sqrt(max(flipped - drop**2, 0.0)), _deviation_at_limit(flipped, drop, limit)
    needed = None
    if drop < limit:
        wanted = normal_quantile(level) * at_limit + normal_quantile(power) * spread
        least = math.log(1 - level) / math.log1p(-limit) if is_fraction and limit < 1 else 2.0
        needed = rounded_up(max((wanted / (limit - drop)) ** 2, least))
    return SamplePlan(limit, level, power, spread, flipped, drop, needed, measured, have, is_fraction)


def _deviation_at_limit(flipped: float, drop: float, limit: float) -> float:
    """Returns the deviation that Tango's score test takes on average: see `strop.measure.paired`."""
    lost, gained = (flipped + drop) / 2, (flipped - drop) / 2
    linear = -gained - lost - (2 - gained + lost) * limit
    constant = lost * limit * (1 + limit)
    of_lost = (math.sqrt(max(linear**2 - 8 * constant, 0.0)) - linear) / 4
    return math.sqrt(max(2 * of_lost - limit * (1 + limit), 0.0))


def rounded_up(count: float) -> int:
    """Returns a count, rounded up to two digits.

    Example:
        >>> rounded_up(7419.1)
        7500
    """
    unit = int(10 ** max(0, math.floor(math.log10(max(count, 1.0))) - 1))
    return unit * math.ceil(count / unit)
