"""Whether this machine is quiet enough to measure: a comparison of one thing with itself, many times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from strop.measure.blocks import Progress
from strop.measure.clock import SYSTEM, Clock
from strop.measure.comparison import compare
from strop.measure.estimate import Estimate, Verdict
from strop.measure.statistics import proportion

WINDOW_SECONDS = 0.01
QUIET_SWING = 1.15


@dataclass(frozen=True, slots=True)
class NoiseReport:
    """What the self-test found: how often each verdict fell, the rate of false alarms, the swing of the speed.

    swing: 95th over 5th percentile of the time the same work took, in windows of 10 ms; 1 is a steady machine.
    """

    verdicts: dict[str, int]
    false_alarm_rate: Estimate
    swing: float
    quiet: bool
    advice: tuple[str, ...]


def self_test(
    seconds: float = 10.0,
    *,
    comparisons: int | None = None,
    work: Callable[[], object] | None = None,
    clock: Clock = SYSTEM,
    on_progress: Progress | None = None,
) -> NoiseReport:
    """Returns what many comparisons of the same work with itself say, all together in about `seconds`.

    There is one for each half second, from 4 to 20. That is short, so `cannot tell` is common where `compare` by
    itself would say `same`; `faster` and `slower` are false alarms, promised in at most 1 of 100.
    """
    work = work or _work()
    comparisons = comparisons or max(4, min(20, int(seconds / 0.5)))
    verdicts = {str(verdict): 0 for verdict in Verdict}
    windows: list[float] = []
    for number in range(comparisons):
        result = compare({"once": work, "again": work}, seconds=seconds / comparisons, clock=clock, seed=number)
        verdicts[str(result["again"].verdict)] += 1
        windows.extend(_windows(np.concatenate([result["once"].samples, result["again"].samples])))
        if on_progress:
            on_progress((number + 1) / comparisons)
    slow, fast = np.percentile(windows, (95, 5))
    alarms = verdicts[Verdict.FASTER] + verdicts[Verdict.SLOWER]
    rate = proportion(alarms, comparisons)
    swing = float(slow / fast)
    advice = []
    if swing >= QUIET_SWING:
        advice.append(
            f"the same work takes up to {swing:.2f}x as long from one moment to the next: close other programs, fix "
            "the processor's frequency; ratios of comparisons stay usable, absolute times do not"
        )
    if rate.low > 0.01:
        advice.append(
            f"{alarms} of {comparisons} comparisons of the same work raised a false alarm: do not trust verdicts here"
        )
    return NoiseReport(verdicts, rate, swing, not advice, tuple(advice))


def _work() -> Callable[[], object]:
    """Returns about 0.2 ms of arithmetic in one thread that stays in the cache."""
    values = np.linspace(0.0, 1.0, 4096)
    result = np.empty_like(values)

    def run() -> None:
        for _ in range(40):
            np.multiply(values, values, out=result)
            np.add(result, values, out=result)

    return run


def _windows(samples: np.ndarray) -> list[float]:
    each = max(1, round(WINDOW_SECONDS / float(np.median(samples))))
    return [float(np.median(samples[start : start + each])) for start in range(0, len(samples) - each + 1, each)]
