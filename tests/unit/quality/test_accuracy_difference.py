"""Two models on the same samples."""

from __future__ import annotations

import numpy as np
import pytest

from strop.errors import DataError, UsageError
from strop.measure.estimate import Estimate
from strop.quality.comparison import compare_evaluations
from strop.quality.evaluate import Evaluation, value_with_interval
from strop.quality.metrics.base import RowMetric
from strop.quality.metrics.drawn import DrawnMetric
from strop.quality.metrics.registry import METRICS, get_metric


def _rows(name: str, rows) -> Evaluation:
    metric = METRICS[name]()
    metric._rows = [tuple(row) for row in np.asarray(rows, float)]
    return _wrapped(metric, metric.per_sample(), len(rows))


def _wrapped(metric, rows, n: int, predictions=None) -> Evaluation:
    return Evaluation(
        metric=metric,
        value=value_with_interval(metric, rows, n, level=0.95),
        rows=rows,
        keys=tuple(map(str, range(n))),
        predictions=tuple(predictions or range(n)),
        targets=tuple(range(n)),
        without_prediction=0,
        classes=None,
        data="d",
    )


def _hits(hits) -> Evaluation:
    hits = np.asarray(hits, float)
    return _rows("top1", np.column_stack([hits, np.ones(len(hits))]))


def _pair(n: int, both: int, lost: int, gained: int) -> tuple[Evaluation, Evaluation]:
    a = np.zeros(n)
    b = np.zeros(n)
    a[: both + lost] = 1
    b[:both] = 1
    b[both + lost : both + lost + gained] = 1
    return _hits(a), _hits(b)


def test_a_drop_is_positive_for_a_loss_when_higher_is_better() -> None:
    found = compare_evaluations(*_pair(1000, 700, 12, 2), max_drop=0.01)
    assert found.difference.point == pytest.approx(-0.010) and found.drop == pytest.approx(0.010)
    assert found.within and not found.certified and found.bound > 0.01
    assert found.difference.low < -0.01 < found.difference.high
    assert found.needed_n is None  # the drop is the limit itself: no number of samples certifies it
    assert "within limit, not certified" in found.verdict


def test_a_drop_is_positive_for_a_loss_when_lower_is_better() -> None:
    lengths = np.full(400, 10.0)
    a = _rows("cer", np.column_stack([np.r_[np.ones(80), np.zeros(320)], lengths]))
    b = _rows("cer", np.column_stack([np.r_[np.ones(88), np.zeros(312)], lengths]))
    worse, better = compare_evaluations(a, b, max_drop=0.001), compare_evaluations(b, a, max_drop=0.001)
    assert worse.difference.point == pytest.approx(0.002) and worse.drop == pytest.approx(0.002)
    assert not worse.within and worse.verdict == "limit exceeded"
    assert better.drop == pytest.approx(-0.002) and better.within and better.bound < 0


def test_relative_limits_are_shares_of_the_baseline_in_both_directions() -> None:
    a, b = _pair(1000, 400, 8, 0)  # 0.408 -> 0.400
    assert compare_evaluations(a, b, max_drop=0.01, relative=False).within
    assert not compare_evaluations(a, b, max_drop=0.01, relative=True).within
    assert compare_evaluations(a, b, max_drop=0.02, relative=True).limit == pytest.approx(0.02 * 0.408)
    lengths = np.full(100, 10.0)
    a = _rows("cer", np.column_stack([np.ones(100), lengths]))  # 0.100 -> 0.104
    b = _rows("cer", np.column_stack([np.r_[np.ones(96), np.full(4, 2.0)], lengths]))
    assert compare_evaluations(a, b, max_drop=0.05, relative=True).within
    assert not compare_evaluations(a, b, max_drop=0.03, relative=True).within


