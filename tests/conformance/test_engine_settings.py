"""What a setting does, beyond being read back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from strop.engines.contract import CompiledModel, Settings
from strop.engines.registry import get_engine
from strop.engines.source import StoredModel
from strop.errors import StropError
from strop.machine import machine
from strop.model.load import load_model
from strop.testing import models


def _installed(name: str) -> bool:
    return get_engine(name).available().available


needs_openvino = pytest.mark.skipif(not _installed("openvino"), reason="openvino is not installed")
needs_two_cores = pytest.mark.skipif(machine().cores < 2, reason="one usable core")
FAST_ENGINES = ["onnxruntime", pytest.param("openvino", marks=needs_openvino)]


def _compile(engine: str, model: object, **settings: object) -> CompiledModel:
    return get_engine(engine).compile(load_model(model), Settings().updated({"threads": 1, **settings}))  # type: ignore[arg-type]


def _product(size: int = 256) -> tuple[CompiledModel, np.ndarray, np.ndarray]:
    weights = models.Weights(0)
    weights.add("w", size, size)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "matmul")]
    model = load_model(models.model(nodes, {"x": (4, size)}, {"y": (4, size)}, weights))
    x = np.random.default_rng(1).normal(size=(4, size)).astype(np.float32)
    exact = get_engine("reference").compile(model, Settings())(x.astype(np.float32))["y"]
    return model, x, exact  # type: ignore[return-value]


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize("precision", ["f32", None])
def test_float_models_are_computed_in_float32_where_the_cpu_has_bfloat16_units(
    engine: str, precision: str | None
) -> None:
    model, x, exact = _product()
    compiled = _compile(engine, model, **({"precision": precision} if precision else {}))
    distance = np.linalg.norm(compiled(x)["y"] - exact) / np.linalg.norm(exact)
    assert distance < 1e-5, "bfloat16 would be about 2e-3 off"


def _stored_weights(rows: int = 256) -> tuple[object, np.ndarray, np.ndarray]:
    """A MatMul whose weights are stored in 8 bits, with inputs and the reference's result."""
    random = np.random.default_rng(0)
    weights = models.Weights(0)
    weights.constant("w8", random.integers(-127, 127, (rows, rows)).astype(np.int8))
    weights.constant("scale", random.uniform(0.5e-3, 1.5e-3, rows).astype(np.float32))
    weights.constant("zero", np.zeros(rows, np.int8))
    nodes = [
        helper.make_node("DequantizeLinear", ["w8", "scale", "zero"], ["w"], "weights", axis=1),
        helper.make_node("MatMul", ["x", "w"], ["y"], "matmul"),
    ]
    model = load_model(models.model(nodes, {"x": (4, rows)}, {"y": (4, rows)}, weights))
    x = random.normal(size=(4, rows)).astype(np.float32)
    return model, x, get_engine("reference").compile(model, Settings())(x)["y"]


@pytest.mark.parametrize("engine", FAST_ENGINES)
def test_weights_stored_in_8_bits_do_not_make_activations_8_bit(engine: str) -> None:
    model, x, exact = _stored_weights()
    result = _compile(engine, model, precision="f32")(x)["y"]
    assert np.linalg.norm(result - exact) / np.linalg.norm(exact) < 1e-5


@needs_openvino
def test_dynamic_quantization_is_there_when_asked_for() -> None:
    model, x, exact = _stored_weights()
    result = _compile("openvino", model, dynamic_quantization=32)(x)["y"]
    distance = np.linalg.norm(result - exact) / np.linalg.norm(exact)
    if distance < 1e-5:
        pytest.skip("OpenVINO does not quantize activations on this CPU")
    assert distance < 0.05


@needs_openvino
def test_flushed_denormals_count_as_zero() -> None:
    weights = models.Weights(0)
    weights.constant("two", np.float32(2))
    nodes = [helper.make_node("Mul", ["x", "two"], ["y"], "double")]
    model = models.model(nodes, {"x": (1, 64)}, {"y": (1, 64)}, weights)
    x = np.full((1, 64), np.float32(1e-40))
    for flush in (False, True, False):
        result = _compile("openvino", model, flush_denormals=flush)(x)["y"]
        assert (result > 0).any() != flush


