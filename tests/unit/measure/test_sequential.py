"""Ending races early: the promised rate of wrong drops, looked at after every round, is simulated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.measure.noisy_machine import NoisyMachine

from strop.measure.blocks import block
from strop.measure.comparison import compare, compare_blocks
from strop.measure.estimate import Verdict
from strop.measure.sequential import STOPPED_LEVEL, ClearlySlower, log_capital
from strop.measure.turns import LocalTurn
from strop.testing.clock import FakeClock

ROUNDS = 40
RACES = 1500


def rounds_of(generator: np.random.Generator, truth: float) -> np.ndarray:
    """Differences whose size is correlated and has outliers, and whose sign the lot decides."""
    size = np.abs(np.convolve(generator.standard_normal(ROUNDS + 4), np.ones(5) / 2, "valid"))
    size[generator.random(ROUNDS) < 0.05] *= 10
    return truth + 0.05 * size * generator.choice([-1.0, 1.0], ROUNDS)


def dropped_at(stop: ClearlySlower, differences: np.ndarray) -> int | None:
    """Returns after how many rounds the race ends, looked at after each from the eighth on."""
    return next((n for n in range(8, ROUNDS + 1) if stop(differences[:n])), None)


def test_what_is_as_fast_is_dropped_no_more_often_than_promised() -> None:
    generator = np.random.default_rng(1)
    stop = ClearlySlower(level=0.95, margin=0.0)
    wrong = sum(dropped_at(stop, rounds_of(generator, 0.0)) is not None for _ in range(RACES))
    assert wrong / RACES <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / RACES)
    assert wrong > 0, "a rule that never drops anything would pass, too"


def test_what_is_clearly_slower_is_dropped_after_few_rounds() -> None:
    generator = np.random.default_rng(2)
    ends = [dropped_at(ClearlySlower(), rounds_of(generator, math.log(0.7))) for _ in range(300)]
    assert all(end is not None for end in ends)
    assert np.median([end or 0 for end in ends]) <= 10


def test_a_little_slower_is_worth_the_whole_race() -> None:
    assert not ClearlySlower()(np.full(500, math.log(0.98)))
    assert ClearlySlower(margin=0.01)(np.full(500, math.log(0.98)))


@given(lost=st.integers(0, 60), won=st.integers(0, 60))
def test_the_capital_of_a_fair_game_does_not_grow(lost: int, won: int) -> None:
    after = [log_capital(lost + 1, won), log_capital(lost, won + 1)]
    assert np.logaddexp(*after) - math.log(2) == pytest.approx(log_capital(lost, won), abs=1e-9)


def race(seed: int, slow: float, *, swing: float = 1.5, **options: object) -> tuple[Verdict, bool, float, float, float]:
    clock = FakeClock()
    machine = NoisyMachine(clock, seed, swing=swing)
    turns = {name: machine.callable(seconds) for name, seconds in (("best", 0.016), ("challenger", 0.016 * slow))}
    found = compare_blocks(
        {name: LocalTurn(block(function, clock), clock) for name, function in turns.items()},
        clock=clock,
        seed=seed,
        **options,  # type: ignore[arg-type]
    )["challenger"]
    ratio = found.speedup.ratio
    return found.verdict, found.stopped, ratio.low, ratio.high, clock.now()


def test_a_race_against_what_is_much_slower_takes_a_fraction_of_its_time() -> None:
    verdict, stopped, _, _, taken = race(0, 1.5, seconds=6.0, stop=ClearlySlower())
    assert stopped
    assert verdict is Verdict.SLOWER
    assert taken < 3.0


def test_the_interval_of_a_stopped_race_is_worth_what_it_says() -> None:
    covered = stopped = 0
    for seed in range(120):
        _, early, low, high, _ = race(seed, 1.08, seconds=4.0, stop=ClearlySlower())
        stopped += early
        covered += early and low <= 1 / 1.08 <= high
    assert stopped > 30
    assert covered / stopped >= STOPPED_LEVEL - 3 * math.sqrt(STOPPED_LEVEL * (1 - STOPPED_LEVEL) / stopped)


def test_twins_on_a_noisy_machine_are_neither_dropped_nor_taken_for_faster() -> None:
    found = [race(seed, 1.0, seconds=2.0, stop=ClearlySlower(), further_seconds=2.0) for seed in range(150)]
    wrong = sum(stopped or verdict is Verdict.FASTER for verdict, stopped, *_ in found)
    assert wrong <= 6


def test_a_race_that_cannot_tell_goes_on_and_one_that_can_does_not() -> None:
    _, _, _, _, close = race(3, 0.985, seconds=1.0, further_seconds=5.0)
    assert close > 5.0
    verdict, _, _, _, clear = race(3, 0.7, swing=1.0, seconds=1.0, further_seconds=5.0)
    assert verdict is Verdict.FASTER
    assert clear < 2.0


def test_callables_compared_without_a_rule_are_never_stopped() -> None:
    clock = FakeClock()
    machine = NoisyMachine(clock, 0)
    found = compare({"a": machine.callable(0.016), "b": machine.callable(0.05)}, seconds=2.0, clock=clock)
    assert not found["b"].stopped
