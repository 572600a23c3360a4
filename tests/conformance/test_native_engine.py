"""What the engine native does beyond the contract: caches, segments, free sizes, streams, refusals."""

from __future__ import annotations

import gc
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from onnx import TensorProto, helper
from tests.numerics.compiler.transformers import LONGEST, WORDS, encoder

import strop
from strop.compiler.lower import RULES
from strop.engines.compile import compile_model
from strop.engines.contract import CompiledModel, Settings
from strop.engines.native import specialized
from strop.engines.native.engine import NativeEngine
from strop.engines.native.family import Family
from strop.engines.native.program_model import ProgramModel
from strop.engines.registry import get_engine
from strop.errors import EngineError, NotSupportedError, UsageError
from strop.loader import cpu
from strop.machine import machine
from strop.model.load import load_model
from strop.model.model import Model
from strop.testing import models

pytestmark = pytest.mark.skipif(not get_engine("native").available().available, reason="native does not run here")


def native(model: object, **settings: object) -> CompiledModel:
    return get_engine("native").compile(load_model(model), Settings().updated({"threads": 1, **settings}))  # type: ignore[arg-type]


def share(compiled: CompiledModel) -> float:
    found: float = compiled.native_share  # type: ignore[attr-defined]
    return found


def expected(model: object, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    with get_engine("onnxruntime").compile(load_model(model), Settings(threads=1)) as compiled:  # type: ignore[attr-defined, arg-type]
        found: dict[str, np.ndarray] = compiled(inputs)
        return found


def assert_close(got: dict[str, np.ndarray], want: dict[str, np.ndarray], tolerance: float = 1e-5) -> None:
    assert list(got) == list(want)
    for name, array in want.items():
        assert np.linalg.norm(got[name] - array) <= tolerance * np.linalg.norm(array)


def images(count: int = 1, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, 16, 16)).astype(np.float32)


# -- levels


@pytest.mark.parametrize("level", [level for level in cpu.isa_levels() if level != "armv8.2+dotprod"])
def test_every_level_of_this_cpu_gives_the_models_outputs(level: str) -> None:
    model = models.convolution_classifier(1)
    compiled = native(model, isa=level)
    assert compiled.settings["isa"] == level
    assert share(compiled) == 1
    assert_close(compiled(images()), expected(model, {"x": images()}))


def test_a_level_this_cpu_lacks_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        native(models.multilayer_perceptron(), isa="armv8.2+dotprod")
    assert caught.value.code == "usage.bad-option"


def test_no_llvmlite_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    engine = NativeEngine()
    assert engine.available().why == "llvmlite is not installed: pip install llvmlite"
    with pytest.raises(NotSupportedError) as caught:
        engine.load()
    assert caught.value.code == "unsupported.engine-missing"


def test_another_system_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert "x86-64 on Linux, not for riscv64" in NativeEngine().available().why


# -- caches


def test_a_known_file_is_mapped_without_onnx_or_the_compiler(tmp_path: Path) -> None:
    path = load_model(models.convolution_classifier(1)).save(tmp_path / "model.onnx")
    script = (
        "import sys, numpy as np, strop\n"
        "from strop.engines.native import identity\n"
        "identity._SETTLED_NANOSECONDS = -1\n"
        "model = strop.compile(sys.argv[1], engine='native', threads=1, cache=sys.argv[2])\n"
        "print(float(model(np.ones((1, 3, 16, 16), np.float32))['y'].sum()))\n"
        "heavy = ('onnx', 'onnx_ir', 'onnxruntime', 'llvmlite', 'strop.compiler.lower')\n"
        "print(*[name for name in heavy if name in sys.modules])\n"
    )

    def run(file: Path) -> list[str]:
        command = [sys.executable, "-c", script, str(file), str(tmp_path / "cache")]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()

    first, second = run(path), run(path)
    copied = run(Path(shutil.copy(path, tmp_path / "copy.onnx")))
    assert first[0] == second[0] == copied[0]
    assert "llvmlite" in first[1]
    assert second[1] == copied[1] == ""


