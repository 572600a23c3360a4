"""Metrics that are no ratio of sums, each against figures worked out by hand, and against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.errors import DataError, UsageError
from strop.model.specs import TensorSpec
from strop.quality.contract import Sample
from strop.quality.data import open_data
from strop.quality.defaults import choose_quality
from strop.quality.evaluate import evaluate
from strop.quality.metrics.registry import get_metric
from strop.quality.metrics.spearman import mean_ranks

SPEC = TensorSpec("x", "float32", (None, 2))


def _scored(name, pairs):
    metric = get_metric(name)()
    for prediction, target in pairs:
        metric.update(prediction, target)
    return metric


# TP 2, FN 1, FP 1, TN 2
BINARY = [(1, 1), (1, 1), (0, 1), (1, 0), (0, 0), (0, 0)]
# class a: 1 of 2 found, said 2 times; b: 2 of 3, said 2 times; c: 1 of 1, said twice
SEVERAL = [("a", "a"), ("c", "a"), ("b", "b"), ("b", "b"), ("a", "b"), ("c", "c")]


@pytest.mark.parametrize(
    ("name", "pairs", "expected"),
    [
        ("f1", BINARY, 2 * 2 / (2 * 2 + 1 + 1)),
        ("precision", BINARY, 2 / 3),
        ("recall", BINARY, 2 / 3),
        ("precision_macro", SEVERAL, (1 / 2 + 2 / 2 + 1 / 2) / 3),
        ("recall_macro", SEVERAL, (1 / 2 + 2 / 3 + 1 / 1) / 3),
        ("f1_macro", SEVERAL, (2 / 4 + 4 / 5 + 2 / 3) / 3),
        ("f1_macro", BINARY, (2 / 3 + 2 / 3) / 2),
        # what was never said, or never true, is 0 as with scikit-learn's zero_division=0
        ("precision", [(0, 1), (0, 0)], 0.0),
        ("f1", [(0, 0)], 0.0),
        # elements of arrays count each: TP 2, FP 1, FN 1
        ("f1", [(np.array([1, 1, 0]), np.array([1, 0, 0])), (np.array([[1, 0]]), np.array([1, 1]))], 4 / 6),
        ("recall", [(np.array(True), True), (False, True)], 1 / 2),
        # a missing prediction is the wrong one of two, or none of several
        ("f1", [(1, 1), (None, 1), (None, 0)], 2 / 4),
        ("recall_macro", [(2, 2), (None, 3)], 1 / 2),
        ("rmse", [(1.0, 4.0), (2.0, 2.0), ([1.0, 1.0], [1.0, 3.0])], math.sqrt((9 + 0 + 2) / 3)),
        ("pearson", [(1, 1), (2, 3), (3, 2)], 0.5),
        ("pearson", [(5.0, 1), (5.0, 2)], 0.0),
        # ranks 1.5 1.5 3 4 against 1 3 2 4: 1.5 - 0.5 - 0.25 + 2.25 of sqrt(4.5 * 5)
        ("spearman", [(7, 10), (7, 30), (8, 20), (9, 40)], 3 / math.sqrt(4.5 * 5)),
        ("spearman", [(1, 1), (2, 4), (3, 9)], 1.0),
        # of the answers 1 and 3, a missing one counts as 1 where much was right: pearson of 1 3 1 and 0 2 4
        ("pearson", [(1, 0), (3, 2), (None, 4)], 0.0),
        # the mean of two tokens' -log(1/2) and -log(1/8): sqrt(16)
        ("perplexity", [(np.log([0.5]), [3]), (np.log([1 / 8]), [0])], 4.0),
        ("perplexity", [(np.zeros((3, 5)), [0, 4, -100])], 5.0),
        ("perplexity", [(np.log([[[0.25, 0.75], [0.5, 0.5]]]) + 7, [0, 1])], math.sqrt(8)),
        ("perplexity", [(None, [1])], math.inf),
        ("perplexity", [(np.array([[np.nan, 0.0]]), [1])], math.inf),
    ],
)
def test_the_figure_worked_out_by_hand_comes_out(name, pairs, expected) -> None:
    metric = _scored(name, pairs)
    assert metric.value() == pytest.approx(expected)
    assert metric.per_sample() is None
    twice = np.repeat(np.arange(len(pairs)), 2)
    assert metric.value_of(twice) == pytest.approx(expected)


def test_macro_figures_are_means_over_the_classes_that_occur_in_a_draw() -> None:
    metric = _scored("recall_macro", SEVERAL)
    assert metric.value_of(np.array([0, 1])) == pytest.approx((1 / 2 + 0) / 2)  # a and, said wrongly, c
    assert metric.value_of(np.array([5])) == 1.0


def test_mean_iou_sums_pixels_over_images_and_leaves_the_void_out() -> None:
    first = (np.array([[0, 0], [1, 1]]), np.array([[0, 1], [1, 255]]))
    second = (np.array([[2, 2]]), np.array([[2, 0]]))
    # class 0: 1 of (2 + 1); class 1: 1 of 2; class 2: 1 of 2
    assert _scored("miou", [first, second]).value() == pytest.approx((1 / 3 + 1 / 2 + 1 / 2) / 3)
    # images by themselves: class 2 does not occur in the first
    assert _scored("miou", [first, second]).value_of(np.array([0])) == pytest.approx((1 / 2 + 1 / 2) / 2)
    # the void as a class of its own: class 1 then has 1 of 3, and 255 none of 1
    assert _scored("miou:ignore=none", [first]).value() == pytest.approx((1 / 2 + 1 / 3 + 0) / 3)
    # class 0 ignored: of the first image's row below, one right of two, and 255 none of one
    assert _scored("miou:ignore=0", [first]).value() == pytest.approx((0 / 1 + 1 / 3 + 0 / 1) / 3)
    assert _scored("miou", [first, (None, second[1])]).value() == pytest.approx((1 / 3 + 1 / 2 + 0) / 3)
    with pytest.raises(UsageError):
        get_metric("miou:skip=3")
    with pytest.raises(DataError):
        _scored("miou", [(np.zeros((2, 2), int), np.zeros((2, 3), int))])
    with pytest.raises(DataError):
        _scored("miou", [(np.zeros((2, 2)), np.zeros((2, 2), int))])


@pytest.mark.parametrize(
    ("name", "prediction", "target"),
    [
        ("f1", 2, 1),
        ("f1", 0.3, 1),
        ("f1", np.array([1, 0]), np.array([1, 0, 1])),
        ("pearson", [1.0, 2.0], [1.0, 2.0]),
        ("spearman", "text", 1.0),
        ("perplexity", np.zeros((2, 3)), [1, 3]),
        ("perplexity", np.zeros((2, 3)), [1]),
        ("perplexity", np.array([0.5]), [1]),
        ("rmse", [1.0], [1.0, 2.0]),
    ],
)
def test_what_cannot_be_scored_is_refused_with_advice(name, prediction, target) -> None:
    with pytest.raises(DataError) as caught:
        _scored(name, [(prediction, target)])
    assert caught.value.code == "quality.metric" and caught.value.hint and name in str(caught.value)


def test_a_correlation_with_targets_all_alike_is_not_defined() -> None:
    with pytest.raises(DataError, match="not defined"):
        _scored("pearson", [(1, 2), (3, 2)]).value()
    assert _scored("spearman", [(None, 1), (None, 2)]).value() == -1.0


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12))
def test_ranks_are_the_mean_place_among_the_sorted(values: list[int]) -> None:
    expected = [
        sum(other < value for other in values) + (1 + sum(other == value for other in values)) / 2 for value in values
    ]
    assert mean_ranks(np.array(values, float)).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=15))
def test_macro_f1_is_what_its_definition_says(pairs) -> None:
    figures = []
    for label in {label for pair in pairs for label in pair}:
        right = sum(given == label == wanted for given, wanted in pairs)
        wrong = sum((given == label) != (wanted == label) for given, wanted in pairs)
        figures.append(2 * right / (2 * right + wrong))
    assert _scored("f1_macro", pairs).value() == pytest.approx(sum(figures) / len(figures))


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=3, max_size=20), st.floats(0.1, 10))
def test_pearson_is_numpys_and_blind_to_scale(pairs, scale) -> None:
    answers, truths = np.array(pairs).T
    if np.std(answers) < 1e-3 or np.std(truths) < 1e-3:
        return
    expected = np.corrcoef(answers, truths)[0, 1]
    assert _scored("pearson", pairs).value() == pytest.approx(expected, abs=1e-9)
    assert _scored("pearson", [(a * scale + 1, t) for a, t in pairs]).value() == pytest.approx(expected, abs=1e-9)


def test_an_evaluation_takes_the_metric_with_the_decoder_that_fits_it_and_a_bootstrap_interval() -> None:
    scores = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    labels = (scores[:, 1] > scores[:, 0]).astype(int)
    labels[::6] = 1 - labels[::6]
    samples = [Sample(str(i), {"x": s[None]}, int(y)) for i, (s, y) in enumerate(zip(scores, labels, strict=True))]
    data = open_data(samples, inputs=(SPEC,))
    decode, metric = choose_quality(data, metric="f1")
    found = evaluate(lambda inputs: inputs, data, decode=decode, metric=metric)
    assert found.rows is None and found.value.low < found.value.point < found.value.high < 1
    assert len(found.confidences) == 60 and all(0.5 <= share <= 1 for share in found.confidences if share is not None)


def test_boxes_need_a_decoder_of_the_users_own() -> None:
    data = open_data([(np.zeros((1, 2), np.float32), 1)], inputs=(SPEC,))
    with pytest.raises(UsageError) as caught:
        choose_quality(data, metric="map")
    assert "file.py:function" in str(caught.value)
