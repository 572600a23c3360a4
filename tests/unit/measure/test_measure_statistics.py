from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.measure.quantiles import correlation_time, normal_quantile, signed_rank_quantile, student_quantile
from strop.measure.statistics import (
    dispersion,
    mean_estimate,
    median_estimate,
    paired_difference,
    percentile,
    proportion,
)


def autoregressive(generator: np.random.Generator, n: int, memory: float) -> np.ndarray:
    steps = generator.standard_normal(n) * np.sqrt(1 - memory**2)
    series = np.empty(n)
    series[0] = generator.standard_normal()
    for index in range(1, n):
        series[index] = memory * series[index - 1] + steps[index]
    return series


@pytest.mark.parametrize(
    ("probability", "degrees", "expected"),
    [(0.975, 1, 12.7062), (0.975, 2, 4.3027), (0.975, 5, 2.5706), (0.995, 10, 3.1693), (0.025, 30, -2.0423)],
)
def test_student_quantiles_are_those_of_the_tables(probability: float, degrees: float, expected: float) -> None:
    assert student_quantile(probability, degrees) == pytest.approx(expected, rel=1e-3)


def test_signed_rank_quantiles_are_those_of_the_tables() -> None:
    assert [signed_rank_quantile(n, 0.005) for n in (7, 8, 10, 20)] == [-1, 0, 3, 37]
    assert signed_rank_quantile(61, 0.005) == pytest.approx(signed_rank_quantile(60, 0.005), abs=25)


def test_correlation_time_of_an_autoregressive_series_is_the_known_one() -> None:
    generator = np.random.default_rng(1)
    assert correlation_time(generator.standard_normal(20000)) == pytest.approx(1.0, abs=0.1)
    assert correlation_time(autoregressive(generator, 20000, 0.9)) == pytest.approx(19.0, rel=0.2)  # (1+r)/(1-r)


@pytest.mark.parametrize(
    ("memory", "n", "least"), [(0.0, 30, 0.93), (0.0, 300, 0.93), (0.7, 300, 0.92), (0.9, 2000, 0.90)]
)
def test_median_intervals_cover_at_the_promised_level(memory: float, n: int, least: float) -> None:
    generator = np.random.default_rng(2)
    covered = 0
    for _ in range(300):
        estimate = median_estimate(np.exp(autoregressive(generator, n, memory)))
        covered += estimate.low <= 1.0 <= estimate.high
    assert least <= covered / 300 <= 0.99


def test_median_intervals_cover_when_the_machine_changes_its_mode() -> None:
    generator = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        fast = np.cumsum(generator.random(3000) < 0.02) % 3 != 0  # two thirds of the time, some 75 calls long
        series = np.where(fast, 1.0, 1.5) + 0.05 * generator.standard_normal(3000)
        estimate = median_estimate(series)
        covered += estimate.low <= 1.0337 <= estimate.high  # where the fast mode's third quartile lies
    assert covered / 200 >= 0.9


