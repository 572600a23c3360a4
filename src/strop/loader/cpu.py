"""What this CPU can execute: its flags as the operating system lets programs use them, and its ISA levels.

A flag counts only when the system also saves the registers it needs on a context switch. Linux lists exactly those in
/proc/cpuinfo; where nothing trustworthy can be read, the CPU is taken to be `generic` and code for every machine runs.
"""

from __future__ import annotations

import functools
import platform
import sys
from collections.abc import Collection
from typing import Final

GENERIC: Final = "generic"

_V3 = "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave".split()
_V4 = [*_V3, *"avx512f avx512bw avx512cd avx512dq avx512vl".split()]
_LEVELS: Final[dict[str, dict[str, list[str]]]] = {
    "x86_64": {"x86-64-v4+vnni": [*_V4, "avx512_vnni"], "x86-64-v4": _V4, "x86-64-v3": _V3},
    "aarch64": {"armv8.2+dotprod": ["asimd", "asimddp", "atomics"]},
}
_ARCHITECTURES: Final = {"amd64": "x86_64", "x86-64": "x86_64", "arm64": "aarch64"}

LEVELS: Final = (*(level for levels in _LEVELS.values() for level in levels), GENERIC)
"""Every ISA level that code in a bundle may be made for."""


def isa_level() -> str:
    """Returns the best ISA level of this CPU: one of LEVELS.

    Example:
        >>> isa_level() in LEVELS
        True
    """
    return isa_levels()[0]


@functools.cache
def isa_levels() -> tuple[str, ...]:
    """Returns every ISA level whose code runs here, best first; the last is always `generic`."""
    return levels_of(cpu_flags(), platform.machine())


def levels_of(flags: Collection[str], architecture: str) -> tuple[str, ...]:
    """Returns the ISA levels, best first, of a CPU of this architecture (`platform.machine()`) with these flags."""
    name = architecture.lower()
    levels = _LEVELS.get(_ARCHITECTURES.get(name, name), {})
    return (*(level for level, needed in levels.items() if set(needed) <= set(flags)), GENERIC)


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Returns the CPU's feature flags as Linux names them ("avx2", "asimddp"); empty where they cannot be read."""
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return frozenset(_LEVELS["aarch64"]["armv8.2+dotprod"])  # every Apple silicon Mac has these
    try:
        with open("/proc/cpuinfo", encoding="utf8", errors="replace") as lines:
            for line in lines:  # the kernel lists what all cores share, so the first core speaks for all
                name, _, values = line.partition(":")
                if name.strip() in ("flags", "Features"):
                    return frozenset(values.split())
    except OSError:
        pass
    return frozenset()
