"""What code this CPU can run: its feature flags and the level a bundle's code is chosen by.

Reads what the operating system has enabled (Linux: /proc/cpuinfo lists only features whose registers it saves).
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path

LEVELS: dict[str, frozenset[str]] = {
    "x86-64-v3": frozenset({"avx2", "fma", "bmi2", "f16c", "movbe"}),
    "x86-64-v4": frozenset({"avx2", "fma", "bmi2", "avx512f", "avx512bw", "avx512dq", "avx512vl"}),
    "x86-64-v4+vnni": frozenset({"avx2", "fma", "bmi2", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"}),
    "armv8.2+dotprod": frozenset({"asimd", "asimddp"}),
    "generic": frozenset(),
}
"""The levels, and the flags (as Linux spells them) that each needs."""


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Returns the CPU's feature flags as Linux spells them; empty where they cannot be read."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf8")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def isa_level(flags: frozenset[str] | None = None) -> str:
    """Returns the highest level that this CPU (or one with `flags`) runs; "generic" where that is not known."""
    have = cpu_flags() if flags is None else flags
    arm = platform.machine().lower() in ("aarch64", "arm64") if flags is None else "asimd" in have
    order = ("armv8.2+dotprod",) if arm else ("x86-64-v4+vnni", "x86-64-v4", "x86-64-v3")
    return next((level for level in order if LEVELS[level] <= have), "generic")


def runs(level: str) -> bool:
    """Whether this CPU runs code of `level`."""
    return level in LEVELS and LEVELS[level] <= cpu_flags()
