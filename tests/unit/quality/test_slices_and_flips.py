"""Where accuracy was lost, and which samples changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from strop.errors import DataError
from strop.model.specs import TensorSpec
from strop.quality.agreement import agreement
from strop.quality.contract import Sample
from strop.quality.data import Data, open_data
from strop.quality.decoders.registry import get_decoder
from strop.quality.evaluate import Evaluation, evaluate
from strop.quality.flips import agreement_flips, flips_report, list_flips
from strop.quality.groups import read_groups
from strop.quality.metrics.registry import get_metric
from strop.quality.slices import slices_report

SCORES = (TensorSpec("x", "float32", (None, None)),)


def _data(answers, targets) -> Data:
    """Samples whose scores are `answers` (class, share), softmax already done."""
    samples = []
    for index, ((answer, share), target) in enumerate(zip(answers, targets, strict=True)):
        scores = np.full((1, 3), (1 - share) / 2, np.float32)
        scores[0, answer] = share
        samples.append(Sample(f"{index}.png", {"x": scores}, target))
    return open_data(samples, inputs=SCORES)


def _evaluated(answers, targets, metric="top1", decode="argmax") -> Evaluation:
    data = _data(answers, targets)
    return evaluate(lambda inputs: inputs, data, decode=get_decoder(decode), metric=get_metric(metric))


def test_flips_list_what_was_lost_first_and_of_that_the_surest() -> None:
    targets = [0, 1, 2, 0, 1, 2]
    a = _evaluated([(0, 0.6), (1, 0.9), (0, 0.5), (0, 0.7), (0, 0.5), (2, 0.8)], targets)
    b = _evaluated([(1, 0.5), (2, 0.8), (2, 0.9), (0, 0.7), (2, 0.6), (2, 0.8)], targets)
    flips = list_flips(a, b)
    assert [(flip.key, flip.before, flip.after, flip.kind) for flip in flips] == [
        ("1.png", 1, 2, "lost"),
        ("0.png", 0, 1, "lost"),
        ("4.png", 0, 2, "changed"),
        ("2.png", 0, 2, "gained"),
    ]
    assert flips[0].confidence_before == pytest.approx(0.9) and flips[0].confidence_after == pytest.approx(0.8)
    assert list_flips(a, a) == []
    report = flips_report(a, b)
    assert (report["total"], report["lost"], report["gained"], report["changed"]) == (4, 2, 1, 1)
    assert report["rows"][0] == {
        "sample": "1.png",
        "change": "lost",
        "target": 1,
        "before": 1,
        "after": 2,
        "confidence_before": 0.9,
        "confidence_after": 0.8,
    }
    assert flips_report(a, a)["words"] == "none of 6 predictions changed"


def test_of_a_metric_without_shares_a_flip_is_judged_by_its_class() -> None:
    targets = [0, 1, 1]
    a = _evaluated([(0, 0.6), (1, 0.9), (0, 0.5)], targets, "f1")
    b = _evaluated([(1, 0.6), (1, 0.9), (1, 0.5)], targets, "f1")
    assert [(flip.key, flip.kind) for flip in list_flips(a, b)] == [("0.png", "lost"), ("2.png", "gained")]


def test_scores_that_are_no_probabilities_get_a_softmax_for_the_confidence() -> None:
    data = open_data([Sample("a", {"x": np.array([[1.0, 3.0]], np.float32)}, 1)], inputs=SCORES)
    found = evaluate(lambda inputs: inputs, data, decode=get_decoder("argmax"), metric=get_metric("top1"))
    assert found.confidences == (pytest.approx(1 / (1 + np.exp(-2))),)


def test_the_worst_class_is_named_with_whether_that_is_luck() -> None:
    targets = [0] * 40 + [1] * 40 + [2] * 40
    right = [(target, 0.9) for target in targets]
    broken = right[:40] + [(0, 0.5)] * 20 + right[60:]
    a, b = _evaluated(right, targets), _evaluated(broken, targets)
    report = slices_report(a, b)
    assert report is not None and report["by"] == "class" and report["total"] == 3
    assert report["worst"]["slice"] == "1" and report["worst"]["drop"] == 0.5 and report["worst"]["worse"]
    assert report["worst"]["before"] == 1.0 and report["worst"]["after"] == 0.5 and report["worst"]["n"] == 40
    assert report["words"] == "worst class: 1, top1 1 -> 0.5 on 40 samples (of 3 classes; more than luck)"
    one_lost = _evaluated([*right[:-1], (0, 0.9)], targets)
    lucky = slices_report(a, one_lost)
    assert lucky is not None and lucky["worst"]["slice"] == "2" and not lucky["worst"]["worse"]
    assert "luck does" in lucky["words"]
    assert "no class of 3 lost anything" in slices_report(a, a)["words"]


def test_groups_of_the_users_own_take_any_metric() -> None:
    targets = [0, 1] * 20
    right = [(target, 0.9) for target in targets]
    groups = {f"{index}.png": "night" if index >= 20 else "day" for index in range(40)}
    a = _evaluated(right, targets, "f1")
    b = _evaluated(right[:20] + [(0, 0.9)] * 20, targets, "f1")
    report = slices_report(a, b, groups)
    assert report is not None and report["by"] == "group" and report["metric"] == "f1"
    assert report["worst"] == {
        "slice": "night",
        "n": 20,
        "before": 1.0,
        "after": 0.0,
        "drop": 1.0,
        "low": None,
        "high": None,
        "worse": False,
    }
    assert slices_report(a, b, {"0.png": "x"})["rows"][0]["slice"] == "(no group)"


def test_groups_are_read_from_files_and_must_fit_the_data(tmp_path: Path) -> None:
    data = _data([(0, 0.9), (1, 0.9)], [0, 1])
    assert read_groups(["a", 2], data) == {"0.png": "a", "1.png": "2"}
    (tmp_path / "by_path.csv").write_text("path,group,label\n./1.png,night,1\n0.png,day,0\n")
    assert read_groups(tmp_path / "by_path.csv", data) == {"1.png": "night", "0.png": "day"}
    np.save(tmp_path / "sites.npy", np.array([7, 8]))
    assert read_groups(str(tmp_path / "sites.npy"), data) == {"0.png": "7", "1.png": "8"}
    with pytest.raises(DataError) as caught:
        read_groups(["a"], data)
    assert caught.value.code == "data.labels" and "one group per sample" in str(caught.value)
    (tmp_path / "wrong.csv").write_text("path,site\n0.png,x\n")
    with pytest.raises(DataError, match="no column 'group'"):
        read_groups(tmp_path / "wrong.csv", data)


def test_classes_of_few_samples_are_not_called_the_worst() -> None:
    targets = list(range(3)) * 3
    a = _evaluated([(target, 0.9) for target in targets], targets)
    b = _evaluated([(0, 0.9)] * 9, targets)
    report = slices_report(a, b)
    assert report is not None and report["worst"] is None and "too few" in report["words"]


def test_what_has_no_classes_has_no_class_slices() -> None:
    numbers = open_data([(np.ones((1, 1), np.float32), 1.5), (np.ones((1, 1), np.float32), 2.5)], inputs=SCORES)
    for metric in ("mse", "rmse"):
        found = evaluate(lambda i: i, numbers, decode=get_decoder("identity"), metric=get_metric(metric))
        assert slices_report(found, found) is None
    texts = open_data([(np.ones((1, 1), np.float32), "ab"), (np.ones((1, 1), np.float32), "cd")], inputs=SCORES)
    found = evaluate(lambda i: i, texts, decode=lambda o, i: "ab", metric=get_metric("cer"))
    assert slices_report(found, found) is None


def test_without_labels_the_changed_decisions_and_the_farthest_outputs_are_listed() -> None:
    data = _data([(0, 0.9), (1, 0.8), (2, 0.7)], [0, 1, 2])

    def moved(inputs):
        scores = inputs["x"].copy()
        return {"x": scores[:, ::-1] if scores[0, 2] > 0.5 else scores}

    found = agreement(lambda inputs: inputs, moved, data)
    assert agreement_flips(found)["rows"] == [{"sample": "2.png", "before": 2, "after": 0}]
    largest = found.to_json()["outputs"]["x"]["largest_mse"]
    assert [row["sample"] for row in largest] == ["2.png"]
    assert largest[0]["mse"] == pytest.approx(2 * 0.55**2 / 3, rel=1e-5)
