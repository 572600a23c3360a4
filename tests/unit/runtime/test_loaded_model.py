"""A bundle is loaded with its own engine and settings, within what this machine has."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strop.engines.contract import CompiledModel, Settings
from strop.engines.source import StoredModel
from strop.errors import BundleError, ModelError, NotSupportedError, StropError, UsageError
from strop.loader import open_bundle
from strop.loader.manifest import dump_manifest
from strop.model.specs import TensorSpec
from strop.runtime.container import write_container
from strop.runtime.load import load, load_bundle
from strop.testing.models import multilayer_perceptron

Pack = Callable[..., Path]
X = np.ones((1, 3), np.float32)
INPUTS = (TensorSpec("x", "float32", ("batch", 3)),)
OUTPUTS = (TensorSpec("y", "float32", ("batch", 3)),)


def test_a_loaded_model_is_a_compiled_model_with_a_manifest(pack: Pack, engines: dict[str, Any]) -> None:
    with load(pack()) as model:
        assert isinstance(model, CompiledModel)
        assert model.engine == "openvino"
        assert model.manifest["model"]["name"] == "tiny"
        assert [spec.describe_shape() for spec in (*model.inputs, *model.outputs)] == ["[batch, 3]", "[batch, 3]"]
        assert np.array_equal(model(X)["y"], X * 2)
        assert np.array_equal(model.submit({"x": X}).result()["y"], X * 2)
        out = np.empty_like(X)
        model.run_into([X], {"y": out})
        assert np.array_equal(out, X * 2)
        assert model.preprocess is None
        assert model.report is None
    with pytest.raises(UsageError):
        model(X)
    with pytest.raises(UsageError):
        model.self_test()


def test_recorded_settings_are_used_and_can_be_overridden(
    pack: Pack, engines: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strop.runtime.by_engine.usable_cores", lambda: 8)
    path = pack(settings=Settings(threads=4, streams=2, objective="throughput", knobs={"pinning": True}))
    load(path).close()
    load(path, threads=3, pinning=False).close()
    assert engines["openvino"].compiled == [
        Settings(threads=4, streams=2, objective="throughput", knobs={"pinning": True}),
        Settings(threads=3, streams=2, objective="throughput", knobs={"pinning": False}),
    ]


def test_recorded_threads_are_cut_to_the_cores_of_this_machine(
    pack: Pack, engines: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strop.runtime.by_engine.usable_cores", lambda: 2)
    load(pack(settings=Settings(threads=64, streams=32))).close()
    assert engines["openvino"].compiled == [Settings(threads=2, streams=2)]


def test_a_cache_folder_named_in_a_bundle_is_not_used(pack: Pack, engines: dict[str, Any]) -> None:
    bundle = open_bundle(pack())
    bundle.manifest["engine"]["settings"]["cache"] = "/somewhere/else"
    load_bundle(bundle).close()
    assert engines["openvino"].compiled[0].cache is None


def test_a_missing_engine_is_refused_and_says_how_to_go_on(pack: Pack, engines: dict[str, Any]) -> None:
    engines["openvino"].installed = False
    with pytest.raises(NotSupportedError, match="needs the engine openvino") as caught:
        load(pack())
    assert caught.value.code == "bundle.needs"
    assert caught.value.got == "openvino is not installed"
    assert "pip install it; or load with fallback=True" in caught.value.hint


@pytest.mark.parametrize("missing", ["engine", "device"])
def test_fallback_runs_on_onnxruntime_with_a_warning(pack: Pack, engines: dict[str, Any], missing: str) -> None:
    engines["openvino"].installed = missing != "engine"
    engines["openvino"].refuses = missing == "device"
    path = pack(settings=Settings(threads=1, device="NPU", knobs={"pinning": True}))
    with (
        pytest.warns(UserWarning, match="running it on onnxruntime instead"),
        load(path, fallback=True) as model,
    ):
        assert model.engine == "onnxruntime"
        assert engines["onnxruntime"].compiled == [Settings(threads=1)]


def test_fallback_changes_nothing_where_the_engine_is_there(pack: Pack, engines: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(pack(), fallback=True).engine == "openvino"


def test_the_self_test_passes_where_outputs_are_the_recorded_ones(pack: Pack, engines: dict[str, Any]) -> None:
    assert load(pack()).self_test() == {"y": 0.0}


def test_the_self_test_fails_where_outputs_differ(pack: Pack, engines: dict[str, Any]) -> None:
    path = pack(test_vectors=[({"x": X}, {"y": X * 2}), ({"x": X}, {"y": X * 2.01})])
    with pytest.raises(BundleError, match="output 'y' is not what it was") as caught:
        load(path).self_test()
    assert caught.value.code == "bundle.self-test"
    assert load(pack(test_vectors=[({"x": X}, {"y": X * 2.01})], tolerance=0.1)).self_test()["y"] < 0.01


def test_a_model_that_reads_other_files_is_refused(tmp_path: Path, pack: Pack, engines: dict[str, Any]) -> None:
    weight = onnx.TensorProto(name="w", dims=[3], data_type=1, data_location=onnx.TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="../../etc/passwd")
    value = [onnx.helper.make_tensor_value_info(name, 1, ["batch", 3]) for name in ("x", "y")]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Mul", ["x", "w"], ["y"])], "g", value[:1], value[1:], [weight]
    )
    content = onnx.helper.make_model(graph).SerializeToString()
    model = StoredModel("evil", INPUTS, OUTPUTS, False, read=lambda: content)
    with pytest.raises(ModelError, match="weights of 'w' cannot be read") as caught:
        load(pack(model=model))
    assert caught.value.code == "model.external-data"


def test_a_model_that_only_holds_the_word_location_loads(pack: Pack, engines: dict[str, Any]) -> None:
    proto = multilayer_perceptron()
    proto.metadata_props.add(key="location", value="Paris")
    model = StoredModel("mlp", INPUTS, OUTPUTS, False, read=proto.SerializeToString)
    assert load(pack(model=model)).self_test() == {"y": 0.0}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_a_crafted_manifest_ends_in_a_clear_error_or_a_working_model(
    tmp_path: Path, pack: Pack, engines: dict[str, Any], data: st.DataObject
) -> None:
    with open_bundle(pack()) as bundle:
        members = {name: bytes(bundle.member(name)) for name in bundle.names}
    manifest = place = json.loads(members["manifest.json"])
    while True:  # walks down to some field, and puts something else there
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(JSON)
    members["manifest.json"] = dump_manifest(manifest)
    path = write_container(tmp_path / "crafted.strop", members)
    with contextlib.suppress(StropError), load(path) as model:
        model.self_test()
