"""How much slower a model became, told from probe kernels, where the old form cannot be run beside the new one.

Stored with a baseline: the model's time over each probe kernel's, taken in the same rounds. A machine that is faster by
some factor changes both, and each probe says by how much the model's time should have changed: five predictions. How
far they lie apart is how little this method knows. On the machine of the baseline that is some per cent, on another one
it may be a factor of two. The model is one more kernel of that kind, so its slow-down has the interval that predicts
one further draw, t * s * sqrt(1 + 1 / k), widened by what the measurements themselves leave open; `cannot tell` is then
the common answer, which is the honest one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from strop.measure.clock import SYSTEM, Clock
from strop.measure.comparison import compare_blocks
from strop.measure.estimate import Estimate
from strop.measure.probes import Probes
from strop.measure.quantiles import student_quantile
from strop.measure.turns import Turn
from strop.optimize.gate_verdict import LEVEL

LEAST_PROBES = 3


def measure_ratios(
    model: Turn, *, threads: int, seconds: float, seed: int = 0, clock: Clock = SYSTEM
) -> tuple[dict[str, Estimate], Estimate]:
    """Returns the model's time over each probe's, by its name, and the model's seconds, all from the same rounds."""
    with Probes(threads) as probes:
        turns: dict[str, Turn] = {"model": model, **probes.turns}
        compared = compare_blocks(turns, seconds=seconds, level=LEVEL, seed=seed, clock=clock)
        ratios = {name: compared[name].speedup.ratio for name in probes.turns}
    return ratios, compared["model"].estimate


def slowdown_by_probes(before: Mapping[str, Estimate], now: Mapping[str, Estimate]) -> Estimate | None:
    """Returns how many times as long the model takes as before; None with fewer than three probes in common.

    before, now: the model's time over each probe's, with intervals of the measurement.

    Example:
        >>> def ratios(*points):
        ...     return {f"probe {i}": Estimate(p, p * 0.99, p * 1.01, level=0.99, n=20) for i, p in enumerate(points)}
        >>> found = slowdown_by_probes(ratios(2.0, 3.0, 4.0, 5.0, 6.0), ratios(3.0, 4.5, 6.0, 7.5, 9.0))
        >>> round(found.point, 2), round(found.low, 2)
        (1.5, 1.48)
    """
    names = [name for name in before if name in now]
    count = len(names)
    if count < LEAST_PROBES:
        return None
    shifts = [math.log(now[name].point / before[name].point) for name in names]
    spread = float(np.std(shifts, ddof=1))
    reach = student_quantile((1 + LEVEL) / 2, count - 1) * spread * math.sqrt(1 + 1 / count)
    measured = [float(np.median([_half_width(side[name]) for name in names])) for side in (before, now)]
    half = math.hypot(reach, *measured)
    point = float(np.mean(shifts))
    return Estimate(
        math.exp(point), math.exp(point - half), math.exp(point + half), LEVEL, count, "ratio to probe kernels"
    )


def _half_width(ratio: Estimate) -> float:
    return math.log(ratio.high / ratio.low) / 2
