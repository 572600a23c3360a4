"""Resident memory of a process, and whether it grows from call to call."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from strop.errors import MeasurementError
from strop.measure.estimate import Estimate
from strop.measure.quantiles import normal_quantile

LEAST_GROWTH_BYTES = 512 * 1024
PARTS = 5
LEAST_READINGS = 15


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a process in bytes: the most so far, and now."""

    peak_bytes: int
    steady_bytes: int


def memory_of(process_id: int | None = None) -> Memory:
    """Returns the resident memory of a process, by default this one.

    Linux keeps both figures (VmHWM and VmRSS). Elsewhere the peak is what the system offers: the peak working set on
    Windows; where there is nothing, it is the present size.
    """
    process_id = os.getpid() if process_id is None else process_id
    if Path("/proc/self/status").exists():
        text = Path(f"/proc/{process_id}/status").read_text(encoding="ascii", errors="replace")
        sizes = dict(line.split(":", 1) for line in text.splitlines())
        return Memory(*(int(sizes[name].split()[0]) * 1024 for name in ("VmHWM", "VmRSS")))
    import psutil

    information = psutil.Process(process_id).memory_info()
    return Memory(int(getattr(information, "peak_wset", information.rss)), int(information.rss))


@dataclass(frozen=True, slots=True)
class Leak:
    """Growth of resident memory in bytes for 1000 calls, with the verdict and, where it leaks, what to try."""

    bytes_per_thousand: Estimate
    leaking: bool
    advice: str = ""


def leak_slope(samples: Sequence[tuple[int, int]], *, level: float = 0.99) -> Leak:
    """Returns the slope of (calls so far, resident bytes), after the first third, in which caches fill.

    The slope is Theil and Sen's (the median of all pairwise slopes) with Kendall's interval. It counts as a leak where
    it is above 0, growth is more than 512 KiB, and memory grew from each fifth of what is kept to the next, so that
    caches which level off and a jump of the allocator pass.

    Raises MeasurementError (`measure.too-few`) below 15 samples.
    """
    if len(samples) < LEAST_READINGS:
        raise MeasurementError(
            "measure.too-few",
            "too few readings for a slope",
            got=len(samples),
            expected=f"at least {LEAST_READINGS}",
            hint="take more",
        )
    kept = np.asarray(samples, dtype=float)[len(samples) // 3 :]
    slope = _slope(kept, level)
    growth = slope.point / 1000 * (kept[-1, 0] - kept[0, 0])
    steps = np.diff([np.median(part) for part in np.array_split(kept[:, 1], PARTS)])
    steady = bool(np.all(steps > growth / PARTS / 4))
    leaking = slope.low > 0 and growth > LEAST_GROWTH_BYTES and steady
    advice = (
        "memory grows from call to call. The allocator may be what keeps it: run again with "
        "MALLOC_ARENA_MAX=2, or with jemalloc preloaded, or call malloc_trim; if it still grows, the engine leaks"
    )
    return Leak(slope, leaking, advice if leaking else "")


def watch_memory(
    run: Callable[[int], object], *, calls: int, readings: int = 60, read: Callable[[], int] | None = None
) -> list[tuple[int, int]]:
    """Returns (calls so far, resident bytes) at `readings` points while `run(n)` makes `calls` calls in all."""
    read = read or (lambda: memory_of().steady_bytes)
    each = max(1, calls // readings)
    samples = []
    for reading in range(1, readings + 1):
        run(each)
        samples.append((reading * each, read()))
    return samples


def _slope(points: np.ndarray, level: float) -> Estimate:
    n = len(points)
    first, second = np.triu_indices(n, 1)
    slopes = np.sort((points[second, 1] - points[first, 1]) / (points[second, 0] - points[first, 0])) * 1000
    reach = normal_quantile((1 + level) / 2) * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    lowest = max(0, math.floor((len(slopes) - reach) / 2))
    return Estimate(
        float(np.median(slopes)), float(slopes[lowest]), float(slopes[-1 - lowest]), level, n, "slope per 1000 calls"
    )