def test_where_nothing_differs_the_bound_follows_the_rule_of_three() -> None:
    for n in (100, 300, 1000):
        found = compare_evaluations(*_pair(n, n // 2, 0, 0), max_drop=0.01)
        assert found.drop == 0 and 2.5 / n < found.bound < 3.1 / n
        assert found.certified == (n >= 300)
    needed = compare_evaluations(*_pair(100, 50, 0, 0), max_drop=0.01).needed_n
    assert needed is not None and 240 <= needed <= 310
    assert compare_evaluations(*_pair(needed, 50, 0, 0), max_drop=0.01).certified


def test_an_error_rate_of_which_nothing_differs_has_a_bound_above_zero() -> None:
    rows = np.column_stack([np.zeros(200), np.full(200, 12.0)])
    found = compare_evaluations(_rows("cer", rows), _rows("cer", rows), max_drop=0.05)
    assert found.drop == 0 and 0 < found.bound < 0.05 and found.certified


def test_the_samples_said_to_be_needed_certify_the_same_rates() -> None:
    found = compare_evaluations(*_pair(400, 300, 4, 2), max_drop=0.01)
    assert found.within and not found.certified and found.needed_n is not None
    assert f"needs n = {found.needed_n}" in found.verdict
    times = -(-found.needed_n // 400)
    assert compare_evaluations(*_pair(400 * times, 300 * times, 4 * times, 2 * times), max_drop=0.01).certified
    assert not compare_evaluations(*_pair(800, 600, 8, 4), max_drop=0.01).certified or found.needed_n <= 800


@pytest.mark.parametrize(("lost", "gained"), [(0.03, 0.02), (0.01, 0.01), (0.02, 0.0)])
def test_bounds_cover_the_true_drop_as_often_as_promised(lost: float, gained: float) -> None:
    generator = np.random.default_rng(7)
    n, runs, covered, inside = 300, 400, 0, 0
    for _ in range(runs):
        kind = generator.choice(3, size=n, p=[lost, gained, 1 - lost - gained])
        both = generator.random(n) < 0.7
        a, b = (np.where(kind == 2, both, kind == which) for which in (0, 1))
        found = compare_evaluations(_hits(a), _hits(b))
        covered += found.bound >= lost - gained
        inside += found.difference.low <= gained - lost <= found.difference.high
    # Four standard errors below the promised 95 %.
    assert covered >= runs * 0.95 - 4 * (runs * 0.05 * 0.95) ** 0.5
    assert inside >= runs * 0.95 - 4 * (runs * 0.05 * 0.95) ** 0.5


def test_bounds_of_error_rates_cover_too() -> None:
    generator = np.random.default_rng(8)
    n, runs, covered = 300, 300, 0
    for _ in range(runs):
        lengths = generator.integers(4, 30, n)
        a = generator.binomial(lengths, 0.02)
        b = a + generator.binomial(lengths, 0.005)
        found = compare_evaluations(
            _rows("cer", np.column_stack([a, lengths])), _rows("cer", np.column_stack([b, lengths]))
        )
        covered += found.bound >= 0.005
    assert covered >= runs * 0.95 - 4 * (runs * 0.05 * 0.95) ** 0.5


def _function(values) -> Evaluation:
    def mean(predictions, targets):
        return float(np.mean(predictions))

    metric = get_metric(mean)()
    for value in values:
        metric.update(value, 0)
    return _wrapped(metric, None, len(values), values)


def test_a_users_function_is_compared_by_a_paired_bootstrap() -> None:
    generator = np.random.default_rng(3)
    a = generator.normal(size=200) * 10
    noise = generator.normal(size=200) * 0.1
    found = compare_evaluations(_function(a.tolist()), _function((a - 0.5 + noise).tolist()), max_drop=0.6)
    assert found.drop == pytest.approx(0.5, abs=0.03)
    assert found.drop < found.bound < 0.55 and found.certified  # unpaired, the bound would be about 2
    assert found.difference.low < -0.5 + 0.03 and found.difference.high > -0.5 - 0.03


def test_a_candidate_without_finite_value_is_never_within() -> None:
    ones = np.ones((4, 2))
    broken = ones.copy()
    broken[2, 0] = np.inf
    found = compare_evaluations(_rows("mse", ones), _rows("mse", broken), max_drop=1.0)
    assert found.drop == np.inf and not found.within and not found.certified
    with pytest.raises(DataError) as caught:
        compare_evaluations(_rows("mse", broken), _rows("mse", ones), max_drop=1.0)
    assert caught.value.code == "quality.metric"


def test_evaluations_of_other_samples_or_metrics_are_not_compared() -> None:
    with pytest.raises(UsageError):
        compare_evaluations(_hits([1, 0]), _hits([1, 0, 1]))
    with pytest.raises(UsageError):
        compare_evaluations(_hits([1, 0]), _rows("accuracy", [[1, 1], [0, 1]]))


def test_without_a_limit_there_is_no_verdict_on_it() -> None:
    found = compare_evaluations(*_pair(100, 50, 5, 0))
    assert found.limit is None and found.within and not found.certified and found.verdict == "no limit given"
    assert {"difference", "drop", "bound", "n", "verdict", "a", "b"} <= set(found.to_json())


def test_every_built_in_metric_gives_rows_or_can_be_drawn() -> None:
    assert all(issubclass(metric, (RowMetric, DrawnMetric)) for metric in METRICS.values())
    assert isinstance(_hits([1, 0]).value, Estimate)
