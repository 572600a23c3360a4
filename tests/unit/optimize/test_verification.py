"""What `verify` says besides the difference: who changed, where it was lost, how many samples would tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from strop.engines.compile import compile as compile_model
from strop.errors import UsageError
from strop.optimize.verification import exceeds, verify
from strop.testing.models import multilayer_perceptron


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str, dict[str, Any]]:
    """A classifier, the same with one class pushed down, and 400 samples with the labels the first one gives."""
    model = multilayer_perceptron()
    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    values = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "b2")
    scores = compile_model(model, engine="onnxruntime", threads=1)(values)["y"]
    even = numpy_helper.to_array(bias) - scores.mean(axis=0)  # so that it has no favourite class
    bias.CopyFrom(numpy_helper.from_array(even, "b2"))
    onnx.save(model, first)
    labels = (scores - scores.mean(axis=0)).argmax(axis=1)
    even[np.bincount(labels).argmax()] -= 0.5 * scores.std()
    bias.CopyFrom(numpy_helper.from_array(even, "b2"))
    onnx.save(model, second)
    return str(first), str(second), {"x": values, "labels": labels}


def test_verify_names_the_worst_class_the_changed_samples_and_the_samples_it_takes(pair) -> None:
    a, b, data = pair
    found = verify(a, b, data, max_drop="30%")
    worst = str(int(np.bincount(data["labels"]).argmax()))
    assert found["n"] == 400 and 0 < found["drop"] < 0.3 and not exceeds(found)
    assert found["slices"]["by"] == "class" and found["slices"]["worst"]["slice"] == worst
    assert found["flips"]["lost"] == found["flips"]["total"] == round(found["drop"] * 400)
    first = found["flips"]["rows"][0]
    assert first["change"] == "lost" and first["target"] == first["before"] == int(worst) != first["after"]
    assert first["confidence_before"] > 0.25
    assert found["agreement"]["agreeing"]["n"] == 200 and found["agreement"]["agreeing"]["point"] < 1
    assert found["sample_plan"]["have"] == 400 and found["sample_plan"]["needed"] <= 400


def test_verify_by_groups_of_the_users_own(pair, tmp_path: Path) -> None:
    a, b, data = pair
    worst = int(np.bincount(data["labels"]).argmax())
    names = ["hit" if label == worst else "spared" for label in data["labels"]]
    (tmp_path / "groups.csv").write_text("group\n" + "\n".join(names) + "\n")
    for groups in (names, str(tmp_path / "groups.csv")):
        found = verify(a, b, data, groups=groups)
        assert found["slices"]["by"] == "group" and found["slices"]["worst"]["slice"] == "hit"
        assert {row["slice"] for row in found["slices"]["rows"]} == {"hit", "spared"}


def test_a_plan_runs_a_pilot_and_decides_nothing(pair) -> None:
    a, b, data = pair
    found = verify(a, b, data, max_drop="0.1%", plan=True)
    assert found["n"] == 200 and found["pilot"] and not exceeds(found)
    assert found["sample_plan"]["measured"] == 200 and found["sample_plan"]["have"] == 400
    same = verify(a, a, data, max_drop="0.5%", plan=True)
    assert same["sample_plan"]["needed"] > 600 and "too few" in same["sample_plan"]["words"]


def test_stopping_early_runs_a_part_of_the_samples(pair) -> None:
    a, b, data = pair
    told: list[str] = []
    found = verify(a, b, data, max_drop="0.1%", stop_early=True, on_event=lambda event: told.append(event.message))
    assert found["stopped_early"] and found["flips"]["n"] < 400 and exceeds(found)
    assert any("prove the drop to be beyond the limit" in words for words in told)
    whole = verify(a, b, data, max_drop="8%", stop_early=True)
    assert not whole["stopped_early"] or whole["flips"]["n"] < 400


def test_without_labels_the_changed_decisions_are_listed(pair) -> None:
    a, b, data = pair
    found = verify(a, b, {"x": data["x"]})
    assert found["metric"] is None and found["flips"]["total"] == len(found["agreement"]["disagreeing"]) > 0
    assert set(found["flips"]["rows"][0]) == {"sample", "before", "after"}


@pytest.mark.parametrize(
    ("options", "labelled", "code"),
    [
        ({"plan": True}, True, "usage.bad-option"),
        ({"stop_early": True, "max_drop": 0}, True, "usage.bad-option"),
        ({"plan": True, "stop_early": True, "max_drop": "1%"}, True, "usage.bad-option"),
        ({"plan": True}, False, "usage.missing-labels"),
        ({"groups": ["a"] * 400}, False, "usage.missing-labels"),
    ],
)
def test_options_that_say_nothing_are_refused(pair, options, labelled, code) -> None:
    a, b, data = pair
    with pytest.raises(UsageError) as caught:
        verify(a, b, data if labelled else {"x": data["x"]}, **options)
    assert caught.value.code == code
