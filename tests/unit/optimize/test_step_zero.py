"""Step zero: the baseline is what it is known to be, or nothing is searched, and it is said what would help."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from strop.errors import DataError, LimitError, UsageError
from strop.model.preprocess import Preprocess
from strop.model.specs import TensorSpec
from strop.optimize.accuracy import AgreementJudge, MetricJudge, prepare_judge
from strop.optimize.changes import flips_step, slices_step
from strop.optimize.scoring import choose_scoring
from strop.optimize.step_zero import parse_expected
from strop.quality.data import Data, open_data
from strop.quality.preprocess_trial import variants

SPEC = (TensorSpec("x", "float32", (None, 3, 8, 8)),)
COLOURS = np.array([[200, 30, 40], [40, 190, 60], [30, 50, 210]])


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """90 pictures of three colours in class folders."""
    generator = np.random.default_rng(0)
    for label, colour in enumerate(COLOURS):
        (tmp_path / str(label)).mkdir()
        for number in range(30):
            pixels = np.clip(colour + generator.normal(0, 20, (8, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / str(label) / f"{number}.png")
    return tmp_path


def _open(images: Path, preprocess: str) -> Data:
    return open_data(images, inputs=SPEC, preprocess=preprocess)


def _knows_imagenet(inputs):
    """A model that tells the colours only when they come as BGR, normalized with ImageNet's figures."""
    means = inputs["x"].mean(axis=(2, 3))
    wanted = (COLOURS / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    distances = ((means[:, None] - wanted[None, :, ::-1]) ** 2).sum(axis=2)
    known = distances.min() < 0.5
    return {"y": (-distances if known else np.array([[1.0, 0.0, 0.0]])).astype(np.float32)}


def _judge(data: Data, **options) -> MetricJudge:
    scoring = choose_scoring(data, {}, default_drop="1%")
    assert scoring is not None
    judge = MetricJudge(scoring)
    prepare_judge(judge, data, **options)
    return judge


def test_near_chance_the_presets_are_tried_and_the_right_one_is_named(images: Path) -> None:
    data, told = _open(images, "mean=0.5,std=0.5"), []
    judge = _judge(data)
    judge.tell = told.append
    with pytest.raises(LimitError) as caught:
        judge.baseline(_knows_imagenet, data)
    error = caught.value
    assert error.code == "quality.near-chance"
    best = error.details["tried"][0]
    assert best["name"] == "imagenet, BGR" and best["value"]["point"] == 1.0 and best["near_chance"] is None
    assert "imagenet, BGR" in str(error) and "better than chance" in str(error)
    named = Preprocess.parse(best["preprocess"])
    assert str(named) in error.hint and named.channels == "BGR" and named.mean == (0.406, 0.456, 0.485)
    assert len(error.details["tried"]) == len(variants(named))
    assert error.to_json()["details"]["baseline"]["n"] == 90
    assert any("imagenet" in words for words in told)


def test_a_figure_that_comes_out_is_no_reason_to_stop(images: Path) -> None:
    data = _open(images, "channels=BGR,mean=0.406:0.456:0.485,std=0.225:0.224:0.229")
    assert _judge(data, expect="98%").baseline(_knows_imagenet, data).near_chance is None


def test_a_figure_that_does_not_come_out_stops_the_search(images: Path) -> None:
    data = _open(images, "channels=BGR,mean=0.406:0.456:0.485,std=0.225:0.224:0.229")
    with pytest.raises(LimitError) as caught:
        _judge(data, expect=0.5).baseline(_knows_imagenet, data)
    error = caught.value
    assert error.code == "quality.not-reproduced" and error.exit_code == 1
    assert "better than expected" in str(error) and error.expected == "0.5" and "--expect 1" in error.hint
    half = lambda inputs: {  # noqa: E731
        "y": np.roll(_knows_imagenet(inputs)["y"], int(inputs["x"].sum() * 1e3) % 2, axis=1)
    }
    with pytest.raises(LimitError) as caught:
        _judge(data, expect="99%").baseline(half, data)
    assert caught.value.code == "quality.not-reproduced" and "worse than expected" in str(caught.value)


def test_without_images_there_is_nothing_to_try() -> None:
    data = open_data({"x": np.zeros((20, 3, 8, 8), np.float32), "labels": np.arange(20) % 2}, inputs=SPEC)
    with pytest.raises(LimitError) as caught:
        _judge(data).baseline(lambda inputs: {"y": np.array([[1.0, 0.0]], np.float32)}, data)
    assert caught.value.code == "quality.near-chance" and caught.value.details["tried"] == []
    assert "preprocessing" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "is_fraction", "value"), [("71.9%", True, 0.719), (0.719, True, 0.719), ("5.3", False, 5.3)]
)
def test_an_expected_figure_is_read(text, is_fraction, value) -> None:
    assert parse_expected(text, is_fraction=is_fraction) == pytest.approx(value)


@pytest.mark.parametrize(("text", "is_fraction"), [("71.9", True), ("5%", False), ("many", True), ("nan", False)])
def test_a_figure_that_says_nothing_is_refused(text, is_fraction) -> None:
    with pytest.raises(UsageError) as caught:
        parse_expected(text, is_fraction=is_fraction)
    assert caught.value.code == "usage.bad-option"


def test_expectation_and_groups_need_labels() -> None:
    data = open_data({"x": np.zeros((3, 3, 8, 8), np.float32)}, inputs=SPEC)
    for options in ({"expect": "70%"}, {"groups": ["a", "b", "a"]}):
        with pytest.raises(UsageError) as caught:
            prepare_judge(AgreementJudge(0.99), data, **options)
        assert caught.value.code == "usage.missing-labels"
    prepare_judge(AgreementJudge(0.99), data)


def test_what_changed_is_said_of_the_last_comparison(images: Path) -> None:
    data = _open(images, "channels=BGR,mean=0.406:0.456:0.485,std=0.225:0.224:0.229")
    judge = _judge(data, groups=["left", "right"] * 45)
    assert judge.changes().flips is None
    ruined = lambda inputs: {"y": np.array([[1.0, 0.0, 0.0]], np.float32)}  # noqa: E731
    found = judge.judge(_knows_imagenet, ruined, data)
    assert not found.within and found.hopeless
    changes = judge.changes()
    assert changes.flips is not None and changes.flips["lost"] == 60
    assert changes.slices is not None and changes.slices["by"] == "group" and changes.slices["total"] == 2
    early = judge.judge(_knows_imagenet, ruined, data, early=True)
    assert early.hopeless and early.details["stopped_early"]["outcome"] == "beyond"
    assert "of 90 samples were enough to tell" in early.words
    plan = judge.plan(90)
    assert plan is not None and plan.have == 90 and plan.limit == 0.01

    job = SimpleNamespace(judge=judge)
    assert flips_step(job, SimpleNamespace(gained=True)) == judge.changes().flips
    assert slices_step(job, SimpleNamespace(gained=True)) == judge.changes().slices
    assert flips_step(job, SimpleNamespace(gained=False)) is None  # the baseline against itself says nothing


def test_a_metric_that_gives_no_number_is_found_out_before_anything_is_searched() -> None:
    data = open_data({"x": np.zeros((4, 3, 8, 8), np.float32), "labels": np.arange(4)}, inputs=SPEC)
    scoring = choose_scoring(data, {}, decode="argmax", metric=lambda predictions, targets: float("nan"))
    assert scoring is not None
    with pytest.raises(DataError) as caught:
        MetricJudge(scoring).baseline(lambda inputs: {"y": np.eye(4, dtype=np.float32)[:1]}, data)
    assert caught.value.code == "quality.metric"
