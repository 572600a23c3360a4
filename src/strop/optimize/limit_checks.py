"""Whether a form keeps the limits on latency, memory and throughput: measured as far as the time given for it goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from strop.measure.comparison import Compared
from strop.measure.estimate import Estimate
from strop.measure.statistics import mean_estimate, median_estimate, percentile
from strop.measure.turns import wait_until_idle
from strop.optimize.job import Job
from strop.optimize.limits import Limit
from strop.optimize.racing import Contender

CHUNK_SECONDS = 0.25
LOAD_SECONDS = 1.0
"""How long many requests are kept in flight for a limit on throughput, where the race did not do that."""


@dataclass(frozen=True, slots=True)
class LimitCheck:
    """A limit, what was measured for it, and whether it is kept: None where the sample does not earn the figure."""

    limit: Limit
    value: float | None
    n: int
    met: bool | None
    words: str

    @property
    def excess(self) -> float:
        """How far beyond the limit it is, as a logarithm; 0 where it is kept or cannot be told."""
        if self.met is not False or self.value is None:
            return 0.0
        return abs(math.log(self.value / self.limit.bound))

    def to_json(self) -> dict[str, object]:
        """Returns everything as a JSON object; value in seconds, bytes or inferences per second."""
        return {"limit": self.limit.to_json(), "value": self.value, "n": self.n, "met": self.met, "words": self.words}


def total_excess(checks: Sequence[LimitCheck]) -> float:
    """Returns how far beyond the limits a form is, all of them together."""
    return sum(check.excess for check in checks)


def summary(checks: Sequence[LimitCheck]) -> str:
    """Returns what is not kept, or cannot be told, in words; "" where all is well."""
    return "; ".join(check.words for check in checks if check.met is not True)


def all_met(checks: Sequence[LimitCheck]) -> bool | None:
    """Returns whether all limits are kept: False where one is not, None where that cannot be told."""
    states = {check.met for check in checks}
    return False if False in states else None if None in states else True


def samples_needed(limits: Sequence[Limit]) -> int:
    """Returns how many requests the percentiles among the limits need."""
    percents = [limit.percent for limit in limits if limit.percent is not None]
    return max((percentile([1.0], percent).needed for percent in percents), default=2 if limits else 0)


def check_latency(limit: Limit, seconds: Sequence[float] | np.ndarray) -> LimitCheck:
    """Compares a latency with its limit."""
    n = len(seconds)
    if limit.percent is None or limit.percent == 50:
        if n < 2:
            return LimitCheck(limit, None, n, None, f"{limit.words}: cannot tell, {n} requests are too few")
        found = mean_estimate(seconds) if limit.percent is None else median_estimate(seconds)
        return _checked(limit, found.point, n, f" ({found.low * 1e3:.3g} to {found.high * 1e3:.3g})")
    earned = percentile(seconds, limit.percent)
    if earned.value is None:
        return LimitCheck(limit, None, n, None, f"{limit.words}: cannot tell, {earned}")
    return _checked(limit, earned.value, n, "")


def check_memory(limit: Limit, peak_bytes: int) -> LimitCheck:
    """Compares the peak memory of the whole process with its limit."""
    return _checked(limit, float(peak_bytes), 1, "")


def check_throughput(limit: Limit, per_second: Estimate) -> LimitCheck:
    """Compares a throughput with its limit."""
    return _checked(limit, per_second.point, per_second.n, f" ({per_second.low:.3g} to {per_second.high:.3g})")


def check_limits(
    job: Job,
    contender: Contender,
    *,
    latencies: Sequence[float] | np.ndarray | None,
    rate: Estimate | None,
    seconds: float,
    others: Sequence[Contender] = (),
) -> tuple[LimitCheck, ...]:
    """Returns a check for each of the job's limits.

    latencies, rate: what was measured already, seconds of single requests and inferences per second. What they lack is
    measured within `seconds`, once the threads of `others` are at rest; what does not fit says so.
    """
    if not job.limits:
        return ()
    wait_until_idle([contender.remote, *(other.remote for other in others)])
    wanted = [limit for limit in job.limits if limit.kind == "latency"]
    if any(limit.kind == "throughput" for limit in job.limits) and rate is None:
        rate = contender.remote.throughput(seconds=min(LOAD_SECONDS, max(0.1, seconds / 2))).per_second
    if wanted:
        latencies = _latencies(job, contender, latencies, samples_needed(wanted), seconds)
    found = []
    for limit in job.limits:
        if limit.kind == "latency":
            found.append(check_latency(limit, () if latencies is None else latencies))
        elif limit.kind == "memory":
            found.append(check_memory(limit, contender.remote.memory().peak_bytes))
        elif rate is not None:
            found.append(check_throughput(limit, rate))
    return tuple(found)


def checks_of(
    job: Job, contender: Contender, raced: Compared, *, others: Sequence[Contender], seconds: float
) -> tuple[LimitCheck, ...]:
    """Returns the checks of the job's limits for a form that was raced; seconds: for what the race does not show."""
    latency = job.objective == "latency"
    return check_limits(
        job,
        contender,
        latencies=raced.samples if latency and len(job.timed_inputs) == 1 else None,
        rate=None if latency else per_second(raced.estimate),
        seconds=seconds,
        others=others,
    )


def per_second(seconds: Estimate) -> Estimate:
    """Returns the rate that seconds per inference are."""
    return Estimate(1 / seconds.point, 1 / seconds.high, 1 / seconds.low, seconds.level, seconds.n, seconds.statistic)


def _latencies(
    job: Job, contender: Contender, have: Sequence[float] | np.ndarray | None, needed: int, seconds: float
) -> np.ndarray:
    """Returns seconds of requests: at the throughput objective with as many in flight as keep it busy, else one.

    Of inputs that differ in shape a race has times a pass, not a request; single ones are taken anew then.
    """
    if job.objective == "throughput" or len(job.timed_inputs) > 1:
        expected = needed * job.request_seconds
        requests = None if job.objective == "throughput" else 1
        return contender.remote.throughput(seconds=max(0.1, min(seconds, 1.2 * expected)), requests=requests).latencies
    samples = [] if have is None else [float(one) for one in have]
    began = job.budget.elapsed
    while len(samples) < needed and job.budget.elapsed - began < seconds:
        typical = float(np.median(samples)) if samples else job.request_seconds
        left = seconds - (job.budget.elapsed - began)
        if typical > left:
            break
        count = max(1, min(needed - len(samples), round(min(CHUNK_SECONDS, left) / max(typical, 1e-7))))
        samples.extend(contender.remote.block(count))
    return np.array(samples)


def _checked(limit: Limit, value: float, n: int, interval: str) -> LimitCheck:
    met = value >= limit.bound if limit.kind == "throughput" else value <= limit.bound
    shown = f"{limit.shown(value)}{interval}"
    return LimitCheck(limit, value, n, met, f"{limit.words}: {'met' if met else 'not met'}, {shown}")
