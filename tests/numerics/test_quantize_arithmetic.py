"""The arithmetic of 8 bits: properties of scales, and engines against an integer reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from strop.model.load import load_model
from strop.model.oracle import run_unoptimized
from strop.quality.data import open_data
from strop.quantize.affine import ActivationScale, Range
from strop.quantize.config import QuantizeConfig
from strop.quantize.quantize import quantize_model
from strop.quantize.weights import INT7_LIMIT, quantize_bias, quantize_weights, weight_scales
from strop.testing import models

finite = st.floats(-1e6, 1e6, width=32)


@given(low=finite, high=finite, share=st.floats(0, 1))
def test_quantize_then_dequantize_errs_by_at_most_half_a_scale(low: float, high: float, share: float) -> None:
    scale = ActivationScale.of(Range(min(low, high), max(low, high)))
    inside = scale.representable
    value = np.float32(inside.low + share * inside.width)
    error = abs(float(scale.dequantize(scale.quantize(value))) - float(value))
    assert error <= 0.5 * float(scale.scale) * (1 + 1e-4) + 1e-6 * inside.magnitude


@given(low=finite, high=finite)
def test_zero_is_exact_and_the_range_is_covered_to_half_a_step(low: float, high: float) -> None:
    values = Range(min(low, high), max(low, high))
    scale = ActivationScale.of(values)
    assert 0 <= scale.zero_point <= 255 and scale.scale > 0
    assert float(scale.dequantize(scale.quantize(np.float32(0.0)))) == 0.0
    wanted, got = values.with_zero(), scale.representable
    slack = 0.5001 * float(scale.scale) + 1e-6 * wanted.magnitude
    assert got.low <= wanted.low + slack and got.high >= wanted.high - slack


@given(high=st.floats(2.0**-10, 1e6, width=32))
def test_nothing_above_the_bound_of_a_clip_is_representable(high: float) -> None:
    scale = ActivationScale.of(Range(0.0, high))
    assert scale.zero_point == 0 and scale.scale * np.float32(255) <= np.float32(high)


@given(seed=st.integers(0, 500), axis=st.sampled_from([None, 0, 1]), limit=st.sampled_from([127, 63]))
def test_weights_err_by_at_most_half_their_channels_scale(seed: int, axis: int | None, limit: int) -> None:
    random = np.random.default_rng(seed)
    weights = (random.standard_normal((5, 6, 3)) * random.uniform(0, 10, (5, 6, 1))).astype(np.float32)
    weights[0] = 0
    scale = weight_scales(weights, axis=axis, limit=limit)
    codes = quantize_weights(weights, scale, axis=axis, limit=limit)
    assert codes.dtype == np.int8 and abs(codes.astype(int)).max() == limit
    spread = scale if axis is None else scale.reshape([-1 if index == axis else 1 for index in range(3)])
    assert (abs(codes * spread - weights) <= 0.5 * spread * (1 + 1e-5)).all()


@given(seed=st.integers(0, 500))
def test_biases_survive_channels_without_weights(seed: int) -> None:
    random = np.random.default_rng(seed)
    weights = random.standard_normal((4, 3)).astype(np.float32)
    weights[1], weights[2] = 0.0, 1e-30
    bias = (random.standard_normal(4) * 10.0 ** random.integers(-3, 4)).astype(np.float32)
    input_scale = np.float32(random.uniform(1e-4, 1.0))
    scale = weight_scales(weights, axis=0, bias=bias, input_scale=float(input_scale))
    codes, unit = quantize_bias(bias, input_scale=input_scale, weight_scale=scale)
    assert np.isfinite(unit).all() and (unit > 0).all()
    assert (abs(codes.astype(np.float64) * unit - bias) <= 0.5 * unit + 1e-6 * abs(bias)).all()


def test_seven_bits_keep_pairs_of_products_within_16_bits() -> None:
    assert 2 * 255 * INT7_LIMIT <= np.iinfo(np.int16).max < 2 * 255 * (INT7_LIMIT + 2)


@pytest.mark.parametrize("group", [1, 8])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_convolution_agrees_with_the_integer_reference_within_one_step(group: int, engine: str) -> None:
    from strop.engines.contract import Settings
    from strop.engines.registry import get_engine

    if not get_engine(engine).available().available:
        pytest.skip(get_engine(engine).available().why)
    random = np.random.default_rng(1)
    weights = models.Weights(1)
    nodes = [
        helper.make_node(
            "Conv", ["x", weights.add("w", 8, 8 // group, 3, 3), weights.add("b", 8)], ["c"], "one", group=group
        ),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Conv", ["r", weights.add("v", 4, 8, 1, 1)], ["y"], "two"),
    ]
    model = load_model(models.model(nodes, {"x": (1, 8, 6, 6)}, {"y": (1, 4, 4, 4)}, weights))
    samples = [{"x": random.standard_normal((1, 8, 6, 6), dtype=np.float32)} for _ in range(60)]
    done = quantize_model(model, open_data(samples, inputs=model.inputs), config=QuantizeConfig(reduce_range="no"))
    stored = {tensor.name: tensor for tensor in done.model.to_proto().graph.initializer}
    assert stored["w_quantized"].data_type == 3 and stored["b_quantized"].data_type == 6
    scales = {each.name: each.scale for each in done.report.activations}

    reference = _integer_convolution(samples[0]["x"], weights, scales["x"], scales["r"], group)
    proto = done.model.to_proto()
    del proto.graph.node[[node.name for node in proto.graph.node].index("two")]
    proto.graph.output[0].name = next(node.output[0] for node in proto.graph.node if node.name == "r_DequantizeLinear")
    with_one = done.model.with_proto(proto)
    compiled = get_engine(engine).compile(with_one, Settings(threads=1))
    got = next(iter(compiled({"x": samples[0]["x"]}).values()))
    compiled.close()
    steps = np.rint(got / scales["r"].scale).astype(int) + scales["r"].zero_point
    difference = np.abs(steps - reference)
    assert reference.max() > 100 and difference.max() <= 1 and (difference > 0).mean() < 0.02


def _integer_convolution(
    x: np.ndarray, weights: models.Weights, source: ActivationScale, target: ActivationScale, group: int
) -> np.ndarray:
    """u8 x s8 -> s32 accumulators, bias added in integers, one multiplication, rounding half to even."""
    from onnx import numpy_helper

    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in weights.tensors}
    w, b = arrays["w"], arrays["b"]
    scale = weight_scales(w, axis=0, bias=b, input_scale=float(source.scale))
    codes = quantize_weights(w, scale, axis=0).astype(np.int64)
    bias, _ = quantize_bias(b, input_scale=source.scale, weight_scale=scale)
    centred = source.quantize(x).astype(np.int64) - source.zero_point
    windows = np.lib.stride_tricks.sliding_window_view(centred[0], (3, 3), axis=(1, 2))
    per_group = 8 // group
    sums = np.stack(
        [
            np.einsum("chwij,cij->hw", windows[(o * group // 8) * per_group :][:per_group], codes[o]) + bias[o]
            for o in range(8)
        ]
    )
    multiplier = source.scale * scale / target.scale
    rounded = np.rint(sums.astype(np.float32) * multiplier[:, None, None]).astype(int) + target.zero_point
    return np.clip(rounded, 0, 255)[None]


def test_gemm_with_alpha_beta_and_a_row_bias_is_exact_to_rounding() -> None:
    weights = models.Weights(2)
    inputs = ["x", weights.add("w", 6, 16), weights.constant("b", np.ones((1, 6), np.float32))]
    nodes = [helper.make_node("Gemm", inputs, ["y"], "gemm", transB=1, alpha=0.5, beta=3.0)]
    model = load_model(models.model(nodes, {"x": ("batch", 16)}, {"y": ("batch", 6)}, weights))
    x = np.random.default_rng(0).standard_normal((80, 16), dtype=np.float32)
    done = quantize_model(model, open_data(x, inputs=model.inputs))
    expected = run_unoptimized(model, {"x": x})["y"]
    got = run_unoptimized(done.model, {"x": x})["y"]
    assert np.linalg.norm(expected - got) <= 0.02 * np.linalg.norm(expected)
