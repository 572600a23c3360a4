"""Scoring a model over a data set."""

from __future__ import annotations

import numpy as np
import pytest

from strop.errors import DataError, UsageError
from strop.measure.statistics import proportion
from strop.model.specs import TensorSpec
from strop.quality.data import Data, open_data
from strop.quality.decoders.registry import get_decoder
from strop.quality.defaults import choose_quality
from strop.quality.evaluate import Evaluation, evaluate
from strop.quality.metrics.registry import get_metric


def echo(inputs):
    """A model whose outputs are its inputs."""
    return {"out": inputs["x"]}


def _scores(labels: list[int], answers: list[int], classes: int = 4) -> Data:
    x = np.eye(classes, dtype=np.float32)[answers]
    return open_data(x, inputs=(TensorSpec("x", "float32", (None, classes)),), labels=labels)


def _evaluate(data: Data, decode="argmax", metric="top1", run=echo, **options) -> Evaluation:
    return evaluate(run, data, decode=get_decoder(decode), metric=get_metric(metric), **options)


def test_a_share_of_samples_has_wilsons_interval_and_everything_to_look_it_up_again() -> None:
    data = _scores([0, 1, 2, 3, 0], [0, 1, 2, 0, 0])
    seen = []
    found = _evaluate(data, on_progress=lambda done, total: seen.append((done, total)))
    wilson = proportion(4, 5)
    assert (found.value.point, found.value.low, found.value.high) == (0.8, wilson.low, wilson.high)
    assert found.n == 5 and found.classes == 4 and found.without_prediction == 0
    assert found.predictions == (0, 1, 2, 0, 0) and found.targets == (0, 1, 2, 3, 0)
    assert found.keys == tuple("01234") and found.data == data.fingerprint
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert found.to_json()["metric"] == "top1"


def test_nan_outputs_count_as_wrong_and_are_reported() -> None:
    data = _scores([0, 1, 2], [0, 1, 2])
    found = _evaluate(data, run=lambda inputs: {"out": np.where(inputs["x"][:, 1:2] == 1, np.nan, inputs["x"])})
    assert found.value.point == pytest.approx(2 / 3) and found.without_prediction == 1
    assert found.predictions == (0, None, 2)


def test_a_function_that_returns_nan_gives_no_prediction() -> None:
    found = _evaluate(_scores([1, 1], [1, 1]), decode=lambda outputs, inputs: float("nan"), metric="mse")
    assert found.without_prediction == 2 and found.value.point == np.inf


def test_a_ratio_over_characters_has_an_interval_that_stays_above_zero() -> None:
    texts = ["some text", "x", "another line", "more"] * 10
    data = open_data(np.zeros((40, 1), np.float32), inputs=(TensorSpec("x", "float32", (None, 1)),), labels=texts)
    answers = iter([text if i % 8 else text[1:] for i, text in enumerate(texts)])
    found = _evaluate(data, decode=lambda outputs, inputs: next(answers), metric="cer")
    assert found.value.point == pytest.approx(5 / sum(map(len, texts)))
    assert 0 <= found.value.low < found.value.point < found.value.high < 0.1


def test_a_users_function_has_a_bootstrap_interval_that_is_the_same_every_time() -> None:
    generator = np.random.default_rng(1)
    labels = generator.normal(size=60).tolist()
    data = open_data(np.zeros((60, 1), np.float32), inputs=(TensorSpec("x", "float32", (None, 1)),), labels=labels)

    def mean(predictions, targets):
        return float(np.mean(targets))

    first, second = (_evaluate(data, decode="identity", metric=mean) for _ in range(2))
    half = 1.96 * np.std(labels) / 60**0.5
    assert first.value == second.value and first.rows is None
    assert first.value.low == pytest.approx(np.mean(labels) - half, abs=0.05)
    assert first.value.high == pytest.approx(np.mean(labels) + half, abs=0.05)


def test_a_label_that_is_no_class_of_the_model_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        _evaluate(_scores([0, 4], [0, 1]))
    assert caught.value.code == "data.labels"
    assert "0 to 3" in str(caught.value) and "count from 1" in caught.value.hint


def test_targets_of_any_kind_are_kept_so_that_they_can_be_compared() -> None:
    boxes = [{"boxes": np.arange(4.0) + i} for i in range(3)]
    data = open_data(np.zeros((3, 4), np.float32), inputs=(TensorSpec("x", "float32", (None, 4)),), labels=boxes)
    first, second = (_evaluate(data, decode="identity", metric=lambda predictions, targets: 1.0) for _ in range(2))
    assert first.targets == second.targets and len(set(first.targets)) == 3


def test_without_labels_there_is_no_evaluation() -> None:
    data = open_data(np.zeros((2, 4), np.float32), inputs=(TensorSpec("x", "float32", (None, 4)),))
    with pytest.raises(UsageError) as caught:
        _evaluate(data)
    assert caught.value.code == "usage.missing-labels"


def test_large_predictions_are_kept_as_a_hash_that_still_tells_them_apart() -> None:
    x = np.random.default_rng(0).normal(size=(3, 500)).astype(np.float32)
    x[2] = x[0]
    labels = np.zeros((3, 500))
    data = open_data(x, inputs=(TensorSpec("x", "float32", (None, 500)),), labels=labels)
    first, second, third = _evaluate(data, decode="identity", metric="mse").predictions
    assert first == third != second and len(str(first)) < 60


@pytest.mark.parametrize(
    ("labels", "metadata", "metric", "prediction"),
    [
        ([1, 2], {}, "top1", 3),
        (["ab", "c"], {"character": "a\nb"}, "cer", " "),
        (np.zeros((2, 4)), {}, "mse", [[0, 0, 0, 1]]),
    ],
)
def test_decoder_and_metric_follow_from_the_labels(labels, metadata, metric, prediction) -> None:
    x = np.tile(np.eye(4, dtype=np.float32)[3], (2, 1))
    data = open_data(x, inputs=(TensorSpec("x", "float32", (None, 4)),), labels=labels)
    decode, factory = choose_quality(data, metadata=metadata)
    assert factory().name == metric
    assert np.array_equal(decode({"y": x[:1]}, {}), prediction)


def test_text_labels_without_a_dictionary_ask_for_a_decoder() -> None:
    with pytest.raises(UsageError, match="--decode"):
        choose_quality(_scores(["a", "b"], [0, 1]))
    decode, factory = choose_quality(_scores([1, 2], [0, 1]), metric="top5")
    assert decode({"y": np.arange(9.0)}, {}).tolist() == [8, 7, 6, 5, 4] and factory().name == "top5"


def test_a_prediction_of_a_stream_is_not_kept_in_memory() -> None:
    alive: list[int] = []

    class Tracked(np.ndarray):
        def __del__(self):
            alive.pop()

    def samples():
        for index in range(20):
            alive.append(index)
            assert len(alive) < 4
            yield np.zeros(4, np.float32).view(Tracked), 0

    assert _evaluate(open_data(samples, inputs=(TensorSpec("x", "float32", (1, 4)),))).n == 20
