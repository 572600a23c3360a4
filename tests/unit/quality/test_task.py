"""Tasks: work that is not one call a sample. The examples of the docs run here, on tiny models built in code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from strop.errors import DataError, InputError
from strop.model.specs import TensorSpec
from strop.quality.decoders.identity import identity
from strop.quality.evaluate import Evaluation, evaluate
from strop.quality.plugin import load_plugin
from strop.quality.split import split
from strop.quality.task import TaskData, calls_of, first_inputs, open_task

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
SPECS = (TensorSpec("x", "float32", (None,)),)


def _double(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"y": 2 * inputs["x"]}


class Powers:
    """Doubles a number as often as the sample says; each call is fed what the last one gave."""

    higher_is_better = False

    def samples(self) -> Iterator[tuple[object, float]]:
        for times in (1, 2, 3, 4):
            yield times, 2.0**times

    def predict(self, run, sample) -> float:
        value = np.ones(1, np.float32)
        for _ in range(sample):
            value = run({"x": value})["y"]
        return float(value[0])

    def score(self, predictions, targets) -> float:
        return float(np.mean([abs(p - t) for p, t in zip(predictions, targets, strict=True)]))


def _evaluate(data: TaskData, run) -> Evaluation:
    return evaluate(run, data, decode=identity, metric=data.metric)


def test_a_tasks_predictions_are_scored_by_its_own_score() -> None:
    data = open_task(Powers(), run=_double, inputs=SPECS)
    right = _evaluate(data, _double)
    assert right.value.point == 0.0 and right.n == 4 and right.predictions == (2.0, 4.0, 8.0, 16.0)
    assert right.metric.name == "Powers" and not right.metric.higher_is_better
    wrong = _evaluate(data, lambda inputs: {"y": 3 * inputs["x"]})
    assert wrong.value.point == pytest.approx(((3 - 2) + (9 - 4) + (27 - 8) + (81 - 16)) / 4)


def test_what_predict_feeds_is_recorded_in_order() -> None:
    data = open_task(Powers, run=_double, inputs=SPECS)
    fed = [float(sample.inputs["x"][0]) for sample in data.calls(limit=100)]
    assert fed == [1, 1, 2, 1, 2, 4, 1, 2, 4, 8]
    assert [float(inputs["x"][0]) for inputs in first_inputs(data, 2)] == [1, 1]
    assert [float(inputs["x"][0]) for inputs in first_inputs(data, 3)] == [1, 2, 2]
    assert [float(sample.inputs["x"][0]) for sample in data] == [1, 2, 2, 4]  # the middle one of each sample's


def test_of_many_calls_a_fair_part_is_kept() -> None:
    data = open_task(Powers(), run=_double, inputs=SPECS)
    assert len(calls_of(data, limit=4)) == 4
    counts = np.zeros(10)
    for seed in range(600):
        for sample in data.calls(limit=4, seed=seed):
            counts[int(sample.key.removeprefix("call "))] += 1
    assert np.all(np.abs(counts - 240) < 5 * np.sqrt(600 * 0.4 * 0.6))


def test_parts_of_a_task_are_disjoint_and_named_by_their_content() -> None:
    data = open_task(Powers(), run=_double, inputs=SPECS)
    parts = split(data, calibration=1, choosing=1, confirmation=2)
    keys = [predicted.key for part in parts for predicted in part.predictions(_double)]
    assert sorted(keys) == ["0", "1", "2", "3"]
    assert len({data.fingerprint, *(part.fingerprint for part in parts)}) == 4
    assert open_task(Powers(), run=_double, inputs=SPECS).fingerprint == data.fingerprint


def test_a_state_that_goes_back_in_is_not_the_engines_buffer() -> None:
    buffer = np.zeros(1, np.float32)

    def reuses(inputs):
        buffer[:] = inputs["x"] + 1
        return {"y": buffer}

    class Sums(Powers):
        def predict(self, run, sample):
            outputs = [run({"x": np.full(1, float(i), np.float32)})["y"] for i in range(sample)]
            return float(sum(output[0] for output in outputs))

    data = open_task(Sums(), run=reuses, inputs=SPECS)
    assert [predicted.prediction for predicted in data.predictions(reuses)] == [1, 3, 6, 10]


def test_a_task_without_what_it_needs_is_told_what() -> None:
    class Silent:
        def samples(self):
            return []

        def predict(self, run, sample):
            return 0

    for wrong, words in ((Silent(), "score (or metric), higher_is_better"), (3, "samples, predict")):
        with pytest.raises(DataError) as caught:
            open_task(wrong, run=_double, inputs=SPECS)
        assert caught.value.code == "data.plugin" and words in str(caught.value)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"samples": lambda self: []}, "data.empty", "no samples"),
        ({"samples": lambda self: [1, 2]}, "data.plugin", "no targets"),
        ({"samples": lambda self: 1 / 0}, "data.plugin", "ZeroDivisionError"),
        ({"predict": lambda self, run, sample: 1 / 0}, "data.plugin", "ZeroDivisionError"),
        ({"predict": lambda self, run, sample: 1.0}, "data.plugin", "made no call"),
        ({"predict": lambda self, run, sample: run([1])}, "data.plugin", "without names"),
    ],
)
def test_a_task_that_fails_is_an_error_that_says_where(change, code, words) -> None:
    kind = type("Broken", (Powers,), change)
    with pytest.raises(DataError) as caught:
        next(iter(open_task(kind, run=_double, inputs=SPECS)))
    assert caught.value.code == code and words in str(caught.value) and "Broken" in str(caught.value)


def test_a_missing_prediction_counts_as_wrong_under_a_named_metric() -> None:
    class Lost(Powers):
        metric = "f1"

        def samples(self):
            return [(1, 1), (2, 1), (3, 0)]

        def predict(self, run, sample):
            run({"x": np.ones(1, np.float32)})
            return None if sample == 1 else int(sample == 2)

    found = _evaluate(open_task(Lost(), run=_double, inputs=SPECS), _double)
    assert found.value.point == pytest.approx(2 / 3) and found.without_prediction == 1
    assert found.metric.name == "f1"


def _example(name: str, run, *inputs: TensorSpec) -> TaskData:
    return open_task(f"{EXAMPLES}/{name}", run=run, inputs=inputs)


def test_sentence_pairs() -> None:
    vectors = np.random.default_rng(0).normal(size=(512, 64)).astype(np.float32)

    def encoder(inputs):
        return {"vectors": vectors[inputs["ids"]]}

    pairs = load_plugin(f"{EXAMPLES}/sentence_pairs.py:SentencePairs")()
    data = _example("sentence_pairs.py:SentencePairs", encoder, TensorSpec("ids", "int64", (1, None)))
    found = _evaluate(data, encoder)
    means = [[vectors[ids[0]].mean(axis=0) for ids in sample] for sample, _ in pairs.samples()]
    cosines = [first @ second / np.sqrt((first @ first) * (second @ second)) for first, second in means]
    assert found.predictions == pytest.approx(cosines)
    assert found.metric.name == "spearman" and -1 < found.value.point < 1
    assert len(data.calls(limit=100)) == 2 * len(data)
    assert _evaluate(data, lambda inputs: {"vectors": np.ones((1, 3, 4), np.float32)}).value.point == 0.0


def test_stateful_audio() -> None:
    states = []

    def detector(inputs):
        states.append(float(inputs["state"].flat[0]))
        loud = 0.6 * inputs["state"].flat[0] + 0.4 * float(np.abs(inputs["input"]).mean() > 0.1)
        state = np.full((2, 1, 128), loud, np.float32)
        return {"output": np.full((1, 1), loud, np.float32), "stateN": state}

    data = _example("voice_activity.py:VoiceActivity", detector, TensorSpec("input", "float32", (1, None)))
    found = _evaluate(data, detector)
    assert 0.6 < found.value.point < 1  # it notices a frame late
    assert states[0] == 0 and len(set(states)) > 10  # the state goes from call to call
    forgetful = _evaluate(data, lambda inputs: detector({**inputs, "state": np.zeros((2, 1, 128), np.float32)}))
    assert forgetful.value.point == 0.0


def test_text_decoded_step_by_step() -> None:
    def counts_down(inputs):
        following = np.maximum(inputs["ids"] - 1, 0)
        return {"logits": np.eye(10, dtype=np.float32)[following]}

    def stuck(inputs):
        return {"logits": np.eye(10, dtype=np.float32)[inputs["ids"]]}

    data = _example("greedy_decoding.py:GreedyDecoding", counts_down, TensorSpec("ids", "int64", (1, None)))
    assert _evaluate(data, counts_down).value.point == 1.0
    assert _evaluate(data, stuck).value.point == 0.0
    lengths = [sample.inputs["ids"].shape[1] for sample in data.calls(limit=100)]
    assert lengths[:5] == [2, 3, 4, 5, 6]  # each call sees all that was written so far


def test_inputs_that_the_model_refuses_are_named_as_the_tasks() -> None:
    def strict(inputs):
        raise InputError("input.dtype", "input 'x' has the wrong element type", hint="convert it")

    data = open_task(Powers(), run=_double, inputs=SPECS)
    with pytest.raises(InputError) as caught:
        list(data.predictions(strict))
    assert caught.value.where == "Powers: a call in predict"