@pytest.mark.parametrize("engine", FAST_ENGINES)
@needs_two_cores
def test_threads_are_counted_over_all_streams(engine: str) -> None:
    for streams in (1, 2):
        settings = _compile(engine, models.multilayer_perceptron(), threads=2, streams=streams).settings
        assert (settings["threads"], settings["streams"]) == (2, streams)


@pytest.mark.parametrize("engine", FAST_ENGINES)
def test_the_default_is_every_usable_core_and_one_stream(engine: str) -> None:
    settings = get_engine(engine).compile(load_model(models.multilayer_perceptron()), Settings()).settings
    assert (settings["threads"], settings["streams"]) == (machine().cores, 1)


@pytest.mark.parametrize("engine", FAST_ENGINES)
def test_more_streams_than_threads_are_refused(engine: str) -> None:
    with pytest.raises(StropError, match="2 streams with 1 thread"):
        _compile(engine, models.multilayer_perceptron(), threads=1, streams=2)


@needs_openvino
@needs_two_cores
def test_the_throughput_objective_has_a_stream_for_more_than_one_request() -> None:
    for engine in ("onnxruntime", "openvino"):
        model = load_model(models.multilayer_perceptron())
        settings = get_engine(engine).compile(model, Settings(objective="throughput", threads=2)).settings
        assert settings["streams"] == 2


@needs_openvino
def test_the_cache_folder_is_filled_and_used(tmp_path: Path) -> None:
    model = load_model(models.convolution_classifier())
    stored = StoredModel.at(model.save(tmp_path / "model.onnx"), like=model)
    x = np.ones((1, 3, 16, 16), np.float32)
    settings = Settings(threads=1, cache=str(tmp_path / "cache"))
    results = [get_engine("openvino").compile(stored, settings)(x)["y"] for _ in range(2)]
    assert np.array_equal(*results)
    (blob,) = (tmp_path / "cache").glob("*.blob")
    assert get_engine("openvino").compile(model, settings).settings["cache"] == str(tmp_path / "cache")
    assert blob.exists()


@needs_openvino
@pytest.mark.skipif(sys.platform != "linux", reason="reads thread affinities from /proc")
@needs_two_cores
def test_pinned_threads_stay_on_one_core() -> None:
    script = (
        "import os, sys, numpy as np\n"
        "from strop.engines.compile import compile\n"
        "from strop.testing import models\n"
        "pin = sys.argv[1] == 'True'\n"
        "compiled = compile(models.convolution_classifier(), engine='openvino', threads=2, cpu_pinning=pin)\n"
        "def cores(thread):\n"
        "    try:\n"
        "        return len(os.sched_getaffinity(int(thread)))\n"
        "    except ProcessLookupError:\n"  # it has just ended
        "        return 0\n"
        "def pinned():\n"
        "    return sum(cores(thread) == 1 for thread in os.listdir('/proc/self/task'))\n"
        "for number in range(2000):\n"  # on a busy machine the second thread may come late
        "    compiled(np.ones((1, 3, 16, 16), np.float32))\n"
        "    if number >= 20 and (not pin or pinned()):\n"
        "        break\n"
        "print(pinned())\n"
    )
    counts = {
        pin: int(subprocess.run([sys.executable, "-c", script, str(pin)], capture_output=True, check=True).stdout)
        for pin in (False, True)
    }
    assert counts[False] == 0
    assert counts[True] > 0


@pytest.mark.parametrize("level", ["disable", "all"])
def test_graph_optimization_decides_what_is_left_of_the_graph(level: str) -> None:
    compiled = _compile("onnxruntime", models.convolution_classifier(), graph_optimization=level)
    rows = compiled.profile(np.ones((1, 3, 16, 16), np.float32), repeats=2)
    gone = {row.kind for row in rows if row.status == "NOT_RUN"}
    assert ("BatchNormalization" in gone) == (level == "all")


@needs_openvino
def test_the_profile_of_openvino_names_the_models_nodes() -> None:
    model = load_model(models.convolution_classifier())
    rows = get_engine("openvino").compile(model, Settings(threads=1)).profile(np.ones((1, 3, 16, 16), np.float32))
    nodes = {node.name for node in model.to_proto().graph.node}
    named = {name for row in rows for name in row.origin}
    assert named == nodes
