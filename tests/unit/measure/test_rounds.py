from __future__ import annotations

import numpy as np

from strop.measure.rounds import shift_estimate


def test_very_long_runs_are_condensed_and_still_cover() -> None:
    generator = np.random.default_rng(5)
    covered = 0
    for _ in range(40):
        found = shift_estimate(generator.normal(0.1, 0.3, 5000), level=0.99)
        assert found.n == 5000
        assert found.high - found.low < 0.05
        covered += found.low <= 0.1 <= found.high
    assert covered >= 37
