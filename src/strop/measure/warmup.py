"""Warm-up: run until calls no longer get faster; detected, not assumed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from strop.measure.blocks import Block
from strop.measure.clock import Clock

CHUNK_SECONDS = 0.01
IMPROVEMENT = 0.97
PATIENCE = 2


@dataclass(frozen=True, slots=True)
class WarmUp:
    """The first call's seconds, how many calls warmed up (the first included), seconds a call takes since, and
    whether calls had stopped getting faster when the time for it was over."""

    first_seconds: float
    count: int
    call_seconds: float
    settled: bool


def warm_up(block: Block, *, seconds: float, clock: Clock) -> WarmUp:
    """Runs chunks of calls until two in a row are not 3 % faster than the best before; ends after about `seconds`."""
    end = clock.now() + seconds
    first = block(1)[0]
    count, best, since_best = 1, math.inf, 0
    chunk = 1
    latest = first
    while since_best < PATIENCE and (clock.now() < end or count == 1):
        latest = median(block(chunk))
        count += chunk
        if latest < best * IMPROVEMENT:
            best, since_best = latest, 0
        else:
            since_best += 1
        chunk = max(1, round(CHUNK_SECONDS / max(latest, 1e-7)))
    return WarmUp(first, count, min(best, latest), since_best >= PATIENCE)
