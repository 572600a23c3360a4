"""A fully native bundle needs numpy and the standard library: no engine, no compiler, no ONNX."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import strop
from strop.engines.compile import compile_model
from strop.engines.contract import Settings
from strop.engines.native.program_model import ProgramModel
from strop.engines.registry import get_engine
from strop.errors import BundleError, NotSupportedError, UsageError
from strop.loader import cpu, is_fully_native, open_bundle
from strop.loader.manifest import dump_manifest
from strop.model.load import load_model
from strop.runtime.bundle import write_bundle
from strop.runtime.container import write_container
from strop.testing.models import convolution_classifier, lstm

pytestmark = pytest.mark.skipif(not get_engine("native").available().available, reason="native does not run here")

X = np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)

IN_A_FRESH_PROCESS = """
import sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("llvmlite", "onnx", "onnx_ir", "onnxruntime", "openvino"):
            raise ImportError(f"{name} is refused")

sys.meta_path.insert(0, Refused())
import numpy as np
before = set(sys.modules)
import strop
with strop.load(sys.argv[1]) as model:
    more = {name for name in set(sys.modules) - before if not name.startswith("strop")}
    inputs = dict(np.load(sys.argv[2]))
    import json
    print(json.dumps({
        "more": sorted(more),
        "engine": model.engine,
        "settings": dict(model.settings),
        "tested": model.self_test(),
        "heavy": [name for name in ("strop.compiler", "strop.engines.base", "strop.passes") if name in sys.modules],
        "outputs": {name: array.tolist() for name, array in model(inputs).items()},
    }))
