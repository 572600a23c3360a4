"""Each error of quantization: code, message, hint."""

from __future__ import annotations

import numpy as np
import pytest

from strop.errors import DataError, ModelError, UsageError
from strop.model.load import load_model
from strop.quality.contract import Sample
from strop.quality.data import open_data
from strop.quality.split import evenly_spread
from strop.quantize.api import quantize
from strop.quantize.calibrate import calibrate, check_inputs
from strop.quantize.config import QuantizeConfig
from strop.quantize.quantize import quantize_model
from strop.quantize.sanity import check_sanity
from strop.testing import models

MODEL = load_model(models.multilayer_perceptron())
DATA = open_data(np.random.default_rng(0).standard_normal((60, 16), dtype=np.float32), inputs=MODEL.inputs)


def test_a_quantized_model_is_not_quantized_again() -> None:
    with pytest.raises(ModelError) as caught:
        quantize(models.quantized(), np.zeros((4, 8), np.float32))
    assert caught.value.code == "model.already-quantized"
    assert "the model's activations are quantized already" in str(caught.value)
    assert "start from the float model" in caught.value.hint


def test_a_model_without_anything_to_quantize_says_what_it_looked_for() -> None:
    model = load_model(models.branching())
    data = open_data([{"x": np.zeros((1, 4), np.float32), "flag": np.array(True)}], inputs=model.inputs)
    with pytest.raises(ModelError) as caught:
        quantize_model(model, data)
    assert caught.value.code == "quantize.nothing"
    assert "nothing in the model can be quantized" in str(caught.value)
    assert "what is inside branches and loops stays float" in str(caught.value)
    assert "use the model as it is" in caught.value.hint


def test_ignoring_everything_leaves_nothing_and_names_the_rule() -> None:
    with pytest.raises(ModelError) as caught:
        quantize_model(MODEL, DATA, config=QuantizeConfig(ignored_types=("MatMul", "Gemm")))
    assert caught.value.code == "quantize.nothing"
    assert "ignored operator 'MatMul'" in str(caught.value) and "check the ignore rules" in caught.value.hint


def test_calibration_data_with_nan_name_input_and_sample() -> None:
    broken = np.zeros((3, 16), np.float32)
    broken[1, 5] = np.nan
    with pytest.raises(DataError) as caught:
        quantize(models.multilayer_perceptron(), broken)
    assert caught.value.code == "data.not-finite"
    assert "'x'" in str(caught.value) and "1" in str(caught.value)


def test_a_sample_that_is_not_finite_says_how_many_values_are_not() -> None:
    sample = Sample("cat.png", {"x": np.array([1.0, np.nan, np.inf], np.float32)})
    with pytest.raises(DataError) as caught:
        check_inputs(sample, "photos")
    assert caught.value.code == "data.not-finite"
    assert "photos: input 'x' of sample 'cat.png' holds NaN or infinity" in str(caught.value)
    assert "2 of 3 values" in str(caught.value) and "preprocessing" in caught.value.hint


def test_no_samples_cannot_calibrate_nor_check() -> None:
    empty = DATA.subset([])
    with pytest.raises(DataError) as caught:
        calibrate(MODEL, ["x"], empty, memory_bytes=1, compile_model=lambda model: pytest.fail("nothing to run"))
    assert caught.value.code == "data.empty"
    assert "there are no samples to calibrate with" in str(caught.value) and "300" in caught.value.hint
    with pytest.raises(DataError) as caught:
        check_sanity(MODEL, MODEL, empty)
    assert caught.value.code == "data.empty" and "give a few typical inputs" in caught.value.hint


def test_fewer_than_one_sample_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        evenly_spread(DATA, 0)
    assert caught.value.code == "data.empty"
    assert "samples is below 1" in str(caught.value) and "300 is a good number" in caught.value.hint


def test_a_pattern_that_is_no_regular_expression_is_explained() -> None:
    with pytest.raises(UsageError) as caught:
        quantize_model(MODEL, DATA, config=QuantizeConfig(ignored_patterns=("conv(",)))
    assert caught.value.code == "usage.bad-option"
    assert "'conv('" in str(caught.value) and "ignored_names" in caught.value.hint
