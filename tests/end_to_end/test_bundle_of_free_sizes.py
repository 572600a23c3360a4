"""A bundle of a model with free sizes runs its own code for the sizes it was made for, and its engine for others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import strop
from strop.engines.compile import compile_model
from strop.engines.contract import Settings
from strop.engines.registry import get_engine
from strop.errors import BundleError, InputError, NotSupportedError, UsageError
from strop.loader import cpu, open_bundle
from strop.model.load import load_model
from strop.runtime.bundle import MOST_SHAPES, write_bundle
from strop.runtime.specialized import SpecializedBundle
from strop.testing.models import convolution_classifier, dynamic_width, lstm
from tests.end_to_end.test_native_bundle import changed, in_a_fresh_process, on_an_older_cpu
from tests.numerics.compiler.transformers import encoder

pytestmark = pytest.mark.skipif(not get_engine("native").available().available, reason="native does not run here")

LEVEL = cpu.isa_level()
Arrays = dict[str, np.ndarray]


def images(batch: int) -> Arrays:
    return {"x": np.random.default_rng(batch).normal(size=(batch, 3, 16, 16)).astype(np.float32)}


def tokens(batch: int, length: int) -> Arrays:
    generator = np.random.default_rng(length)
    return {"tokens": generator.integers(0, 11, (batch, length)), "kept": np.ones((batch, length), np.int64)}


def shapes(inputs: Arrays) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in inputs.items()}


def by_onnxruntime(proto: onnx.ModelProto, inputs: Arrays) -> Arrays:
    with compile_model(load_model(proto), engine="onnxruntime") as other:
        return other(inputs)


def pack(path: Path, proto: onnx.ModelProto, first: Arrays, *more: Arrays, **settings: Any) -> Path:
    return write_bundle(
        path,
        model=load_model(proto),
        engine="native",
        settings=Settings().updated({"threads": 1, **settings}),
        test_vectors=[(first, by_onnxruntime(proto, first))],
        created="2026-01-02T03:04:05+00:00",
        shapes=[shapes(each) for each in more],
    )


def pieces(bundle: Path) -> list[dict[str, Any]]:
    with open_bundle(bundle) as opened:
        opened.verify()
        found: list[dict[str, Any]] = opened.manifest["specialized"]
        return found


def assert_same(found: Arrays, expected: Arrays) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return pack(tmp_path / "free.strop", convolution_classifier(), images(1), images(4))


@pytest.fixture
def nothing_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever would compile the model inside fails."""
    monkeypatch.setitem(sys.modules, "strop.runtime.by_engine", None)


@pytest.mark.parametrize("batch", [1, 4])
def test_sizes_it_was_made_for_need_neither_llvm_nor_onnx_nor_an_engine(
    bundle: Path, batch: int, tmp_path: Path
) -> None:
    found = in_a_fresh_process(bundle, images(batch), tmp_path)
    assert found["engine"] == "native"
    assert found["settings"]["isa"] == LEVEL
    assert found["tested"]["y"] < 1e-5
    assert not {"strop.compiler", "strop.passes"}.intersection(found["heavy"])
    outputs = {name: np.array(values, np.float32) for name, values in found["outputs"].items()}
    assert_same(outputs, by_onnxruntime(convolution_classifier(), images(batch)))


def test_other_sizes_are_compiled_when_they_come(bundle: Path) -> None:
    with strop.load(bundle) as model:
        for batch in (1, 3, 4, 3):
            assert_same(model(images(batch)), by_onnxruntime(convolution_classifier(), images(batch)))


def test_the_manifest_keeps_the_free_sizes(bundle: Path) -> None:
    with strop.load(bundle) as model:
        assert [spec.shape for spec in model.inputs] == [("batch", 3, 16, 16)]
        assert model.manifest["native"] is False
        assert model.manifest["needs"]["isa"] == []
    assert [piece["shapes"] for piece in pieces(bundle)] == [{"x": [1, 3, 16, 16]}, {"x": [4, 3, 16, 16]}]


def test_lengths_share_code_and_weights(tmp_path: Path, nothing_compiles: None) -> None:
    several = [tokens(1, 7), tokens(1, 12), tokens(3, 5), tokens(1, 7)]
    path = pack(tmp_path / "lengths.strop", encoder(), *several)
    found = pieces(path)
    assert len(found) == len({piece["plan"] for piece in found}) == 3
    assert len({piece["code"] for piece in found}) == len({piece["weights"] for piece in found}) == 1
    with strop.load(path) as model:
        for inputs in several:
            assert_same(model(inputs), by_onnxruntime(encoder(), inputs))


def test_it_does_all_that_a_compiled_model_does(bundle: Path, nothing_compiles: None) -> None:
    with strop.load(bundle) as model:
        for batch in (1, 4):
            inputs = images(batch)
            expected = model(inputs)["y"]
            assert np.array_equal(model(inputs["x"])["y"], expected)
            assert np.array_equal(model.submit(inputs).result(timeout=60)["y"], expected)
            buffers = {"y": np.empty_like(expected)}
            model.run_into(inputs, buffers)
            assert np.array_equal(buffers["y"], expected)
            assert sum(row.milliseconds for row in model.profile(inputs, repeats=2)) > 0
        with pytest.raises(InputError) as caught:
            model.run_into(images(4), {"y": np.empty((1, 5), np.float32)})
        assert caught.value.code == "output.buffer"
        with pytest.raises(InputError):
            model(np.zeros((1, 3, 16), np.float32))
    with pytest.raises(UsageError) as closed:
        model(images(1))
    assert closed.value.code == "usage.closed"


