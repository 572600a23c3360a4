"""Whole models through quantization: valid, close, reproducible, float where they should be; then the zoo."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from strop.engines.contract import Settings
from strop.engines.registry import get_engine
from strop.errors import ModelError, StropError
from strop.model.load import load_model
from strop.model.model import Model
from strop.model.random_inputs import runnable_inputs
from strop.quality.contract import DataSet
from strop.quality.data import open_data
from strop.quantize.config import QuantizeConfig
from strop.quantize.quantize import quantize_model
from strop.quantize.sanity import check_sanity
from strop.testing import models

CONVOLUTIONS = load_model(models.depthwise_network())


def _data(model: Model, count: int = 64) -> DataSet:
    return open_data([runnable_inputs(model, seed=seed) for seed in range(count)], inputs=model.inputs)


@pytest.mark.parametrize(
    "build",
    [
        models.convolution_classifier,
        models.multilayer_perceptron,
        models.depthwise_network,
        models.unfused_batch_norm,
        models.transposed_convolution,
        models.dynamic_width,
        models.lstm,
        models.stateful,
        models.embedding,
        models.initializers_as_inputs,
    ],
)
@pytest.mark.parametrize("every_convolution", [False, True])
def test_tiny_models_stay_close_and_keep_their_inputs_and_outputs(build: object, every_convolution: bool) -> None:
    model = load_model(build())  # type: ignore[operator]
    data = _data(model)
    done = quantize_model(model, data, config=QuantizeConfig(every_convolution=every_convolution))
    _check_valid(model, done.model)
    verdict = check_sanity(model, done.model, data)
    assert verdict.ok, verdict.reason
    assert max(each.relative_l2 for each in verdict.figures) < 0.1


def test_same_model_and_data_give_the_same_bytes() -> None:
    first, second = (quantize_model(CONVOLUTIONS, _data(CONVOLUTIONS)) for _ in range(2))
    assert first.model.to_bytes() == second.model.to_bytes()
    assert first.report.to_json() == second.report.to_json()


def test_exactly_as_many_samples_are_used_as_asked() -> None:
    seen: list[float] = []
    done = quantize_model(CONVOLUTIONS, _data(CONVOLUTIONS), samples=7, on_progress=seen.append)
    assert done.report.samples == 7 and seen[-1] == 1.0 and seen == sorted(seen)
    assert "only 7 samples" in done.report.warnings[0]


def test_little_memory_changes_nothing_but_the_peak() -> None:
    data = _data(CONVOLUTIONS, 10)
    usual = quantize_model(CONVOLUTIONS, data)
    tight = quantize_model(CONVOLUTIONS, data, config=QuantizeConfig(memory_bytes=1))
    assert tight.model.to_bytes() == usual.model.to_bytes()
    assert tight.report.peak_bytes < usual.report.peak_bytes


def test_an_ignored_node_really_stays_float() -> None:
    config = QuantizeConfig(ignored_names=("depthwise", "no such node"))
    done = quantize_model(CONVOLUTIONS, _data(CONVOLUTIONS), config=config)
    made = {output: node for node in done.model.to_proto().graph.node for output in node.output}
    depthwise = next(node for node in done.model.to_proto().graph.node if node.name == "depthwise")
    assert not any(made[name].op_type == "DequantizeLinear" for name in depthwise.input if name in made)
    assert done.report.ignored["ignored name 'depthwise'"] == ("depthwise",)
    assert "ignored name 'no such node' matched no node, so it has no effect" in done.report.warnings
    assert "depthwise" not in done.report.quantized


@pytest.mark.parametrize(
    ("choice", "seven"), [("no", set()), ("first-layer", {"stem"}), ("all", {"stem", "expand", "depthwise", "project"})]
)
def test_weights_use_seven_bits_where_asked(choice: str, seven: set[str]) -> None:
    config = QuantizeConfig(reduce_range=choice)  # type: ignore[arg-type]
    done = quantize_model(CONVOLUTIONS, _data(CONVOLUTIONS, 4), config=config)
    assert set(done.report.seven_bits) == seven
    codes = {
        tensor.name: abs(numpy_helper.to_array(tensor).astype(int)).max()
        for tensor in done.model.to_proto().graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and tensor.name.endswith("_quantized")
    }
    weights = {"stem": "stem", "expand": "expand", "depthwise": "dw", "project": "project"}
    assert {node for node, name in weights.items() if codes[f"{name}_quantized"] <= 63} == seven


def test_first_and_last_layers_can_stay_float() -> None:
    config = QuantizeConfig(first_layer=False, last_layer=False)
    done = quantize_model(CONVOLUTIONS, _data(CONVOLUTIONS, 4), config=config)
    assert set(done.report.quantized) == {"expand", "depthwise"}


def test_a_branch_whose_range_is_set_by_outliers_stays_float_with_its_reason() -> None:
    weights = models.Weights()
    mask = np.zeros((1, 32), np.float32)
    mask[0, 3] = -1e9
    nodes = [
        helper.make_node("MatMul", ["x", weights.add("w", 32, 32)], ["m"], "fine"),
        helper.make_node("Relu", ["m"], ["r"], "relu"),
        helper.make_node("Add", ["r", weights.constant("mask", mask[None])], ["a"], "masked"),
        helper.make_node("MatMul", ["a", weights.add("v", 32, 32)], ["y"], "spoiled"),
    ]
    model = load_model(models.model(nodes, {"x": (1, 4, 32)}, {"y": (1, 4, 32)}, weights))
    done = quantize_model(model, _data(model), config=QuantizeConfig(activations="min-max"))
    assert set(done.report.quantized) == {"fine"}
    assert "has too wide a range for 8 bits" in done.report.kept_float["spoiled"]


def test_a_convolution_of_zeros_keeps_its_bias() -> None:
    weights = models.Weights()
    bias = weights.constant("b", np.array([3.0, -2.0, 0.5, 1000.0], np.float32))
    nodes = [
        helper.make_node("Conv", ["x", weights.constant("w", np.zeros((4, 4, 1, 1), np.float32)), bias], ["y"], "zeros")
    ]
    model = load_model(models.model(nodes, {"x": (1, 4, 3, 3)}, {"y": (1, 4, 3, 3)}, weights))
    data = _data(model, 4)
    done = quantize_model(model, data)
    got = _run("onnxruntime", done.model, next(iter(data)).inputs)["y"]
    assert got[0, :, 0, 0] == pytest.approx([3.0, -2.0, 0.5, 1000.0], rel=1e-3)


def test_the_sanity_gate_catches_a_model_that_was_ruined() -> None:
    model = load_model(models.convolution_classifier())
    ruined = onnx.ModelProto()
    ruined.CopyFrom(model.to_proto())
    tensor = next(each for each in ruined.graph.initializer if each.name == "w1")
    tensor.CopyFrom(numpy_helper.from_array(np.sign(numpy_helper.to_array(tensor)).astype(np.float32) * 9, "w1"))
    verdict = check_sanity(model, model.with_proto(ruined), _data(model))
    assert not verdict.ok and "changed by" in verdict.reason and verdict.samples == 32
    assert check_sanity(model, model, _data(model)).ok


QUICK = ("kws_dscnn", "cifar10_resnet8", "mnist_cnn", "superres_core", "resemblyzer")


@pytest.mark.parametrize("name", QUICK)
def test_small_zoo_models_are_valid_in_every_engine(zoo: Path, name: str) -> None:
    _quantize_and_check(zoo / "models" / f"{name}.onnx")


@pytest.mark.long
def test_every_zoo_model_is_valid_in_every_engine(zoo: Path) -> None:
    paths = sorted((zoo / "models").glob("*.onnx"))
    package = importlib.util.find_spec("rapidocr_onnxruntime")
    if package is not None and package.submodule_search_locations:
        paths += sorted(Path(package.submodule_search_locations[0], "models").glob("*.onnx"))
    refused = [path.stem for path in paths if not _quantize_and_check(path)]
    assert refused == ["silero_vad", "silero_vad_ifless"], "models that are one If keep everything in float"


def _quantize_and_check(path: Path) -> bool:
    model = load_model(path)
    try:
        done = quantize_model(model, _data(model, 3))
    except ModelError as error:
        assert error.code == "quantize.nothing", error
        return False
    _check_valid(model, done.model)
    before, after = done.report.float_weight_bytes, done.report.quantized_weight_bytes
    kinds = Counter(done.report.quantized.values())
    assert kinds.keys() & {"Conv", "Gemm", "MatMul"}
    if before > 2 << 20 and not done.report.kept_float:
        assert after < 0.31 * before, (path.name, after / before)
    return True


def _check_valid(model: Model, quantized: Model) -> None:
    onnx.checker.check_model(quantized.to_proto(), full_check=True)
    assert quantized.inputs == model.inputs and quantized.outputs == model.outputs
    assert quantized.is_quantized
    inputs = runnable_inputs(model)
    for engine in ("onnxruntime", "openvino"):
        if not get_engine(engine).available().available:
            continue
        try:
            expected = _run(engine, model, inputs)
        except StropError:
            continue  # what an engine cannot run in float, it need not run in 8 bits
        got = _run(engine, quantized, inputs)
        assert {name: array.shape for name, array in got.items()} == {n: a.shape for n, a in expected.items()}
        assert all(np.isfinite(got[name]).all() for name in got if np.isfinite(expected[name]).all())


def _run(engine: str, model: Model, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    compiled = get_engine(engine).compile(model, Settings(threads=1))
    try:
        return compiled(inputs)
    finally:
        compiled.close()