def test_a_changed_file_is_another_model(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    results = []
    for seed in (1, 2):
        load_model(models.convolution_classifier(1, seed=seed)).save(path)
        with strop.compile(path, engine="native", threads=1, cache=str(tmp_path / "cache")) as compiled:  # type: ignore[attr-defined]
            results.append(compiled(images())["y"])
    assert_close({"y": results[1]}, expected(models.convolution_classifier(1, seed=2), {"x": images()}))
    assert not np.allclose(*results)


def test_an_image_is_made_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = load_model(models.convolution_classifier(1))
    with caplog.at_level(logging.INFO, logger="strop.compiler"):
        first, second = (native(model, cache=str(tmp_path)) for _ in range(2))
    found = [record.message.split()[-1] for record in caplog.records if record.message.startswith("image")]
    assert found == ["miss", "hit"]
    assert np.array_equal(first(images())["y"], second(images())["y"])
    assert first.settings["cache"] == str(tmp_path)
    native(model, cache=str(tmp_path), winograd="off")
    assert len(list((tmp_path / "images").glob("*.image"))) == 2, "another setting is another image"


def test_a_damaged_image_is_made_anew_and_warned_about_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, cache = load_model(models.convolution_classifier(1)).save(tmp_path / "model.onnx"), tmp_path / "cache"
    first = strop.compile(file, engine="native", cache=str(cache))(images())
    (image,) = (cache / "images").glob("*.image")
    data = bytearray(image.read_bytes())
    data[5000] ^= 1
    image.write_bytes(data)
    with caplog.at_level(logging.WARNING, logger="strop.compiler"):
        again = strop.compile(file, engine="native", cache=str(cache))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert share(again) == 1
    assert np.array_equal(again(images())["y"], first["y"])


def test_a_cache_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    model = models.convolution_classifier(1)
    assert_close(native(model, cache=str(tmp_path / "cache"))(images()), expected(model, {"x": images()}))


# -- segments


def with_a_sine(channels: int = 64, size: int = 32, *, opset: int = 17) -> Model:
    """Convolution, Sin, convolution, Sin: what no kernel does lies between and behind what kernels do."""
    weights = models.Weights(0)
    nodes = [
        helper.make_node("Conv", ["x", weights.add("w1", channels, channels, 3, 3)], ["a"], "conv1", pads=[1] * 4),
        helper.make_node("Sin", ["a"], ["b"], "sine1"),
        helper.make_node("Conv", ["b", weights.add("w2", channels, channels, 3, 3)], ["c"], "conv2", pads=[1] * 4),
        helper.make_node("Add", ["c", "a"], ["d"], "add"),
        helper.make_node("Sin", ["d"], ["y"], "sine2"),
    ]
    shape = (1, channels, size, size)
    return load_model(models.model(nodes, {"x": shape}, {"y": shape, "d": shape}, weights, opset=opset))


@pytest.fixture
def no_sine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sin has no kernel, whatever there may be by now."""
    monkeypatch.delitem(RULES, "Sin", raising=False)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_has_no_kernel_runs_in_segments(threads: int, no_sine: None) -> None:
    model = with_a_sine()
    x = np.random.default_rng(0).normal(size=(1, 64, 32, 32)).astype(np.float32)
    with native(model, threads=threads) as compiled:  # type: ignore[attr-defined]
        assert share(compiled) == pytest.approx(3 / 5)
        want = expected(model, {"x": x})
        assert_close(compiled(x), want)
        buffers = {name: np.empty_like(array) for name, array in want.items()}
        compiled.run_into(x, buffers)
        assert_close(buffers, want)
        rows = compiled.profile(x, repeats=2)
        named = {name for row in rows if row.status == "EXECUTED" for name in row.origin}
        assert {"conv1", "sine1", "conv2", "sine2"} <= named


def test_a_model_with_hardly_anything_native_runs_whole_on_onnxruntime(no_sine: None) -> None:
    model = with_a_sine(4, 4)
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 4)).astype(np.float32)
    compiled = native(model)
    assert share(compiled) == 0
    assert_close(compiled(x), expected(model, {"x": x}))


def test_a_mistake_of_the_compiler_costs_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **named: object) -> object:
        raise RuntimeError("a mistake")

    monkeypatch.setattr("strop.compiler.program.compile_program", fail)
    monkeypatch.setattr("strop.compiler.partition.partition", fail)
    model = models.convolution_classifier(1, seed=7)
    with pytest.warns(UserWarning, match="RuntimeError: a mistake"):
        compiled = native(model)
    assert share(compiled) == 0
    assert_close(compiled(images()), expected(model, {"x": images()}))


def test_outputs_that_no_node_makes_are_given_too() -> None:
    weights = models.Weights(0)
    nodes = [helper.make_node("Relu", ["x"], ["y"], "relu"), helper.make_node("Identity", ["x"], ["same"], "same")]
    made = models.model(nodes, {"x": (1, 4)}, {"y": (1, 4), "same": (1, 4)}, weights)
    x = np.array([[1, -2, 3, -4]], np.float32)
    got = native(made)(x)
    assert np.array_equal(got["same"], x)
    assert np.array_equal(got["y"], np.maximum(x, 0))
    assert not np.may_share_memory(got["same"], x)


def test_products_along_more_axes_than_kernels_know_run_elsewhere() -> None:
    node = helper.make_node("MatMul", ["a", "b"], ["y"], "product")
    shapes = {"a": (2, 1, 2, 1, 4, 5), "b": (1, 3, 2, 3, 5, 6)}
    made = models.model([node], shapes, {"y": (2, 3, 2, 3, 4, 6)}, models.Weights(0))
    inputs = {name: np.random.default_rng(0).normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    assert_close(native(made)(inputs), expected(made, inputs))


@pytest.mark.parametrize("which", ["input", "initializer"])
def test_an_output_may_be_an_input_or_an_initializer_itself(which: str) -> None:
    weights = models.Weights(0)
    name = "x" if which == "input" else weights.add("w", 1, 4)
    made = models.model([helper.make_node("Relu", ["x"], ["y"], "relu")], {"x": (1, 4)}, {"y": (1, 4)}, weights)
    made.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4)))
    x = np.array([[1, -2, 3, -4]], np.float32)
    assert_close(native(made)({"x": x}), expected(made, {"x": x}))
    assert not NativeEngine().covers(load_model(made))


def test_quantized_models_run(tmp_path: Path) -> None:
    model = models.quantized()
    x = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    compiled = native(model)
    assert compiled.settings["precision"] == "int8"
    assert_close(compiled(x), expected(model, {"x": x}), tolerance=0.05)


# -- free sizes


def test_free_sizes_are_specialized_when_a_request_brings_them() -> None:
    model = models.convolution_classifier()
    compiled = native(model)
    for count in (1, 3, 1, 2):
        assert_close(compiled(images(count)), expected(model, {"x": images(count)}))
    assert share(compiled) == 1


def batches_made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Returns the batches for which programs are made while so many requests come, of which two may be kept."""
    monkeypatch.setattr(specialized, "LIMIT", 2)
    made: list[int] = []
    real = ProgramModel.__init__

    def noting(self: ProgramModel, image: object, **named: object) -> None:
        real(self, image, **named)  # type: ignore[arg-type]
        made.append(self.inputs[0].shape[0])  # type: ignore[arg-type]

    monkeypatch.setattr(ProgramModel, "__init__", noting)
    model = models.multilayer_perceptron()
    compiled = native(model)
    for count in (1, 2, 3, 4, 5, 3, 1, 1):
        x = np.random.default_rng(count).normal(size=(count, 16)).astype(np.float32)
        assert_close(compiled(x), expected(model, {"x": x}))
    return made


def test_only_so_many_sizes_have_code_of_their_own_and_all_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Family, "image", lambda self, shapes: None)
    assert batches_made(monkeypatch) == [1, 2, 3, 1], "a size that comes once more, when all places are taken"