def test_closing_waits_for_requests_that_run(bundle: Path, nothing_compiles: None) -> None:
    """Calls that race with close either give the result or say that the model was closed."""
    expected = by_onnxruntime(convolution_classifier(), images(4))

    def call(model: strop.runtime.load.LoadedModel) -> int:
        served = 0
        try:
            while served < 100_000:
                assert_same(model(images(4)), expected)
                served += 1
        except UsageError as error:
            assert error.code == "usage.closed"
        return served

    with ThreadPoolExecutor(3) as threads:
        model = strop.load(bundle, threads=2, streams=2)
        calls = [threads.submit(call, model) for _ in range(3)]
        while not all(model.profile(images(4), repeats=1) for _ in range(3)):
            pass
        model.close()
        assert sum(future.result(timeout=60) for future in calls) > 0


def test_many_threads_with_many_sizes(tmp_path: Path, nothing_compiles: None) -> None:
    """More sets of sizes than have memory at once, from more threads than there are streams."""
    proto = encoder()
    inputs = [tokens(1 + length % 2, length) for length in range(3, 15)]
    path = pack(tmp_path / "many.strop", proto, *inputs, threads=2, streams=2)
    assert len(pieces(path)) == len(inputs)
    expected = [by_onnxruntime(proto, each) for each in inputs]
    with strop.load(path) as model, ThreadPoolExecutor(6) as threads:
        order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(inputs)), 10))
        for place, found in zip(order, threads.map(lambda place: model(inputs[place]), order), strict=True):
            assert_same(found, expected[place])


def test_threads_can_be_replaced_and_other_settings_compile_anew(bundle: Path, nothing_compiles: None) -> None:
    with strop.load(bundle) as one, strop.load(bundle, threads=2, streams=2) as two:
        assert (two.settings["threads"], two.settings["streams"]) == (2, 2)
        assert np.array_equal(one(images(1))["y"], two(images(1))["y"])
    with pytest.raises(UsageError):
        strop.load(bundle, threads=0)
    with pytest.raises(ImportError):
        strop.load(bundle, winograd="off")


def test_another_cpu_takes_the_engine(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_an_older_cpu(monkeypatch)
    with strop.load(bundle) as model:
        assert not isinstance(model._compiled, SpecializedBundle)  # it would compile for that CPU


def test_without_a_compiler_other_sizes_are_refused_or_fall_back(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strop.engines.native.engine._why_not", lambda: "llvmlite is not installed")
    with strop.load(bundle) as model:
        assert model(images(1))["y"].shape == (1, 5)
        with pytest.raises(NotSupportedError) as caught:
            model(images(2))
        assert "fallback=True" in caught.value.hint
    with strop.load(bundle, fallback=True) as model, pytest.warns(UserWarning, match="running it on onnxruntime"):
        assert_same(model(images(2)), by_onnxruntime(convolution_classifier(), images(2)))


@pytest.mark.parametrize("proto", [lstm(), dynamic_width()])
def test_what_has_code_is_what_is_native_as_a_whole(tmp_path: Path, proto: onnx.ModelProto) -> None:
    inputs = {"x": np.ones((5, 1, 8) if len(proto.graph.input[0].type.tensor_type.shape.dim) == 3 else (1, 1, 8, 20))}
    inputs = {name: array.astype(np.float32) for name, array in inputs.items()}
    path = pack(tmp_path / "some.strop", proto, inputs)
    with compile_model(load_model(proto), engine="native") as compiled:
        compiled(inputs)
        is_native = compiled.native_share == 1
    assert bool(pieces(path)) == is_native
    with strop.load(path) as model:
        assert_same(model(inputs), by_onnxruntime(proto, inputs))


def test_a_few_sizes_have_code_and_no_more(tmp_path: Path) -> None:
    path = pack(tmp_path / "few.strop", encoder(), *[tokens(1, 3 + n) for n in range(MOST_SHAPES + 8)])
    assert len(pieces(path)) == MOST_SHAPES


Change = Callable[[dict[str, bytes]], object]


def lies(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The bundle with another manifest whose hashes are right."""
    import json

    def change_manifest(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        change(manifest["specialized"][0])
        members["manifest.json"] = json.dumps(manifest).encode()

    return changed(path, change_manifest)


@pytest.mark.parametrize(
    "change",
    [
        lambda piece: piece.update(shapes={"x": [2, 3, 16, 16]}),
        lambda piece: piece.update(shapes={"y": [1, 3, 16, 16]}),
        lambda piece: piece.update(shapes={"x": "1, 3"}),
        lambda piece: piece.update(shapes={"x": [1, None]}),
        lambda piece: piece.update(plan="plan/none"),
        lambda piece: piece.update(code="model.onnx"),
        lambda piece: piece.update(weights="report.json"),
        lambda piece: piece.update(plan=7),
        lambda piece: piece.pop("level"),
        lambda piece: piece.update(plan=piece["code"]),
    ],
)
def test_a_manifest_that_lies_is_damage(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(BundleError) as caught:
        strop.load(lies(bundle, change))
    assert caught.value.code == "bundle.damaged"


def test_a_bundle_of_an_earlier_version_has_no_such_code(bundle: Path) -> None:
    import json

    def forget(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        del manifest["specialized"]
        members["manifest.json"] = json.dumps(manifest).encode()

    with strop.load(changed(bundle, forget)) as model:
        assert model.self_test()["y"] < 1e-4


def test_a_file_replaced_later_changes_nothing(bundle: Path, tmp_path: Path, nothing_compiles: None) -> None:
    other = pack(tmp_path / "other.strop", convolution_classifier(seed=3), images(1), images(4))
    with strop.load(bundle) as model:
        other.replace(bundle)
        assert_same(model(images(4)), by_onnxruntime(convolution_classifier(), images(4)))
