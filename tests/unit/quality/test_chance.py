"""Baselines no better than guessing, and baselines that are."""

from __future__ import annotations

import numpy as np
import pytest

from strop.errors import LimitError
from strop.model.specs import TensorSpec
from strop.quality.chance import near_chance, refuse_near_chance
from strop.quality.data import open_data
from strop.quality.decoders.registry import get_decoder
from strop.quality.evaluate import Evaluation, evaluate
from strop.quality.metrics.registry import get_metric


def _classified(labels, answers, classes: int, metric: str = "top1") -> Evaluation:
    x = np.eye(classes, dtype=np.float32)[np.asarray(answers)]
    data = open_data(x, inputs=(TensorSpec("x", "float32", (None, classes)),), labels=np.asarray(labels))
    decode = get_decoder("top5" if metric == "top5" else "argmax")
    return evaluate(lambda inputs: {"y": inputs["x"]}, data, decode=decode, metric=get_metric(metric))


def _answers(answers, labels, metric: str) -> Evaluation:
    x = np.zeros((len(labels), 1), np.float32)
    data = open_data(x, inputs=(TensorSpec("x", "float32", (None, 1)),), labels=labels)
    remaining = iter(answers)
    return evaluate(lambda i: i, data, decode=lambda outputs, inputs: next(remaining), metric=get_metric(metric))


def _random(n: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, classes, n), generator.integers(0, classes, n)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_random_answers_are_guessing(classes: int) -> None:
    labels, answers = _random(200, classes)
    reason = near_chance(_classified(labels, answers, classes))
    assert reason is not None and "of 200 are right" in reason


@pytest.mark.parametrize(("classes", "share"), [(2, 0.65), (10, 0.3), (1000, 0.05)])
def test_a_weak_model_that_has_learned_something_is_not(classes: int, share: float) -> None:
    labels, answers = _random(300, classes)
    right = np.random.default_rng(1).random(300) < share
    assert near_chance(_classified(labels, np.where(right, labels, answers), classes)) is None


def test_labels_off_by_one_are_recognized() -> None:
    labels = np.random.default_rng(0).integers(0, 9, 150)
    reason = near_chance(_classified(labels, labels + 1, 10))
    assert reason is not None and "with every label +1 it would be 100.0%" in reason
    reason = near_chance(_classified(labels + 1, labels, 10))
    assert reason is not None and "with every label -1" in reason


def test_always_the_same_answer_is_guessing_however_often_it_is_right() -> None:
    labels = [0] * 95 + [1] * 5
    reason = near_chance(_classified(labels, [0] * 100, 2))
    assert reason == "the model answers 0 to all 100 samples"


def test_no_better_than_the_most_frequent_class_is_guessing() -> None:
    labels = np.array([0] * 700 + [1] * 300)
    answers = np.random.default_rng(0).permutation(labels)
    reason = near_chance(_classified(labels, answers, 2))
    assert reason is not None and "always naming the most frequent class gives 70.0%" in reason


def test_a_good_model_on_few_samples_is_not_stopped() -> None:
    assert near_chance(_classified([0, 1, 2], [0, 1, 2], 10)) is None
    assert near_chance(_classified(range(20), [*range(3), *range(100, 117)], 1000)) is None


def test_good_models_pass_and_guessers_are_found_again_and_again() -> None:
    stopped_good = stopped_guessing = 0
    for seed in range(60):
        labels, answers = _random(100, 10, seed)
        right = np.random.default_rng(1000 + seed).random(100) < 0.8
        stopped_good += near_chance(_classified(labels, np.where(right, labels, answers), 10)) is not None
        stopped_guessing += near_chance(_classified(labels, answers, 10)) is not None
    assert stopped_good == 0 and stopped_guessing >= 51  # 95 % less four standard errors


def test_top5_is_held_against_five_guesses() -> None:
    labels, answers = _random(300, 10)
    assert near_chance(_classified(labels, answers, 10, "top5")) is not None
    assert near_chance(_classified(labels, labels, 10, "top5")) is None


def test_text_that_is_not_read_is_guessing() -> None:
    texts = ["hello", "world"] * 6
    assert "cer is 1.00" in str(near_chance(_answers([""] * 12, texts, "cer")))
    assert near_chance(_answers(["hellp", "world"] * 6, texts, "cer")) is None


def test_numbers_are_held_against_their_mean_and_vectors_against_the_angle() -> None:
    labels = np.linspace(-1, 1, 40)
    assert near_chance(_answers(labels[::-1], labels, "mse")) is not None
    assert near_chance(_answers(labels + 0.1, labels, "mse")) is None
    vectors = np.random.default_rng(0).normal(size=(40, 64))
    assert near_chance(_answers(vectors[::-1], vectors, "cosine")) is not None
    assert near_chance(_answers(vectors * 3, vectors, "cosine")) is None


def test_nan_everywhere_is_said_as_such() -> None:
    assert near_chance(_answers([None] * 3, [1, 2, 3], "mse")) == "the outputs hold NaN for every sample"


def test_a_users_function_cannot_be_told() -> None:
    assert near_chance(_answers([1, 2], [2, 1], lambda predictions, targets: 0.0)) is None


def test_a_refusal_names_preprocessing_and_label_order() -> None:
    labels, answers = _random(200, 10)
    with pytest.raises(LimitError) as caught:
        refuse_near_chance(_classified(labels, answers, 10))
    assert caught.value.code == "quality.near-chance" and caught.value.exit_code == 1
    assert "preprocessing or the order of the labels" in caught.value.hint
    refuse_near_chance(_classified(labels, labels, 10))


def test_numbers_that_follow_the_labels_are_better_than_their_mean() -> None:
    generator = np.random.default_rng(3)
    labels = generator.normal(size=40).tolist()
    near, noise = [label + 0.1 for label in labels], generator.normal(size=40).tolist()
    for metric, words in (("rmse", "mean"), ("mae", "median"), ("pearson", "about 0"), ("spearman", "about 0")):
        assert near_chance(_answers(near, labels, metric)) is None
        reason = near_chance(_answers(noise, labels, metric))
        assert reason is not None and words in reason


def test_one_answer_to_everything_is_guessing_under_f1_too() -> None:
    labels = [0, 1] * 10
    assert near_chance(_answers(labels, labels, "f1")) is None
    assert "answers 0 to all 20" in str(near_chance(_answers([0] * 20, labels, "f1")))
    # arrays whose first elements are alike are no constant answer
    frames = [np.array([0, label, 1]) for label in labels]
    data = open_data(np.zeros((20, 1), np.float32), inputs=(TensorSpec("x", "float32", (None, 1)),), labels=frames)
    remaining = iter(frames)
    found = evaluate(lambda i: i, data, decode=lambda o, i: next(remaining), metric=get_metric("f1"))
    assert near_chance(found) is None


def test_boxes_that_find_nothing_are_guessing() -> None:
    target = {"boxes": [[0, 0, 1, 1]], "classes": [0]}
    data = open_data([(np.zeros((1, 1), np.float32), target)], inputs=(TensorSpec("x", "float32", (None, 1)),))
    none = evaluate(lambda i: i, data, decode=lambda o, i: None, metric=get_metric("map"))
    found = evaluate(lambda i: i, data, decode=lambda o, i: target | {"scores": [0.9]}, metric=get_metric("map"))
    assert near_chance(found) is None and near_chance(none) is not None
