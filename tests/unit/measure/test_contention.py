from __future__ import annotations

from dataclasses import replace

from strop.measure.contention import Snapshot, between, observe, snapshot
from strop.testing.clock import FakeClock

START = Snapshot(moment=0.0, cores=2, busy=100.0, stolen=1.0, own=5.0, ready=0.5, set_aside=10)


def test_a_quiet_machine_has_no_findings() -> None:
    after = replace(START, moment=10.0, busy=110.5, own=15.0, ready=0.9, set_aside=12)
    found = between(START, after)
    assert (found.own, found.others, found.stolen) == (1.0, 0.05, 0.0)
    assert found.findings == ()


def test_others_thieves_and_waiting_are_told_with_figures() -> None:
    after = Snapshot(moment=10.0, cores=2, busy=118.0, stolen=6.0, own=11.0, ready=8.5, set_aside=2010)
    found = between(START, after)
    assert (found.others, found.stolen, found.ready, found.set_aside) == (1.2, 0.5, 0.8, 200.0)
    assert [text for text in found.findings if "1.2 of 2 cores" in text]
    assert [text for text in found.findings if "hypervisor took 0.5" in text]
    assert [text for text in found.findings if "0.8 of them" in text and "200 times a second" in text]


def test_what_a_system_does_not_tell_is_unknown() -> None:
    bare = Snapshot(moment=0.0, cores=2, busy=None, stolen=None, own=5.0, ready=None, set_aside=None)
    found = between(bare, replace(bare, moment=1.0, own=6.0))
    assert (found.own, found.others, found.ready) == (1.0, None, None)
    assert found.findings == ()


def test_a_moment_too_short_for_the_counters_has_no_findings() -> None:
    found = between(START, replace(START, moment=0.01, busy=100.05, own=5.001, ready=0.6))
    assert (found.others, found.ready, found.findings) == (None, None, ())


def test_counters_only_grow() -> None:
    first = snapshot()
    second = snapshot()
    assert second.own >= first.own
    assert first.busy is None or (second.busy is not None and second.busy >= first.busy)


def test_observing_waits_on_its_clock() -> None:
    clock = FakeClock()
    found = observe(2.0, clock)
    assert clock.slept == 2.0
    assert found.seconds == 2.0
