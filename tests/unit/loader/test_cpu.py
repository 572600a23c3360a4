"""The ISA levels follow from the flags, and only from flags the system enabled."""

from __future__ import annotations

import platform
import sys

import pytest

from strop.loader.cpu import GENERIC, LEVELS, cpu_flags, isa_level, isa_levels, levels_of

V3 = {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}
V4 = V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


@pytest.mark.parametrize(
    ("flags", "architecture", "levels"),
    [
        (V4 | {"avx512_vnni"}, "x86_64", ("x86-64-v4+vnni", "x86-64-v4", "x86-64-v3", "generic")),
        (V4, "AMD64", ("x86-64-v4", "x86-64-v3", "generic")),
        (V3 | {"avx512_vnni", "avx512f"}, "x86_64", ("x86-64-v3", "generic")),
        (V3 - {"fma"}, "x86_64", ("generic",)),
        ({"asimd", "asimddp", "atomics", "fp"}, "aarch64", ("armv8.2+dotprod", "generic")),
        ({"asimd", "fp"}, "arm64", ("generic",)),
        (V4, "riscv64", ("generic",)),
        (set(), "x86_64", ("generic",)),
    ],
)
def test_levels_follow_from_the_flags(flags: set[str], architecture: str, levels: tuple[str, ...]) -> None:
    assert levels_of(flags, architecture) == levels


def test_this_machine_has_a_level_and_can_always_run_generic_code() -> None:
    assert isa_level() in LEVELS
    assert isa_levels()[-1] == GENERIC


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="reads Linux x86 flags")
def test_flags_of_linux_hold_what_every_x86_64_has() -> None:
    assert {"sse2", "fpu"} <= cpu_flags()