def test_median_of_few_samples_says_what_its_interval_is_worth() -> None:
    estimate = median_estimate([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (estimate.point, estimate.low, estimate.high, estimate.n) == (3.0, 1.0, 5.0, 5)
    assert estimate.level == 1 - 2**-4
    assert median_estimate([1.0]).level == 0.0


def test_median_stands_ten_percent_of_outliers() -> None:
    generator = np.random.default_rng(4)
    samples = 1.0 + 0.01 * generator.standard_normal(1000)
    samples[generator.random(1000) < 0.1] *= 20
    assert median_estimate(samples).point == pytest.approx(1.0, abs=0.01)
    assert dispersion(samples).cv > 1 > dispersion(samples).iqr_over_median


def test_mean_intervals_cover_correlated_series() -> None:
    generator = np.random.default_rng(5)
    covered = 0
    for _ in range(300):
        estimate = mean_estimate(autoregressive(generator, 200, 0.5))
        covered += estimate.low <= 0 <= estimate.high
    assert covered / 300 >= 0.91


@given(st.lists(st.floats(0.001, 10.0), min_size=59, max_size=64), st.integers(5, 95))
def test_percentiles_equal_those_of_numpy(samples: list[float], q: int) -> None:
    assert percentile(samples, q).value == np.percentile(samples, q)


@pytest.mark.parametrize(("q", "needed"), [(50, 5), (90, 29), (95, 59), (99, 299), (99.9, 2995), (5, 59), (100, 1)])
def test_percentile_needs_enough_samples(q: float, needed: int) -> None:
    assert percentile([1.0] * 3000, q).needed == needed
    assert percentile([1.0] * needed, q).value == 1.0
    if needed > 1:
        assert percentile([1.0] * (needed - 1), q).value is None


def test_percentile_says_what_it_needs() -> None:
    assert str(percentile([1.0] * 200, 99.9)) == "p99.9 needs 2995, have 200"
    assert str(percentile([1.5] * 200, 50)) == "p50 = 1.5"


def test_proportion_is_wilsons() -> None:
    assert proportion(0, 10).low == 0.0
    assert proportion(10, 10).high == 1.0
    assert proportion(1, 10).low == pytest.approx(0.0179, abs=1e-4)
    assert proportion(1, 10).high == pytest.approx(0.4042, abs=1e-4)


def test_paired_hits_have_tangos_interval() -> None:
    a = np.ones((40, 2))
    b = np.ones((40, 2))
    a[:2, 0] = 0  # two gained
    b[5:6, 0] = 0  # one lost
    result = paired_difference(a, b)
    for side, z in ((result.difference.low, 1.96), (result.difference.high, -1.96)):
        assert _tango_score(2, 1, 40, side) == pytest.approx(z, abs=0.01)
    assert result.difference.point == pytest.approx(1 / 40)


def test_no_difference_at_all_still_has_an_interval() -> None:
    hits = np.ones((300, 2))
    assert paired_difference(hits, hits).difference.high == pytest.approx(0.0126, abs=1e-4)
    edits = np.tile([0.0, 7.0], (300, 1))
    assert 0 < paired_difference(edits, edits).upper_bound < 0.03


@pytest.mark.parametrize("kind", ["hits", "edits"])
def test_paired_intervals_cover_at_the_promised_level(kind: str) -> None:
    generator = np.random.default_rng(6)
    within, below = 0, 0
    for _ in range(300):
        if kind == "hits":
            a, b = (generator.random((2, 200)) < [[0.9], [0.9]]).astype(float)
            b = np.where(generator.random(200) < 0.9, a, b)  # mostly the same answers
            rows = [np.stack([values, np.ones(200)], axis=1) for values in (a, b)]
        else:
            lengths = generator.integers(3, 20, 200).astype(float)
            edits = generator.poisson(0.02 * lengths)
            rows = [
                np.stack([edits, lengths], axis=1),
                np.stack([edits + generator.poisson(0.01, 200) - generator.poisson(0.01, 200), lengths], axis=1),
            ]
        result = paired_difference(*rows)
        within += result.difference.low <= 0 <= result.difference.high
        below += result.upper_bound >= 0
    assert within / 300 >= 0.93
    assert below / 300 >= 0.92


def test_the_one_sided_bound_lies_inside_the_two_sided_interval() -> None:
    generator = np.random.default_rng(7)
    a = np.stack([generator.random(100), np.ones(100)], axis=1)
    b = np.stack([generator.random(100), np.ones(100)], axis=1)
    result = paired_difference(a, b)
    assert (
        result.difference.low
        < result.lower_bound
        < result.difference.point
        < result.upper_bound
        < result.difference.high
    )
    spread = normal_quantile(0.95) * result.deviation / 10
    assert result.upper_bound - result.difference.point == pytest.approx(spread, rel=0.1)


def _tango_score(gained: int, lost: int, n: int, difference: float) -> float:
    a, b, c = 2 * n, -gained - lost + (2 * n - gained + lost) * difference, -lost * difference * (1 - difference)
    probability = (np.sqrt(b * b - 4 * a * c) - b) / (2 * a)
    return (gained - lost - n * difference) / np.sqrt(n * (2 * probability + difference * (1 - difference)))
