from __future__ import annotations

import importlib

import numpy as np
import pytest

import strop
from strop.errors import NotSupportedError
from strop.testing.models import convolution_classifier

IMAGES = np.random.default_rng(0).normal(size=(20, 3, 16, 16)).astype(np.float32)


def test_int8_needs_a_quantized_model_or_data_and_says_so() -> None:
    with pytest.raises(NotSupportedError) as caught:
        strop.compile(convolution_classifier(), engine="onnxruntime", precision="int8")
    assert caught.value.code == "unsupported.precision"
    assert "data=" in caught.value.hint


def test_a_float_model_and_data_give_int8() -> None:
    with_data = strop.compile(convolution_classifier(), engine="onnxruntime", precision="int8", data=IMAGES)
    plain = strop.compile(convolution_classifier(), engine="onnxruntime")
    try:
        assert with_data.settings["precision"] == "int8"
        assert plain.settings["precision"] == "f32"
        before, after = (next(iter(compiled(IMAGES[:1]).values())) for compiled in (plain, with_data))
        assert 0 < np.linalg.norm(after - before) < 0.2 * np.linalg.norm(before)
    finally:
        with_data.close()
        plain.close()


def test_packages_of_the_public_names_can_be_called() -> None:
    quantized = strop.quantize(convolution_classifier(), IMAGES, samples=10)
    assert any(node.op_type == "QuantizeLinear" for node in quantized.graph.node)
    importlib.import_module("strop.quantize.quantize")  # must not hide the function
    assert callable(strop.quantize) and callable(strop.optimize)
