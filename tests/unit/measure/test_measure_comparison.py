from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from noisy_machine import NoisyMachine

from strop.measure import compare, compare_blocks
from strop.measure.estimate import Estimate, Speedup, Verdict
from strop.measure.rounds import rounds_needed, shift_estimate, verdict
from strop.measure.turns import LocalTurn
from strop.testing.clock import FakeClock


def simulated(ratio: float, seed: int, seconds: float = 2.0) -> Speedup:
    clock = FakeClock()
    machine = NoisyMachine(clock, seed)
    callables = {"a": machine.callable(0.003), "b": machine.callable(0.003 * ratio)}
    return compare(callables, seconds=seconds, clock=clock, seed=seed)["b"].speedup


def test_a_against_a_raises_false_alarms_at_the_promised_rate_only() -> None:
    results = [simulated(1.0, seed) for seed in range(200)]
    verdicts = Counter(result.verdict for result in results)
    assert (
        verdicts[Verdict.FASTER] + verdicts[Verdict.SLOWER] <= 5
    )  # 1 % of 200 is 2; more than 5 has a chance of 1.6 %
    assert sum(result.ratio.low <= 1 <= result.ratio.high for result in results) >= 194


def overloaded(seed: int) -> Speedup:
    """A against A where a call takes 1 ms, or 20 when the core is taken away, and 3 more when threads had slept."""
    clock = FakeClock()
    generator = np.random.default_rng(20_000 + seed)
    awake = ""

    def call(name: str) -> None:
        nonlocal awake
        clock.advance((0.02 if generator.random() < 0.3 else 0.001) + (0.003 if awake != name else 0.0))
        awake = name

    return compare({"a": lambda: call("a"), "b": lambda: call("b")}, seconds=4.0, clock=clock, seed=seed)["b"].speedup


def test_an_overloaded_machine_raises_no_more_false_alarms() -> None:
    verdicts = Counter(overloaded(seed).verdict for seed in range(200))
    assert verdicts[Verdict.FASTER] + verdicts[Verdict.SLOWER] <= 5


def test_a_slowed_twin_is_found_and_its_ratio_covered() -> None:
    results = [simulated(1.1, seed, seconds=5.0) for seed in range(50)]
    assert sum(result.verdict == Verdict.SLOWER for result in results) >= 45
    assert sum(result.ratio.low <= 1 / 1.1 <= result.ratio.high for result in results) >= 48


def test_two_of_the_same_on_a_quiet_machine_are_the_same() -> None:
    clock = FakeClock()
    machine = NoisyMachine(clock, 0, swing=1.0, noise=0.005)
    result = compare({"a": machine.callable(0.002), "b": machine.callable(0.002)}, seconds=2.0, clock=clock)
    assert result["b"].verdict == Verdict.SAME
    assert result["b"].speedup.ratio.level == 0.99


def test_intervals_of_rounds_cover_whatever_the_noise_as_long_as_signs_are_drawn() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(500):
        noise = np.abs(np.cumsum(generator.standard_normal(24))) ** 3  # wild, and with a long memory
        estimate = shift_estimate(0.5 + noise * generator.choice([-1, 1], 24), level=0.95)
        covered += estimate.low <= 0.5 <= estimate.high
    assert covered / 500 >= 0.93


def test_an_effect_that_depends_on_the_mode_widens_the_interval() -> None:
    noise = np.random.default_rng(2).standard_normal(60) * 0.01
    steps = np.repeat([0.0, 0.1, 0.0, 0.1], 15)
    in_modes = shift_estimate(steps + noise, level=0.95)
    shuffled = shift_estimate(np.random.default_rng(3).permutation(steps) + noise, level=0.95)
    assert in_modes.high - in_modes.low > 1.5 * (shuffled.high - shuffled.low)


