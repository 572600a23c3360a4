"""Taking turns: before one callable runs, the threads of all the others must have come to rest.

An engine's thread pool goes on spinning after a block, for tens of milliseconds, and takes cores from whoever runs next
(MobileNetV2 on 2 threads: 8.8 ms alone, 12 to 14.5 ms right after another engine). Rest is checked, not assumed: over
a short pause the CPU time of every process that takes part must be near zero, and none of its threads may wait for a
core: on a loaded machine a spinning thread that has just been set aside uses no time either (9 of 40 times over a pause
of 2 ms, 1 of 40 over 5 ms).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from strop.errors import MeasurementError
from strop.measure.blocks import Block
from strop.measure.clock import SYSTEM, Clock

PAUSE = 0.005
PATIENCE = 1.0
IDLE_SHARE = 0.1


class Turn(Protocol):
    """One side of a comparison; `Worker`, and what wraps one, is a Turn as it is."""

    def block(self, n: int) -> Sequence[float]:
        """Runs n requests and returns their durations in seconds."""

    def cpu_seconds(self) -> float:
        """Returns the CPU seconds its process has used, those of the calling thread left out."""


class LocalTurn:
    """A block that runs in this process, in the calling thread."""

    def __init__(self, block: Block, clock: Clock = SYSTEM):
        self.block = block
        self._clock = clock

    def cpu_seconds(self) -> float:
        """Returns the CPU seconds of this process's other threads."""
        return self._clock.cpu_seconds() - self._clock.own_cpu_seconds()


def wait_until_idle(turns: Collection[Turn], *, clock: Clock = SYSTEM) -> float:
    """Returns the seconds waited until this process's other threads and all turns' processes were at rest.

    At rest means less than 10 % of a core over a pause of 5 ms, and no thread ready to run. After 1 s of pauses it
    raises MeasurementError (`measure.not-idle`).
    """
    watched: list[Turn] = [LocalTurn(_nothing, clock), *(turn for turn in turns if not isinstance(turn, LocalTurn))]
    waited = 0.0
    while True:
        before = [turn.cpu_seconds() for turn in watched]
        start = clock.now()
        clock.sleep(PAUSE)
        elapsed = clock.now() - start
        busy = max(turn.cpu_seconds() - earlier for turn, earlier in zip(watched, before, strict=True)) / elapsed
        waited += elapsed
        ready = clock.ready_threads()
        if busy < IDLE_SHARE and ready == 0:
            return waited
        if waited >= PATIENCE:
            raise MeasurementError(
                "measure.not-idle",
                "threads of an engine or of this program do not come to rest between two turns",
                got=f"{busy:.0%} of a core, {ready} threads ready to run, {waited:.1f} s after the last request",
                expected=f"below {IDLE_SHARE:.0%}, none ready",
                hint="switch off the engine's spinning or stop this program's other threads, then measure again",
            )


def _nothing(n: int) -> Sequence[float]:
    return [0.0] * n
