"""The probes do what they are timed for: no instruction is left out, none is added. Nothing here asserts a speed."""

from __future__ import annotations

import math
import platform
import re

import pytest

from strop.compiler.isa import ISAS, Isa
from strop.compiler.link import check_closed
from strop.compiler.machine_code import assembly, generate
from strop.compiler.probe import attainable, emit_probes, rate_now
from strop.loader.cpu import isa_levels

X86 = [isa for isa in ISAS if isa.is_x86]
runs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="runs x86-64 code")


@pytest.mark.parametrize("isa", X86, ids=lambda isa: isa.key)
def test_a_turn_holds_every_multiply_add_and_no_memory(isa: Isa) -> None:
    probes = emit_probes(isa)
    multiply_adds = 8 * (isa.registers * 3 // 4 - 2)
    for symbol, instruction, each in (
        ("strop_probe_float32", "vfmadd" if isa.fused else "mulps", 1),
        ("strop_probe_int8", "vpdpbusd" if isa.dot == "vnni" else "pmaddwd", 1 if isa.dot == "vnni" else 2),
    ):
        code = assembly(probes[symbol], isa)
        loop = re.search(r"\n(\.LBB0_\d+):.*?j\w+\t\1\n", code, re.DOTALL)
        assert loop is not None
        lines = [line.split() for line in loop[0].splitlines()]
        assert sum(instruction in words[0] for words in lines if words) == each * multiply_adds
        assert "(%r" not in loop[0], "a register was spilled"


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.key)
def test_probes_are_emitted_for_every_table(isa: Isa) -> None:
    check_closed([generate(ir, isa) for ir in emit_probes(isa).values()])


@runs_x86
def test_every_level_and_cache_of_this_machine_gets_a_rate() -> None:
    found = attainable()
    assert list(found.flops) == list(found.int8) == [isa.level for isa in X86 if isa.level in isa_levels()]
    assert {"L1", "L2", "memory"} <= set(found.bandwidth)
    rates = [rate for kind in found.to_json().values() for rate in kind.values()]
    assert all(rate > 0 and math.isfinite(rate) for rate in rates)
    assert attainable() is found


@runs_x86
def test_the_rate_of_this_moment_is_a_number() -> None:
    assert rate_now() > 0
    assert rate_now("generic", rounds=1) > 0
