from __future__ import annotations

import pytest

from strop.measure.probes import HostedProbes

NAMES = ("product", "stream", "exponential", "gather", "interpreter")


@pytest.mark.parametrize("threads", [1, 2])
def test_every_kernel_runs_and_is_timed(threads: int) -> None:
    probes = HostedProbes(threads)
    for name in NAMES:
        seconds = probes.time(name, 3)
        assert len(seconds) == 3
        assert min(seconds) > 0
    probes.close()
