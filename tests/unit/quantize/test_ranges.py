"""Observers and the ranges chosen from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.quantize.affine import ActivationScale, Range
from strop.quantize.observers import BINS, Histogram, Observer, finite_extremes, thin
from strop.quantize.ranges import METHODS, choose_range


def _observed(*tensors: np.ndarray) -> Observer:
    observer = Observer()
    for tensor in tensors:
        extremes = finite_extremes(tensor)
        assert extremes is not None
        observer.update(tensor, extremes)
    return observer


@given(
    scales=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=6),
    shifts=st.floats(-10, 10),
    seed=st.integers(0, 50),
)
def test_a_growing_histogram_counts_like_numpy_in_its_own_bins(scales: list[float], shifts: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    chunks = [(random.standard_normal(200) * scale + shifts * scale).astype(np.float32) for scale in scales]
    histogram = Histogram()
    for chunk in chunks:
        histogram.update(chunk, Range(float(chunk.min()), float(chunk.max())))
    everything = np.concatenate(chunks).astype(np.float64)
    edges = (np.arange(BINS + 1) + histogram.offset) * histogram.width
    expected = np.histogram(everything[everything != 0], edges)[0]
    assert np.array_equal(histogram.counts, expected)
    assert histogram.counts.sum() + histogram.zeros == everything.size


def test_a_histogram_stays_one_size_and_keeps_zero_at_an_edge() -> None:
    observer = _observed(*[np.full(10, 10.0**power, np.float32) for power in range(-6, 6)])
    assert observer.histogram.counts.shape == (BINS,) and observer.histogram.counts.sum() == 120
    assert (observer.histogram.centers / observer.histogram.width % 1 == 0.5).all()


@pytest.mark.parametrize("method", list(METHODS))
def test_every_range_holds_zero_and_stays_within_what_was_seen(method: str) -> None:
    random = np.random.default_rng(3)
    observer = _observed(*[random.uniform(2, 5, (1, 3, 7)).astype(np.float32) for _ in range(5)])
    chosen = choose_range(observer, method)  # type: ignore[arg-type]
    assert chosen.low == 0.0 and 4.0 < chosen.high <= observer.high


def test_min_max_and_mean_min_max_are_the_plain_statistics() -> None:
    observer = _observed(np.array([-1.0, 2.0], np.float32), np.array([-3.0, 8.0], np.float32))
    assert choose_range(observer, "min-max") == Range(-3.0, 8.0)
    assert choose_range(observer, "mean-min-max") == Range(-2.0, 5.0)


def test_percentile_cuts_the_share_it_is_told_to() -> None:
    values = np.random.default_rng(0).standard_normal(30_000).astype(np.float32)
    chosen = choose_range(_observed(values), "percentile", outliers=0.01)
    expected = np.quantile(values, [0.01, 0.99])
    assert [chosen.low, chosen.high] == pytest.approx(expected.tolist(), abs=0.02)


def test_an_outlier_widens_the_mse_range_less_than_the_extremes() -> None:
    tensors = [values.astype(np.float32) for values in np.random.default_rng(0).standard_normal((20, 30_000))]
    tensors[7][123] = 40.0
    narrow, wide = choose_range(_observed(*tensors), "mse"), choose_range(_observed(*tensors), "min-max")
    assert wide.high == 40.0 and narrow.high < 35.0
    assert _error(np.concatenate(tensors), narrow) < 0.95 * _error(np.concatenate(tensors), wide)


@given(seed=st.integers(0, 200), shape=st.sampled_from(["normal", "exponential", "laplace", "uniform"]))
def test_the_mse_range_is_no_worse_than_the_extremes(seed: int, shape: str) -> None:
    values = getattr(np.random.default_rng(seed), shape)(size=20_000).astype(np.float32)
    observer = _observed(values)
    assert _error(values, choose_range(observer, "mse")) <= 1.02 * _error(values, choose_range(observer, "min-max"))


def test_thinning_keeps_all_channels_of_a_large_tensor() -> None:
    tensor = np.broadcast_to(np.arange(64, dtype=np.float32)[None, :, None, None], (1, 64, 64, 64))
    kept = thin(np.ascontiguousarray(tensor), 4096, start=5)
    assert 2048 <= kept.size <= 4200
    assert np.bincount(kept.astype(int), minlength=64).min() > 40
    last = np.ascontiguousarray(np.moveaxis(tensor, 1, 3))
    assert np.bincount(thin(last, 4096).astype(int), minlength=64).min() > 40


def test_what_is_not_finite_is_noticed() -> None:
    assert finite_extremes(np.array([1.0, np.nan], np.float32)) is None
    assert finite_extremes(np.array([1.0, -np.inf], np.float32)) is None
    assert finite_extremes(np.zeros((0, 3), np.float32)) == Range(0.0, 0.0)


def test_a_tensor_that_was_never_seen_has_the_range_of_zero() -> None:
    assert ActivationScale.of(choose_range(Observer(), "percentile")) == ActivationScale(np.float32(1.0), 0)


def _error(values: np.ndarray, chosen: Range) -> float:
    scale = ActivationScale.of(chosen)
    return float(((values - scale.dequantize(scale.quantize(values))) ** 2).sum())
