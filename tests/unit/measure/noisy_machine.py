"""A machine for simulations: its speed changes in modes, drifts with memory, and has outliers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from strop.testing.clock import FakeClock


class NoisyMachine:
    """Gives callables that take `seconds`, times how slow the machine is at the moment."""

    def __init__(self, clock: FakeClock, seed: int, *, swing: float = 1.5, dwell: float = 1.0, noise: float = 0.02):
        self._clock, self._swing, self._dwell, self._noise = clock, swing, dwell, noise
        self._generator = np.random.default_rng(10_000 + seed)  # not the stream that draws the order of the turns
        self._mode, self._until, self._drift, self._last = 1.0, 0.0, 0.0, 0.0

    def callable(self, seconds: float) -> Callable[[], None]:
        return lambda: self._clock.advance(seconds * self._slowness())

    def _slowness(self) -> float:
        now, generator = self._clock.now(), self._generator
        while now >= self._until:
            self._mode = self._swing if self._mode == 1.0 else 1.0
            self._until += generator.exponential(self._dwell)
        memory = np.exp(-(now - self._last) / 0.3)
        self._drift = memory * self._drift + np.sqrt(1 - memory**2) * self._noise * generator.standard_normal()
        self._last = now
        outlier = generator.exponential(2.0) if generator.random() < 0.03 else 0.0
        return float(self._mode * np.exp(self._drift + self._noise * generator.standard_normal()) * (1 + outlier))