"""


def in_a_fresh_process(bundle: Path, inputs: dict[str, np.ndarray], folder: Path) -> dict[str, Any]:
    np.savez(folder / "inputs.npz", **inputs)
    command = [sys.executable, "-c", IN_A_FRESH_PROCESS, str(bundle), str(folder / "inputs.npz")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def pack(path: Path, proto: onnx.ModelProto, inputs: dict[str, np.ndarray], **settings: Any) -> Path:
    model, chosen = load_model(proto), Settings().updated({"threads": 1, **settings})
    with compile_model(model, engine="native", settings=chosen) as compiled:
        outputs = compiled(inputs)
    return write_bundle(
        path,
        model=model,
        engine="native",
        settings=chosen,
        test_vectors=[(inputs, outputs)],
        created="2026-01-02T03:04:05+00:00",
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return pack(tmp_path / "native.strop", convolution_classifier(1), {"x": X})


def test_it_runs_where_neither_llvm_nor_onnx_nor_an_engine_can_be_imported(bundle: Path, tmp_path: Path) -> None:
    found = in_a_fresh_process(bundle, {"x": X}, tmp_path)
    assert found["engine"] == "native"
    assert found["settings"]["isa"] == cpu.isa_level()
    assert found["heavy"] == []
    # Each of them takes longer than reading the bundle.
    slow = {"_hashlib", "dataclasses", "hashlib", "inspect", "json", "logging", "pathlib", "tempfile", "threading"}
    assert not slow.intersection(found["more"])
    assert found["tested"]["y"] < 1e-6
    with compile_model(load_model(convolution_classifier(1)), engine="onnxruntime") as other:
        np.testing.assert_allclose(found["outputs"]["y"], other(X)["y"], rtol=1e-4, atol=1e-5)


def test_it_holds_plan_code_and_weights_and_says_so(bundle: Path) -> None:
    with open_bundle(bundle) as opened:
        level = cpu.isa_level()
        assert {f"plan/{level}", f"code/{level}", f"weights/{level}"} <= set(opened.names)
        assert opened.manifest["native"] is True
        assert opened.manifest["needs"]["isa"] == [level]
        assert is_fully_native(opened)
        opened.verify()


def test_the_same_model_gives_the_same_bytes(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STROP_CACHE_DIR", str(tmp_path / "another"))
    again = pack(tmp_path / "again.strop", convolution_classifier(1), {"x": X})
    assert again.read_bytes() == bundle.read_bytes()


def test_a_loaded_model_does_all_that_a_compiled_model_does(bundle: Path) -> None:
    with strop.load(bundle) as model:
        expected = model(X)["y"]
        assert np.array_equal(model({"x": X})["y"], expected)
        assert np.array_equal(model([X])["y"], expected)
        assert np.array_equal(model.submit(X).result(timeout=60)["y"], expected)
        buffers = {"y": np.empty_like(expected)}
        model.run_into(X, buffers)
        assert np.array_equal(buffers["y"], expected)
        rows = model.profile(X, repeats=2)
        assert sum(row.milliseconds for row in rows) > 0
        assert "conv1" in {name for row in rows for name in row.origin}
        assert [spec.to_json() for spec in model.inputs] == [{"name": "x", "dtype": "float32", "shape": [1, 3, 16, 16]}]
    for call in (lambda: model(X), lambda: model.submit(X), lambda: model.profile(X)):
        with pytest.raises(UsageError) as caught:
            call()
        assert caught.value.code == "usage.closed"


def test_threads_and_streams_can_be_replaced_without_a_compiler(bundle: Path) -> None:
    with strop.load(bundle) as one, strop.load(bundle, threads=2, streams=2) as two:
        assert (two.settings["threads"], two.settings["streams"]) == (2, 2)
        assert np.array_equal(one(X)["y"], two(X)["y"])
    for wrong in ({"threads": 0}, {"streams": 2}):
        with pytest.raises(UsageError) as caught:
            strop.load(bundle, **wrong)  # type: ignore[arg-type]
        assert caught.value.code == "usage.bad-option"


def test_another_setting_compiles_the_model_inside_anew(bundle: Path) -> None:
    with strop.load(bundle, winograd="off") as model:
        assert model.settings["winograd"] == "off"
        assert model.self_test()["y"] < 1e-5


def on_an_older_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "isa_levels", lambda: ("generic",))


def test_another_cpu_refuses_it_and_says_how_to_go_on(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_an_older_cpu(monkeypatch)
    with pytest.raises(NotSupportedError) as caught:
        strop.load(bundle)
    assert caught.value.code == "bundle.needs"
    assert "fallback=True" in caught.value.hint


def test_another_cpu_runs_the_onnx_inside_with_fallback(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_an_older_cpu(monkeypatch)
    with pytest.warns(UserWarning, match="running it on onnxruntime instead"):
        model = strop.load(bundle, fallback=True)
    with model:
        assert model.engine == "onnxruntime"
        assert model.self_test()["y"] < 1e-3


def test_a_bundle_for_an_older_cpu_runs_here(tmp_path: Path) -> None:
    path = pack(tmp_path / "generic.strop", convolution_classifier(1), {"x": X}, isa="generic")
    found = in_a_fresh_process(path, {"x": X}, tmp_path)
    assert found["settings"]["isa"] == "generic"
    assert found["tested"]["y"] < 1e-6


def test_what_is_not_fully_native_loads_through_the_engine(tmp_path: Path) -> None:
    inputs = {"x": np.ones((5, 1, 8), np.float32)}
    path = pack(tmp_path / "lstm.strop", lstm(), inputs)
    with open_bundle(path) as opened:
        assert not is_fully_native(opened)
        assert opened.manifest["needs"]["isa"] == []
    with strop.load(path) as model:
        assert model.engine == "native"
        assert model.self_test()["y"] < 1e-5


Change = Callable[[dict[str, bytes]], object]


def changed(bundle: Path, change: Change) -> Path:
    """The bundle with members changed and every hash made right again: not damage, but a lie."""
    with open_bundle(bundle) as opened:
        members = {name: bytes(opened.member(name)) for name in opened.names}
    change(members)
    manifest = json.loads(members["manifest.json"])
    others = {name: data for name, data in members.items() if name != "manifest.json"}
    manifest["hashes"] = {name: hashlib.sha256(data).hexdigest() for name, data in others.items()}
    return write_container(bundle.with_name("changed.strop"), {"manifest.json": dump_manifest(manifest), **others})


LEVEL = cpu.isa_level()


@pytest.mark.parametrize(
    "change",
    [
        lambda members: members.pop(f"plan/{LEVEL}"),
        lambda members: members.pop(f"weights/{LEVEL}"),
        lambda members: members.update({f"plan/{LEVEL}": b"{}"}),
        lambda members: members.update({f"plan/{LEVEL}": b"\xff"}),
        lambda members: members.update({f"weights/{LEVEL}": b""}),
        lambda members: members.update({f"code/{LEVEL}": members[f"code/{LEVEL}"][:4000]}),
        lambda members: members.update(
            {f"plan/{LEVEL}": members[f"plan/{LEVEL}"].replace(b'["arena",', b'["arena",9999999')}
        ),
    ],
)
def test_members_that_do_not_fit_each_other_are_damage(bundle: Path, change: Change) -> None:
    with pytest.raises(BundleError) as caught:
        strop.load(changed(bundle, change))
    assert caught.value.code == "bundle.damaged"


@pytest.mark.parametrize("member", ["plan", "code", "weights"])
def test_a_changed_byte_is_found(bundle: Path, member: str) -> None:
    with open_bundle(bundle) as opened:
        place = opened.offset(f"{member}/{LEVEL}")
    with bundle.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(BundleError, match="was changed"):
        strop.load(bundle)


def test_a_file_replaced_while_it_is_loaded_is_found(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.strop"
    other.write_bytes(bundle.read_bytes())
    real = ProgramModel.__init__

    def replace_first(self: ProgramModel, *arguments: Any, **named: Any) -> None:
        other.replace(bundle)
        real(self, *arguments, **named)

    monkeypatch.setattr(ProgramModel, "__init__", replace_first)
    with pytest.raises(BundleError, match="was replaced"):
        strop.load(bundle)


@pytest.mark.long
@pytest.mark.parametrize("name", ["mlp", "squeezenet11", "resnet18", "resnet50"])
def test_whole_networks_run_from_their_bundles_alone(tmp_path: Path, name: str) -> None:
    from benchmarks.networks.registry import NETWORKS

    network = NETWORKS[name]
    inputs = network.inputs()
    found = in_a_fresh_process(pack(tmp_path / f"{name}.strop", network.build(), inputs), inputs, tmp_path)
    with compile_model(load_model(network.build()), engine="onnxruntime") as other:
        for output, expected in other(inputs).items():
            distance = np.linalg.norm(np.array(found["outputs"][output], np.float32) - expected)
            assert distance <= 1e-5 * np.linalg.norm(expected)
