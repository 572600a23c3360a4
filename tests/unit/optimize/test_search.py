"""The search with engines of made-up speed: what it keeps, what it drops, and what it hands over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.unit.optimize.world import IMAGES, World, run, statuses

from strop.errors import EngineError, FileError, LimitError, NotSupportedError, UsageError, WorkerError
from strop.optimize import confirm, racing, search
from strop.optimize.api import optimize
from strop.optimize.plan import divide, fit_to_time
from strop.optimize.trial import TrialSpec
from strop.quality.data import open_data
from strop.quality.split import split


def test_the_fastest_accurate_form_is_handed_over(world: World, tmp_path: Path) -> None:
    world.speeds = {"openvino f32, threads 1": 0.0015, "openvino int8, threads 1": 0.001}
    result = run(world, tmp_path)
    assert result.document["label"] == "openvino int8, threads 1"
    assert result.document["gained"]
    assert 1.8 < result.document["speedup"]["point"] < 2.2
    assert statuses(result)["onnxruntime f32, threads 1"] == "dropped"
    assert (tmp_path / "out.strop").read_text() == "openvino int8, threads 1"


def test_a_faster_form_that_loses_accuracy_is_dropped_with_the_figures(world: World, tmp_path: Path) -> None:
    world.speeds = {"openvino f32, threads 1": 0.0015, "openvino int8, threads 1": 0.0005}
    world.wrong = {"openvino int8, threads 1"}
    result = run(world, tmp_path)
    assert result.document["label"] == "openvino f32, threads 1"
    dropped = next(trial for trial in result.document["trials"] if trial["label"] == "openvino int8, threads 1")
    assert dropped["status"] == "dropped"
    assert "limit exceeded" in dropped["reason"]
    assert dropped["accuracy"]["drop"] > 0.05


def test_nothing_gained_hands_back_what_came_in(world: World, tmp_path: Path) -> None:
    result = run(world, tmp_path)
    assert not result.document["gained"]
    assert result.document["speedup"] == {"point": 1.0, "low": 1.0, "high": 1.0, "verdict": "same"}
    assert result.document["engine"] == "onnxruntime"
    assert (tmp_path / "out.strop").exists()


def test_what_does_not_hold_when_confirmed_is_not_handed_over(world: World, tmp_path: Path) -> None:
    world.speeds = {"openvino f32, threads 1": 0.0015, "openvino int8, threads 1": 0.001}
    world.confirmed = {"openvino int8, threads 1": 0.003}
    result = run(world, tmp_path)
    assert result.document["label"] == "openvino f32, threads 1"
    assert result.document["not_confirmed"][0]["label"] == "openvino int8, threads 1"
    assert "slower" in result.document["not_confirmed"][0]["reason"]


def test_an_engine_that_refuses_the_model_is_recorded_and_not_asked_again(world: World, tmp_path: Path) -> None:
    world.refuses = {"openvino"}
    result = run(world, tmp_path)
    assert statuses(result)["openvino f32, threads 1"] == "unsupported"
    assert result.document["engine"] == "onnxruntime"


def test_a_float_engine_that_disagrees_fails_and_is_never_raced(world: World, tmp_path: Path) -> None:
    world.speeds = {"openvino f32, threads 1": 0.0001}
    world.wrong = {"openvino f32, threads 1"}
    result = run(world, tmp_path)
    failed = next(trial for trial in result.document["trials"] if trial["label"] == "openvino f32, threads 1")
    assert failed["status"] == "failed"
    assert failed["speedup"] is None
    assert "other outputs" in failed["reason"]


def test_engines_that_disagree_are_told_apart_by_the_worst_output(world: World) -> None:
    spec = TrialSpec("m", "d", "openvino", "f32", "latency")
    inputs = {"x": IMAGES[:1]}
    world.wrong = {spec.label}
    contender = world.open(spec, Path(), [inputs])
    with pytest.raises(EngineError) as caught:
        racing.check_agreement(contender, [(inputs, world.truth(inputs))])
    assert caught.value.code == "engine.disagrees"
    assert caught.value.where == world.model.outputs[0].name
    assert "relative L2 2" in str(caught.value)
    assert caught.value.hint


def test_a_loss_too_near_the_limit_is_left_to_the_confirmation(world: World, tmp_path: Path) -> None:
    world.speeds = {"openvino int8, threads 1": 0.001}
    shares = divide(len(IMAGES), quantizing=True)
    data = open_data({"x": IMAGES}, inputs=world.model.inputs)
    parts = split(data, calibration=shares.calibration, choosing=shares.choosing, confirmation=shares.confirmation)
    wrong = [next(iter(parts.choosing)), next(iter(parts.confirmation))]
    world.wrong_images = {"openvino int8, threads 1": {sample.inputs["x"].tobytes() for sample in wrong}}
    result = run(world, tmp_path, max_drop=0.02)
    trial = next(trial for trial in result.document["trials"] if trial["label"] == "openvino int8, threads 1")
    assert trial["status"] == "kept"
    assert "the confirmation decides" in trial["reason"]
    # The confirmation has one wrong answer in its 20 samples, 5 points: not handed over.
    assert "limit exceeded" in result.document["not_confirmed"][0]["reason"]
    assert result.document["engine"] == "onnxruntime"


def test_labels_that_are_no_better_than_chance_stop_the_run(world: World, tmp_path: Path) -> None:
    shuffled = [(label + 1) % 5 for label in world.labels]
    with pytest.raises(LimitError) as caught:
        run(world, tmp_path, labels=shuffled)
    assert caught.value.code == "quality.near-chance"
    assert not (tmp_path / "out.strop").exists()


def test_an_interrupt_writes_the_best_so_far(world: World, tmp_path: Path) -> None:
    world.speeds = {"openvino f32, threads 1": 0.0015}
    world.interrupt_at = "onnxruntime int8, threads 1"
    with pytest.raises(KeyboardInterrupt):
        run(world, tmp_path)
    assert (tmp_path / "out.strop").read_text() == "openvino f32, threads 1"


def test_every_worker_is_closed(world: World, tmp_path: Path) -> None:
    world.speeds = {"openvino f32, threads 1": 0.0015}
    run(world, tmp_path)
    assert {f"closed {label}" for label in world.opened} <= set(world.log)


def test_a_budget_that_is_too_small_says_what_would_do(world: World, tmp_path: Path) -> None:
    world.speeds = {"onnxruntime f32": 0.4}
    with pytest.raises(LimitError) as caught:
        run(world, tmp_path, budget="1s")
    assert caught.value.code == "limit.budget"
    assert caught.value.hint.startswith("--budget")


def test_an_older_study_is_kept(world: World, tmp_path: Path) -> None:
    run(world, tmp_path)
    run(world, tmp_path)
    assert (tmp_path / "out.study.db.1").exists()


def test_a_budget_holds_with_a_slow_model(world: World, tmp_path: Path) -> None:
    labels = ["onnxruntime f32", "onnxruntime f32, threads 1", "openvino f32, threads 1"]
    world.speeds = dict.fromkeys([*labels, *(label.replace("f32", "int8") for label in labels)], 0.5)
    run(world, tmp_path, budget="60s")
    assert world.clock.now() <= 66.0
    assert (tmp_path / "out.strop").exists()


@pytest.mark.parametrize("opening", [5.0, 40.0, 500.0])
def test_a_budget_holds_with_an_engine_that_compiles_slowly(world: World, tmp_path: Path, opening: float) -> None:
    world.speeds = {"openvino f32, threads 1": 0.001}
    world.opening = {f"openvino {precision}, threads 1": opening for precision in ("f32", "int8")}
    result = run(world, tmp_path, budget="60s")
    assert world.clock.now() <= 66.0
    tried = next(trial for trial in result.document["trials"] if trial["label"] == "openvino f32, threads 1")
    assert tried["status"] == ("kept" if opening == 5.0 else "failed" if opening == 500.0 else tried["status"])


def test_a_challenger_far_slower_than_the_best_is_not_raced_beyond_the_budget(world: World, tmp_path: Path) -> None:
    world.speeds = {f"openvino {precision}, threads 1": 4.0 for precision in ("f32", "int8")}
    result = run(world, tmp_path, budget="30s")
    assert world.clock.now() <= 33.0
    tried = next(trial for trial in result.document["trials"] if trial["label"] == "openvino f32, threads 1")
    assert "a request takes 4 s" in tried["reason"]


def test_a_budget_holds_when_calibration_takes_long(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quantize_for_ever(*arguments: object, on_progress: Callable[[float], None], **options: object) -> None:
        for done in range(1, 1000):
            world.clock.advance(2.0)
            on_progress(done / 1000)

    monkeypatch.setattr("strop.optimize.int8_forms.quantize_model", quantize_for_ever)
    result = run(world, tmp_path, budget="60s")
    assert world.clock.now() <= 66.0
    assert any("used up" in decision for decision in result.document["decisions"])


def test_a_tight_budget_tries_the_likeliest_first(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cores = SimpleNamespace(cores=8, fingerprint="test", to_json=dict)
    monkeypatch.setattr("strop.optimize.trials.machine", lambda: cores)
    labels = [f"openvino f32, threads {count}" for count in (8, 4, 2, 1)]
    world.opening = dict.fromkeys(["onnxruntime f32", *labels], 1.0)
    result = run(world, tmp_path, budget="14s", engines=["openvino"])
    raced = [trial["speedup"] is not None for trial in result.document["trials"] if trial["label"] in labels]
    assert raced == [True, True, False, False]
    assert world.clock.now() <= 15.4


def test_fewer_samples_come_from_everywhere(world: World) -> None:
    data = open_data({"x": IMAGES}, inputs=world.model.inputs, labels=world.labels)
    keys = [int(sample.key) for sample in fit_to_time(data, 0.2, 8.0)]
    assert keys == list(range(0, 40, 4))


def test_a_full_disk_in_the_search_keeps_the_best_so_far(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.speeds = {"openvino f32, threads 1": 0.0015}

    def full(*arguments: object) -> None:
        raise FileError("file.write", "the study cannot be written", hint="free some space")

    monkeypatch.setattr(search, "int8_forms", full)
    with pytest.raises(FileError):
        run(world, tmp_path)
    assert (tmp_path / "out.strop").read_text() == "openvino f32, threads 1"


def test_a_first_inference_that_fails_does_not_lose_the_bundle(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*arguments: object, **options: object) -> None:
        raise WorkerError("worker.died", "a worker process ended by itself", hint="try another engine")

    monkeypatch.setattr(confirm, "measure_first_inference", die)
    result = run(world, tmp_path)
    assert (tmp_path / "out.strop").exists()
    assert result.document["first_inference_ms"] is None
    assert any("ended by itself" in warning for warning in result.document["warnings"])


def test_a_trial_whose_worker_dies_fails_and_the_search_goes_on(world: World, tmp_path: Path) -> None:
    world.speeds = {"openvino int8, threads 1": 0.001}
    world.crashes = {"openvino f32, threads 1": "openvino f32, threads 1"}
    result = run(world, tmp_path)
    assert statuses(result)["openvino f32, threads 1"] == "failed"
    assert result.document["label"] == "openvino int8, threads 1"


@pytest.mark.parametrize(
    ("trial", "dead"),
    [("openvino f32, threads 1", "onnxruntime f32"), ("openvino int8, threads 1", "openvino f32, threads 1")],
)
def test_a_crash_of_the_baseline_or_the_best_costs_no_trial(
    world: World, tmp_path: Path, trial: str, dead: str
) -> None:
    world.speeds = {"openvino f32, threads 1": 0.0015, "openvino int8, threads 1": 0.001}
    world.crashes = {trial: dead}
    result = run(world, tmp_path)
    assert "failed" not in statuses(result).values()
    assert result.document["label"] == "openvino int8, threads 1"
    assert any(f"{dead} ended by itself" in warning for warning in result.document["warnings"])


def test_a_baseline_that_refuses_the_model_says_what_gains_are_measured_against(world: World, tmp_path: Path) -> None:
    world.refuses = {"onnxruntime"}
    with pytest.raises(NotSupportedError) as caught:
        run(world, tmp_path)
    assert caught.value.code == "unsupported.model"
    assert "the baseline cannot run this model" in str(caught.value)
    assert "measured against onnxruntime" in caught.value.hint


@pytest.mark.parametrize(
    ("engine", "code"), [("nonsense", "usage.unknown-engine"), ("openvino:threads=2", "usage.bad-option")]
)
def test_engines_are_checked_before_anything_runs(world: World, tmp_path: Path, engine: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        run(world, tmp_path, engines=[engine])
    assert caught.value.code == code
    assert not world.opened


def test_nan_in_the_calibration_data_is_a_warning_that_names_the_sample(world: World, tmp_path: Path) -> None:
    shares = divide(len(IMAGES), quantizing=True)
    data = open_data({"x": IMAGES}, inputs=world.model.inputs)
    parts = split(data, calibration=shares.calibration, choosing=shares.choosing, confirmation=shares.confirmation)
    key = next(sample.key for sample in parts.calibration if int(sample.key) >= search.TIMED_SAMPLES)
    images = IMAGES.copy()
    images[int(key)] = np.nan
    options: dict[str, Any] = {"labels": world.labels, "max_drop": 0.05, "engines": ["onnxruntime", "openvino"]}
    result = optimize(world.model, {"x": images}, output=tmp_path / "out.strop", **options)
    assert any("NaN" in warning and key in warning for warning in result.document["warnings"])
    assert not any("int8" in label for label in statuses(result))
