"""The probe kernel as a side of a comparison: what the machine attains in the very rounds that the engines ran in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from strop.measure.clock import now
from strop.measure.estimate import Estimate
from strop.measure.statistics import median_estimate


class Probe:
    """Asks `rate_now` for the float32 operations a second of one thread, and remembers all answers."""

    def __init__(self, rate_now: Callable[[], float] | None = None):
        if rate_now is None:
            from strop.compiler import probe  # brings llvmlite, which is not for those who only read results

            rate_now = probe.rate_now
        self._rate_now = rate_now
        self.rates: list[float] = []
        self._rate_now()  # makes its code

    def block(self, n: int) -> Sequence[float]:
        """Asks n times and returns how long that took each time."""
        seconds = []
        for _ in range(n):
            start = now()
            self.rates.append(self._rate_now())
            seconds.append(now() - start)
        return seconds

    @property
    def rate(self) -> Estimate | None:
        """The median rate, None where nobody asked."""
        return median_estimate(self.rates) if self.rates else None

    def to_json(self) -> dict[str, object] | None:
        """Returns the rate in GFLOP/s of one thread as a JSON object."""
        return None if self.rate is None else {"gflops": self.rate.scaled(1e-9).to_json()}
