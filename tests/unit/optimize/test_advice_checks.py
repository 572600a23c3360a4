"""Checks: what fails or finds no time is said, never guessed; copies of a model for timing are what they claim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strop.engines.compile import compile_model
from strop.errors import EngineError, LimitError, UsageError
from strop.measure.estimate import Estimate, Speedup, Verdict
from strop.model.half_precision import in_half_precision
from strop.model.load import load_model
from strop.model.weights import with_zeros, zero_share
from strop.optimize.advice import checks
from strop.optimize.advice.advise import checked_goal
from strop.optimize.advice.examination import Examination, inverted
from strop.optimize.advice.prediction import predict_int8
from strop.optimize.advice.situation import Resources, duration
from strop.optimize.budget import Budget
from strop.quantize.coverage import quantization_coverage
from strop.testing.clock import FakeClock
from strop.testing.models import convolution_classifier, lstm, multilayer_perceptron

MODEL = load_model(multilayer_perceptron())
INPUTS = {"x": np.ones((1, 16), np.float32)}


def examination(seconds: float | None = 60.0, clock: Any = None) -> Examination:
    budget = Budget(seconds, clock=clock) if clock else Budget(seconds)
    return Examination(MODEL, Resources("m.onnx"), INPUTS, Path(), budget, lambda event: None)


def test_a_check_that_fails_is_said_and_the_next_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(examined: Examination) -> None:
        raise EngineError("engine.run", "the engine failed to run the model", hint="another engine", got="boom")

    def find(examined: Examination) -> None:
        examined.found["sparse"] = Speedup(Estimate(1, 1, 1, 0.99, 9), Verdict.SAME, 0.03)

    monkeypatch.setattr(checks, "CHECKS", ((("half",), fail), (("sparse",), find)))
    measured = checks.examine(examination())
    assert measured.not_measured == {"half": "the engine failed to run the model (boom)"}
    assert measured.sparse is not None


def test_no_check_begins_when_the_time_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    examined = examination(5.0, clock)
    monkeypatch.setattr(checks, "CHECKS", ((("half",), lambda e: clock.sleep(6.0)), (("sparse", "first"), pytest.fail)))
    measured = checks.examine(examined)
    assert measured.not_measured == dict.fromkeys(("sparse", "first"), "the time for checks was used up")


def test_a_race_that_would_take_too_long_is_not_begun() -> None:
    examined = examination(10.0)
    examined.request_seconds = 2.0
    with pytest.raises(LimitError) as caught:
        examined.race({"a": pytest.fail, "b": pytest.fail})  # type: ignore[dict-item]
    assert caught.value.code == "limit.budget"
    with pytest.raises(LimitError):
        _ = examined.best


def test_an_inverted_speedup_has_its_bounds_turned() -> None:
    turned = inverted(Speedup(Estimate(0.5, 0.4, 0.8, 0.99, 20, "ratio"), Verdict.SLOWER, 0.03))
    assert (turned.ratio.point, turned.ratio.low, turned.ratio.high) == (2.0, 1.25, 2.5)
    assert turned.verdict is Verdict.FASTER


def test_the_prediction_is_amdahls_law() -> None:
    assert predict_int8(1.0, 4.0) == pytest.approx(4.0)
    assert predict_int8(0.0, 4.0) == pytest.approx(1.0)
    assert predict_int8(0.5, 1e9) == pytest.approx(2.0)
    assert predict_int8(1.0, 4.0, busy_share=0.5) == pytest.approx(1 / (0.5 + 0.125))
    assert predict_int8(None, 4.0) is None
    assert predict_int8(0.9, None) is None


def test_zeros_are_counted_and_made() -> None:
    assert zero_share(MODEL) == 0.0
    sparse = with_zeros(MODEL, 0.8)
    assert zero_share(sparse) == pytest.approx(0.8, abs=0.02)
    assert zero_share(MODEL) == 0.0, "the model itself stays"
    assert zero_share(with_zeros(MODEL, 0.0)) == 0.0


@pytest.mark.parametrize("build", [multilayer_perceptron, convolution_classifier])
def test_a_model_in_half_precision_gives_nearly_the_same(build: Any) -> None:
    model = load_model(build())
    half = in_half_precision(model)
    assert {spec.dtype for spec in (*half.inputs, *half.outputs)} == {"float32"}
    assert len(half.to_bytes()) < 0.75 * len(model.to_bytes())
    shape = [1 if not isinstance(size, int) else size for size in model.inputs[0].shape]
    inputs = {model.inputs[0].name: np.random.default_rng(0).normal(size=shape).astype(np.float32)}
    outputs = []
    for form in (model, half):
        compiled = compile_model(form, engine="onnxruntime")
        outputs.append(compiled(inputs)[model.outputs[0].name])
        compiled.close()
    assert np.allclose(*outputs, rtol=2e-2, atol=2e-2)
    assert not np.array_equal(*outputs)


def test_coverage_counts_what_8_bits_would_reach_before_quantizing() -> None:
    found = quantization_coverage(MODEL, INPUTS)
    assert set(found.heavy.values()) <= {"Gemm", "MatMul"}
    assert found.mac_share == pytest.approx(1.0)
    recurrent = quantization_coverage(load_model(lstm()))
    assert "recurrent operators and their state stay float" in recurrent.skipped.values()


def test_times_are_told_in_a_unit_that_suits_them() -> None:
    assert [duration(value) for value in (2.5, 0.0123, 1.5e-5, 3e-7)] == ["2.5 s", "12.3 ms", "15 us", "0.3 us"]


def test_an_unknown_goal_is_refused() -> None:
    assert checked_goal("mixed") == "mixed"
    with pytest.raises(UsageError) as caught:
        checked_goal("speed")
    assert "first-inference" in str(caught.value)
