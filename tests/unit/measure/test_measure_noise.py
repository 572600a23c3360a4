from __future__ import annotations

from noisy_machine import NoisyMachine

from strop.measure.clock import SYSTEM, cpu_seconds_of, timestamp
from strop.measure.noise import self_test
from strop.testing.clock import FakeClock


def test_a_steady_machine_is_quiet() -> None:
    clock = FakeClock()
    report = self_test(work=NoisyMachine(clock, 0, swing=1.0, noise=0.005).callable(0.0005), clock=clock)
    assert report.quiet
    assert report.advice == ()
    assert report.verdicts["same"] >= 18
    assert report.swing < 1.05


def test_a_machine_with_a_slow_mode_is_not_and_the_advice_says_why() -> None:
    clock = FakeClock()
    told: list[float] = []
    work = NoisyMachine(clock, 0, swing=1.5).callable(0.0005)
    report = self_test(work=work, clock=clock, on_progress=told.append)
    assert not report.quiet
    assert 1.4 < report.swing < 1.7
    assert "from one moment to the next" in report.advice[0]
    assert sum(report.verdicts.values()) == 20 == report.false_alarm_rate.n
    assert told[-1] == 1.0


def test_the_built_in_work_runs_on_the_real_clock() -> None:
    assert sum(self_test(0.2, comparisons=1).verdicts.values()) == 1


def test_the_system_clock_agrees_with_itself() -> None:
    first = SYSTEM.now()
    SYSTEM.sleep(-1.0)
    assert SYSTEM.now() >= first
    assert SYSTEM.cpu_seconds() >= SYSTEM.own_cpu_seconds() > 0
    assert timestamp().endswith("+00:00")


def test_no_process_has_no_cpu_time() -> None:
    assert cpu_seconds_of(2**22 - 1) is None