def test_sizes_that_share_code_and_weights_all_get_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    assert batches_made(monkeypatch) == [1, 2, 3, 4, 5, 3, 1]


@pytest.mark.long
def test_memory_stays_where_it_is_over_a_thousand_lengths() -> None:
    compiled = native(encoder())
    random, process = np.random.default_rng(0), psutil.Process()
    sizes = []
    for number in range(1000):
        shape = (int(random.integers(1, 9)), int(random.integers(1, LONGEST + 1)))
        compiled({"tokens": random.integers(0, WORDS, shape), "kept": np.ones(shape, np.int64)})
        if number % 100 == 99:
            gc.collect()
            sizes.append(process.memory_info().rss)
    assert share(compiled) == 1
    assert max(sizes[5:]) - sizes[2] < 8 << 20, [size >> 20 for size in sizes]


def test_sizes_the_model_cannot_take_are_refused_and_harm_nothing() -> None:
    compiled = native(models.dynamic_width())
    good, bad = np.ones((1, 1, 8, 20), np.float32), np.ones((1, 1, 8, 1), np.float32)
    before = compiled(good)["y"]
    with pytest.raises(EngineError) as caught:
        compiled(bad)
    assert caught.value.code == "engine.run"
    assert np.array_equal(compiled(good)["y"], before)


def test_sizes_that_depend_on_values_are_served() -> None:
    """A Gather whose indices random inputs would put out of range, behind a Reshape to sizes that are an input."""
    weights = models.Weights(0)
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["r"], "reshape"),
        helper.make_node("Gather", ["r", "index"], ["y"], "gather"),
    ]
    made = models.model(
        nodes,
        {"x": ("n", 4), "shape": (2,), "index": ("k",)},
        {"y": (None, None)},
        weights,
        types={"shape": TensorProto.INT64, "index": TensorProto.INT64},
    )
    inputs = {
        "x": np.arange(12, dtype=np.float32).reshape(3, 4),
        "shape": np.array([2, 6]),
        "index": np.array([1]),
    }
    assert np.array_equal(native(made)(inputs)["y"], inputs["x"].reshape(2, 6)[[1]])


# -- threads, streams


@pytest.mark.skipif(machine().cores < 2, reason="one usable core")
def test_the_number_of_threads_changes_no_bit() -> None:
    model = models.convolution_classifier(1)
    one, two = (native(model, threads=threads)(images())["y"] for threads in (1, 2))
    assert np.array_equal(one, two)


def test_throughput_gives_each_thread_a_stream() -> None:
    settings = native(models.convolution_classifier(1), threads=2, objective="throughput").settings
    assert (settings["threads"], settings["streams"]) == (2, 2)


def test_auto_takes_native_only_where_all_of_a_model_is() -> None:
    whole = compile_model(load_model(models.convolution_classifier(1)))
    assert whole.engine == "native"
    assert compile_model(load_model(models.convolution_classifier())).engine == "native"  # its batch is free
    for build in (models.lstm(), models.dynamic_width()):
        assert compile_model(load_model(build)).engine != "native"
