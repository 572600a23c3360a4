from __future__ import annotations

import numpy as np
import pytest

from strop.measure import measure_latency
from strop.measure.blocks import block
from strop.measure.warmup import warm_up
from strop.testing.clock import FakeClock


class Model:
    """Takes `steady` seconds a call once it is warm; counts its calls."""

    def __init__(self, clock: FakeClock, steady: float, warm: tuple[float, ...] = ()):
        self.clock, self.steady, self.warm, self.calls = clock, steady, warm, 0

    def __call__(self) -> None:
        self.clock.advance(self.warm[self.calls] if self.calls < len(self.warm) else self.steady)
        self.calls += 1


def test_the_median_of_a_known_sleep_is_that_sleep() -> None:
    clock = FakeClock(cost_per_reading=1e-7)
    latency = measure_latency(block(lambda: clock.sleep(0.004), clock), clock=clock)
    assert latency.estimate.point == pytest.approx(0.004, rel=0.02)
    assert latency.warnings == ()


def test_without_options_it_runs_for_three_seconds() -> None:
    clock = FakeClock()
    latency = measure_latency(block(Model(clock, 0.01), clock), clock=clock)
    assert latency.samples.sum() == pytest.approx(3.0, abs=0.02)


def test_given_seconds_it_runs_so_long() -> None:
    clock = FakeClock()
    latency = measure_latency(block(Model(clock, 0.01), clock), seconds=1.0, clock=clock)
    assert latency.samples.sum() == pytest.approx(1.0, abs=0.02)


def test_given_iterations_it_counts_just_these() -> None:
    clock = FakeClock()
    model = Model(clock, 0.01)
    latency = measure_latency(block(model, clock), iterations=17, clock=clock)
    assert len(latency.samples) == 17
    assert model.calls == 17 + latency.warmup_count


@pytest.mark.parametrize(("seconds", "iterations", "expected"), [(1.0, 500, 500), (1.0, 10, 100)])
def test_given_both_it_runs_until_both_are_satisfied(seconds: float, iterations: int, expected: int) -> None:
    clock = FakeClock()
    latency = measure_latency(block(Model(clock, 0.01), clock), seconds=seconds, iterations=iterations, clock=clock)
    assert len(latency.samples) == pytest.approx(expected, abs=1)


def test_a_first_call_of_a_second_moves_nothing_but_its_own_figure() -> None:
    clock = FakeClock()
    latency = measure_latency(block(Model(clock, 0.005, warm=(1.0,)), clock), seconds=1.0, clock=clock)
    assert latency.first_seconds == pytest.approx(1.0)
    assert latency.samples.max() == pytest.approx(0.005)


def test_warm_up_is_detected_and_left_out() -> None:
    clock = FakeClock()
    cooling = tuple(0.005 * (1 + 3 * 0.8**step) for step in range(30))
    latency = measure_latency(block(Model(clock, 0.005, warm=cooling), clock), seconds=2.0, clock=clock)
    assert latency.warmup_count > 10
    assert latency.samples.max() <= 0.005 * 1.1
    assert latency.warnings == ()


def test_a_model_that_gets_faster_all_the_time_is_reported() -> None:
    clock = FakeClock()
    falling = tuple(0.02 * 0.95**step for step in range(200))
    latency = measure_latency(block(Model(clock, 1e-6, warm=falling), clock), seconds=0.5, clock=clock)
    assert "still getting faster" in latency.warnings[0]


def test_warm_up_is_short_for_slow_calls() -> None:
    clock = FakeClock()
    model = Model(clock, 5.0)
    assert warm_up(block(model, clock), seconds=0.5, clock=clock).count == model.calls == 2


def test_ten_percent_of_outliers_leave_the_median_and_raise_a_warning() -> None:
    clock = FakeClock()
    generator = np.random.default_rng(0)
    latency = measure_latency(
        block(lambda: clock.advance(0.002 * (10 if generator.random() < 0.1 else 1)), clock), clock=clock
    )
    assert latency.estimate.point == pytest.approx(0.002)
    assert "scatter" in latency.warnings[0]
    assert latency.dispersion.cv > 1


def test_json_holds_the_statistics_and_unearned_percentiles_are_empty() -> None:
    clock = FakeClock()
    record = measure_latency(block(Model(clock, 0.01), clock), iterations=200, clock=clock).to_json()
    assert record["minimum"] == pytest.approx(record["maximum"]) == pytest.approx(0.01)
    values = {one["q"]: one["value"] for one in record["percentiles"]}
    assert values[99.9] is None
    assert values[95.0] == pytest.approx(0.01)


def test_progress_reaches_the_end() -> None:
    clock = FakeClock()
    told: list[float] = []
    measure_latency(block(Model(clock, 0.01), clock), seconds=1.0, clock=clock, on_progress=told.append)
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0.0, 1.0)
