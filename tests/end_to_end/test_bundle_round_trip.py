"""A bundle of a real engine, loaded, tested and run in a fresh process that imports no more than it needs."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import strop
from strop.engines.compile import compile_model
from strop.engines.contract import Settings
from strop.errors import BundleError, NotSupportedError
from strop.loader import open_bundle
from strop.model.load import load_model
from strop.runtime.bundle import write_bundle
from strop.testing.models import convolution_classifier

ENGINES = ["onnxruntime", "reference", "openvino"]
X = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)

IN_A_FRESH_PROCESS = """
import json, sys
import numpy as np
import strop
with strop.load(sys.argv[1]) as model:
    tested = model.self_test()
    outputs = model(dict(np.load(sys.argv[2])))
    model.bundle.verify()
    print(json.dumps({
        "engine": model.engine,
        "threads": model.settings["threads"],
        "tested": tested,
        "y": outputs["y"].tolist(),
        "imported": [name for name in ("onnx", "onnx_ir", "llvmlite", "psutil") if name in sys.modules],
    }))
"""

Pack = Callable[[str], Path]


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    def write(engine: str) -> Path:
        if importlib.util.find_spec(engine) is None and engine != "reference":
            pytest.skip(f"{engine} is not installed")
        model = load_model(convolution_classifier())
        settings = Settings(threads=1)
        with compile_model(model, engine=engine, settings=settings) as compiled:
            outputs = compiled({"x": X})
        return write_bundle(
            tmp_path / f"{engine}.strop",
            model=model,
            engine=engine,
            settings=settings,
            test_vectors=[({"x": X}, outputs)],
            created="2026-01-02T03:04:05+00:00",
            report={"speedup": 2.0},
            preprocess="imagenet",
        )

    return write


def in_a_fresh_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", *map(str, arguments)], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_bundle_gives_the_same_outputs_in_a_fresh_process(tmp_path: Path, pack: Pack, engine: str) -> None:
    path = pack(engine)
    np.savez(tmp_path / "x.npz", x=X)
    done = in_a_fresh_process(IN_A_FRESH_PROCESS, path, tmp_path / "x.npz")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["engine"] == engine
    assert found["threads"] == 1
    assert found["tested"]["y"] < 1e-5
    with open_bundle(path) as bundle:
        np.testing.assert_allclose(found["y"], bundle.array("tests/0/output-0.npy"), rtol=1e-5, atol=1e-6)


def test_loading_does_not_import_onnx(tmp_path: Path, pack: Pack) -> None:
    np.savez(tmp_path / "x.npz", x=X)
    done = in_a_fresh_process(IN_A_FRESH_PROCESS, pack("onnxruntime"), tmp_path / "x.npz")
    assert not {"onnx", "onnx_ir", "llvmlite"} & set(json.loads(done.stdout)["imported"])


def test_opening_a_bundle_needs_numpy_and_the_standard_library_only(pack: Pack) -> None:
    code = """
import sys
from strop.loader import open_bundle
with open_bundle(sys.argv[1]) as bundle:
    bundle.verify()
    bundle.array("tests/0/input-0.npy")
standard = sys.stdlib_module_names | {"strop", "numpy"}
print(sorted({name.partition(".")[0] for name in sys.modules if "__" not in name} - standard))
print(sorted(name for name in sys.modules if name.startswith("strop.") and not name.startswith("strop.loader")))
"""
    bare = in_a_fresh_process("import sys; print(sorted(n for n in sys.modules if '.' not in n and '__' not in n))")
    done = in_a_fresh_process(code, pack("onnxruntime"))
    foreign, own = map(json.loads, done.stdout.replace("'", '"').splitlines())
    # Hooks of the environment (editable installs and the like) are there in every Python process.
    assert set(foreign) <= set(json.loads(bare.stdout.replace("'", '"')))
    assert own == ["strop.errors"]


def test_a_bundle_measured_on_one_engine_runs_on_another_with_fallback(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack("reference")

    def missing(self: object) -> None:
        raise NotSupportedError("unsupported.engine-missing", "it is not installed", hint="install it")

    monkeypatch.setattr("strop.engines.reference.ReferenceEngine.load", missing)
    with pytest.warns(UserWarning, match="running it on onnxruntime instead"):
        model = strop.load(path, fallback=True)
    with model:
        assert model.engine == "onnxruntime"
        assert model.self_test()["y"] < 1e-3


def test_outputs_of_another_model_fail_the_self_test(tmp_path: Path) -> None:
    model = load_model(convolution_classifier(seed=1))
    other = compile_model(load_model(convolution_classifier(seed=2)), engine="onnxruntime")
    path = write_bundle(
        tmp_path / "b.strop",
        model=model,
        engine="onnxruntime",
        settings=Settings(),
        test_vectors=[({"x": X}, other({"x": X}))],
        created="now",
    )
    with strop.load(path) as loaded, pytest.raises(BundleError, match="output 'y' is not what it was"):
        loaded.self_test()


def test_preprocessing_travels_with_the_bundle(pack: Pack) -> None:
    with strop.load(pack("onnxruntime")) as model:
        assert model.preprocess is not None
        image = np.zeros((300, 400, 3), np.uint8)
        assert model.preprocess.apply(image).shape == (3, 224, 224)


def test_a_real_model_travels(tmp_path: Path, zoo: Path) -> None:
    model = load_model(zoo / "models" / "mobilenet_v2.onnx")
    (spec,) = model.inputs
    x = np.random.default_rng(0).normal(size=(1, *spec.shape[1:])).astype(np.float32)
    with compile_model(model, engine="onnxruntime", settings=Settings(threads=2)) as compiled:
        outputs = compiled({spec.name: x})
    path = write_bundle(
        tmp_path / "mobilenet.strop",
        model=model,
        engine="onnxruntime",
        settings=Settings(threads=2),
        test_vectors=[({spec.name: x}, outputs)],
        created="now",
    )
    with strop.load(path) as loaded:
        assert max(loaded.self_test().values()) < 1e-5