@pytest.mark.parametrize(("level", "needed"), [(0.9, 5), (0.95, 6), (0.99, 8)])
def test_so_many_rounds_are_needed(level: float, needed: int) -> None:
    assert rounds_needed(level) == needed
    differences = np.arange(1.0, needed + 1)
    assert shift_estimate(differences, level=level).level == level
    assert shift_estimate(differences[1:], level=level).level < level


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.98, 1.02, Verdict.SAME),
        (1.005, 1.02, Verdict.SAME),  # a difference, but within the margin
        (1.01, 1.04, Verdict.FASTER),
        (0.9, 0.99, Verdict.SLOWER),
        (0.9, 1.01, Verdict.CANNOT_TELL),
        (0.99, 1.2, Verdict.CANNOT_TELL),
    ],
)
def test_verdicts_follow_from_the_interval(low: float, high: float, expected: Verdict) -> None:
    assert verdict(Estimate((low + high) / 2, low, high, level=0.99, n=20), margin=0.03) == expected


def test_the_baseline_is_the_same_as_itself_and_results_keep_their_order() -> None:
    clock = FakeClock()
    machine = NoisyMachine(clock, 1)
    callables = {name: machine.callable(seconds) for name, seconds in (("x", 0.002), ("y", 0.001), ("z", 0.008))}
    result = compare(callables, seconds=3.0, clock=clock)
    assert list(result) == ["x", "y", "z"]
    assert (result["x"].speedup.ratio.point, result["x"].verdict) == (1.0, Verdict.SAME)
    assert (result["y"].verdict, result["z"].verdict) == (Verdict.FASTER, Verdict.SLOWER)
    assert result["z"].speedup.ratio.point == pytest.approx(0.25, rel=0.05)
    assert result["y"].estimate.point == pytest.approx(0.00125, rel=0.25)


def test_a_run_takes_about_the_seconds_it_was_given() -> None:
    clock = FakeClock()
    machine = NoisyMachine(clock, 2)
    fractions: list[float] = []
    compare(
        {"a": machine.callable(0.001), "b": machine.callable(0.001)},
        seconds=2.0,
        clock=clock,
        on_progress=fractions.append,
    )
    assert 2.0 <= clock.now() <= 2.2
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_slow_callables_get_the_rounds_that_a_verdict_needs() -> None:
    clock = FakeClock()
    calls: Counter[str] = Counter()

    def slow(name: str) -> None:
        calls[name] += 1
        clock.advance(1.0)

    result = compare({"a": lambda: slow("a"), "b": lambda: slow("b")}, seconds=2.0, clock=clock)
    assert result["b"].speedup.ratio.n == 8
    assert result["b"].verdict == Verdict.SAME
    assert calls["a"] == calls["b"] <= 8 + 3  # not mirrored, no call dropped


def test_every_round_lets_all_take_the_same_turns_in_a_drawn_order() -> None:
    clock = FakeClock()
    turns: list[str] = []

    def turn(name: str) -> LocalTurn:
        def block(n: int) -> list[float]:
            turns.append(name)
            clock.advance(0.001 * n)
            return [0.001] * n

        return LocalTurn(block, clock)

    compare_blocks({"a": turn("a"), "b": turn("b"), "c": turn("c")}, seconds=3.0, clock=clock)
    rounds = ["".join(turns[-start : -start + 6 or None]) for start in range(6, 6 * 10, 6)]
    assert all(one == one[::-1] and set(one) == set("abc") for one in rounds)
    assert len(set(rounds)) > 3


def test_the_first_call_of_a_turn_is_not_counted() -> None:
    clock = FakeClock()
    awake = ""

    def call(name: str) -> None:
        nonlocal awake
        clock.advance(0.001 if awake == name else 0.002)
        awake = name

    result = compare({"a": lambda: call("a"), "b": lambda: call("b")}, seconds=1.0, clock=clock)
    assert result["a"].first_seconds == pytest.approx(0.002)
    assert result["a"].samples.max() == pytest.approx(0.001)


def test_importing_measure_imports_nothing_heavy() -> None:
    code = "import sys, strop.measure; print(sorted({'numpy','psutil','scipy'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
    code = "import sys; from strop.measure import compare; print('psutil' in sys.modules, 'scipy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "False"]


def test_the_names_measure_exports_are_there() -> None:
    import strop.measure

    assert all(getattr(strop.measure, name) is not None for name in strop.measure.__all__)
    assert callable(strop.measure.compare)
