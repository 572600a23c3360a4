"""Each metric against toys worked out by hand."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.errors import DataError, UsageError
from strop.quality.metrics.base import RowMetric
from strop.quality.metrics.edit_distance import edit_distance
from strop.quality.metrics.registry import METRICS, get_metric


def _scored(name, pairs):
    metric = get_metric(name)()
    for prediction, target in pairs:
        metric.update(prediction, target)
    return metric


TOYS = {
    "top1": ([(1, 1), (2, 1), (np.array([3, 1], np.int32), 3), (np.array([0.1, 0.9]), 1), (None, 0)], 3 / 5),
    "top5": ([(np.arange(5), 4), (np.arange(5), 5), (np.array([[1, 2, 3, 4, 5, 6.0]]), 1), (None, 0)], 2 / 4),
    "accuracy": ([("ab", "ab"), ("ab", "aB"), (3, 3), (np.array([1, 0, 1]), np.array([1, 1, 1])), (None, 7)], 4 / 7),
    "mse": ([(np.array([[1.0, 3.0]]), np.array([1.0, 1.0])), (2.0, "2.5")], (2.0 + 0.25) / 2),
    "cosine": ([([3.0, 4.0], [6.0, 8.0]), ([1.0, 0.0], [0.0, 1.0]), ([1.0, 0.0], [1.0, 1.0])], (1 + 0 + 2**-0.5) / 3),
    "cer": ([("kitten", "sitting"), ("", "ab"), ("x", ""), (None, "abc")], (3 + 2 + 1 + 3) / (7 + 2 + 0 + 3)),
    "wer": ([("the  cat sat", "the cat sat"), ("a b", "a c d")], 2 / 6),
    "mae": ([(np.array([[1.0, 3.0]]), np.array([1.0, 1.0])), (2.0, "2.5")], (1.0 + 0.5) / 2),
}


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if issubclass(metric, RowMetric)])
def test_the_toy_worked_out_by_hand_comes_out(name: str) -> None:
    pairs, expected = TOYS[name]
    metric = _scored(name, pairs)
    rows = metric.per_sample()
    assert metric.value() == pytest.approx(expected)
    assert rows.shape == (len(pairs), 2) and rows.dtype == np.float64
    assert rows[:, 0].sum() / rows[:, 1].sum() == pytest.approx(expected)
    assert metric.value_of(np.array([0, 0])) == pytest.approx(rows[0, 0] / rows[0, 1])


def test_directions_and_fractions_are_what_they_are() -> None:
    lower = {name for name, metric in METRICS.items() if not metric.higher_is_better}
    assert lower == {"mse", "mae", "rmse", "cer", "wer", "perplexity"}
    assert {name for name, metric in METRICS.items() if not metric.is_fraction} == {"mse", "mae", "rmse", "perplexity"}


def test_no_prediction_is_the_worst_there_is() -> None:
    assert _scored("mse", [(None, 1.0)]).value() == np.inf
    assert _scored("cosine", [(None, [1.0, 2.0])]).value() == -1
    assert _scored("cer", [(None, ""), ("a", "a")]).value() == 1
    assert _scored("accuracy", [(None, np.zeros(4)), (np.ones(4, int), np.ones(4, int))]).value() == 0.5


def test_cosine_of_nothing_is_one_only_with_nothing() -> None:
    assert _scored("cosine", [([0.0, 0.0], [0.0, 0.0])]).value() == 1
    assert _scored("cosine", [([0.0, 0.0], [1.0, 0.0])]).value() == 0


def test_text_is_compared_as_it_is() -> None:
    assert _scored("cer", [("Abc", "abc")]).value() == pytest.approx(1 / 3)
    assert _scored("cer", [("12", 12)]).value() == 0  # labels read as numbers
    assert _scored("wer", [("a a a a", "b")]).value() == 4


@pytest.mark.parametrize(
    ("name", "prediction", "target", "code"),
    [
        ("top1", "cat", 1, "quality.metric"),
        ("top1", 1, "cat", "data.labels"),
        ("top1", 1, 1.5, "data.labels"),
        ("top5", 3, 3, "quality.metric"),
        ("accuracy", np.zeros((2, 2), int), np.zeros(4, int), "quality.metric"),
        ("accuracy", 0.3, 1, "quality.metric"),
        ("mse", np.zeros(3), np.zeros(4), "quality.metric"),
        ("mse", "text", 1.0, "quality.metric"),
        ("cer", 3, "3", "quality.metric"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_advice(name, prediction, target, code) -> None:
    with pytest.raises(DataError) as caught:
        _scored(name, [(prediction, target)])
    assert caught.value.code == code and caught.value.hint and name in str(caught.value)


def test_an_error_rate_over_no_characters_is_not_defined() -> None:
    with pytest.raises(DataError, match="not defined"):
        _scored("cer", [("a", "")]).value()


@given(st.text("abc", max_size=8), st.text("abcd", max_size=8))
def test_edit_distance_is_what_its_definition_says(first: str, second: str) -> None:
    @cache
    def distance(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        return min(
            distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (first[i - 1] != second[j - 1])
        )

    assert edit_distance(first, second) == distance(len(first), len(second))


def test_a_users_function_sees_all_predictions_and_targets(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def error(predictions, targets):\n"
        "    return max(abs(p - t) for p, t in zip(predictions, targets))\n"
        "error.higher_is_better = False\n"
    )
    metric = _scored(f"{tmp_path}/mine.py:error", [(1, 2), (5, 9)])
    assert metric.value() == 4 and metric.value_of(np.array([0, 0])) == 1
    assert metric.per_sample() is None
    assert not metric.higher_is_better and not metric.is_fraction and metric.name.endswith("mine.py:error")


def test_a_users_function_that_fails_or_returns_no_number_is_said_so() -> None:
    with pytest.raises(DataError) as caught:
        _scored(lambda predictions, targets: 1 / 0, [(1, 1)]).value()
    assert caught.value.code == "data.plugin" and "ZeroDivisionError" in str(caught.value)
    with pytest.raises(DataError) as caught:
        _scored(lambda predictions, targets: "good", [(1, 1)]).value()
    assert caught.value.code == "quality.metric"


def test_an_unknown_metric_lists_what_there_is() -> None:
    with pytest.raises(UsageError) as caught:
        get_metric("mape")
    assert "top1" in str(caught.value) and "file.py:function" in str(caught.value)
