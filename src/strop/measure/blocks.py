"""What gets timed: a block runs n requests, one after the other, and gives a sample in seconds for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from strop.measure.clock import SYSTEM, Clock

Block = Callable[[int], Sequence[float]]
"""Runs n requests and returns their n durations in seconds; local (`block`) or in a worker (`Worker.block`)."""

Progress = Callable[[float], None]
"""Is told from time to time which share of the measurement is done, 0 to 1."""


def block(function: Callable[[], object], clock: Clock = SYSTEM) -> Block:
    """Returns the block that calls `function` and times each call by itself.

    Example:
        >>> samples = block(lambda: sum(range(100)))(3)
        >>> len(samples), min(samples) > 0
        (3, True)
    """

    def run(n: int) -> Sequence[float]:
        now = clock.now
        samples = []
        for _ in range(n):
            start = now()
            function()
            samples.append(now() - start)
        return samples

    return run
