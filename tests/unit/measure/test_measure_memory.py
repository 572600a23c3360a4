from __future__ import annotations

import mmap
import subprocess
import sys

import numpy as np

from strop.measure.memory import leak_slope, memory_of
from strop.measure.worker import Worker

MEGABYTE = 1 << 20


def readings(
    growth_per_call: float, *, jumps: int = 0, saturating: bool = False, seed: int = 0
) -> list[tuple[int, int]]:
    generator = np.random.default_rng(seed)
    calls = np.arange(1, 61) * 100
    sizes = 50 * MEGABYTE + calls * growth_per_call + generator.normal(0, 64 * 1024, 60)
    if saturating:
        sizes += 20 * MEGABYTE * (1 - np.exp(-calls / 600))
    for at in generator.integers(25, 60, jumps):
        sizes[at:] += 4 * MEGABYTE
    return [(int(call), int(size)) for call, size in zip(calls, sizes, strict=True)]


def test_the_peak_stays_when_memory_is_given_back() -> None:
    before = memory_of()
    block = mmap.mmap(-1, 64 * MEGABYTE)  # of its own: an array may lie in holes of a test run's heap
    block[:: mmap.PAGESIZE] = bytes(64 * MEGABYTE // mmap.PAGESIZE - 1) + b"x"
    held = memory_of()
    block.close()
    after = memory_of()
    assert held.steady_bytes - before.steady_bytes > 60 * MEGABYTE
    assert after.peak_bytes > before.steady_bytes + 60 * MEGABYTE  # Linux counts in batches of some 100 KiB
    assert after.steady_bytes < held.steady_bytes - 60 * MEGABYTE


def test_memory_of_a_worker_is_its_own() -> None:
    with Worker("hosted_examples:example") as worker:
        memory = worker.memory()
    assert 5 * MEGABYTE < memory.steady_bytes <= memory.peak_bytes < 200 * MEGABYTE


def test_an_injected_leak_is_found_and_its_slope_covered() -> None:
    found = [leak_slope(readings(1000.0, seed=seed)) for seed in range(50)]
    assert all(leak.leaking for leak in found)
    assert sum(leak.bytes_per_thousand.low <= 1e6 <= leak.bytes_per_thousand.high for leak in found) >= 47
    assert "MALLOC_ARENA_MAX" in found[0].advice


def test_a_clean_model_passes() -> None:
    leaks = [leak_slope(readings(0.0, seed=seed)) for seed in range(200)]
    assert sum(leak.leaking for leak in leaks) <= 2
    assert leaks[0].advice == ""


def test_caches_that_fill_and_a_jump_of_the_allocator_are_no_leak() -> None:
    assert not any(leak_slope(readings(0.0, saturating=True, seed=seed)).leaking for seed in range(20))
    assert not any(leak_slope(readings(0.0, jumps=1, seed=seed)).leaking for seed in range(20))


REAL = """
import numpy as np
from strop.measure.memory import leak_slope, watch_memory

kept = []
leak = lambda n: kept.extend(np.ones(65536) for _ in range(n))
reuse = lambda n: [np.ones(65536) for _ in range(n)] and None
print(leak_slope(watch_memory(reuse, calls=600)).leaking, leak_slope(watch_memory(leak, calls=120)).leaking)
"""


def test_a_real_leak_is_found_and_a_real_reuse_is_not() -> None:
    # In a process of its own: a test run's heap is full of holes that a leak would fill for a while.
    done = subprocess.run([sys.executable, "-c", REAL], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
