"""What goes into a bundle, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import strop
from strop.engines.contract import Settings
from strop.engines.source import StoredModel
from strop.errors import DataError, InputError, UsageError
from strop.loader import is_fully_native, open_bundle
from strop.model.preprocess import Preprocess
from strop.model.specs import TensorSpec
from strop.runtime.bundle import write_bundle

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_the_manifest_says_what_the_bundle_is_and_needs(pack: Callable[..., Path]) -> None:
    path = pack(report={"speedup": np.float32(2), "bad": float("nan")}, preprocess="imagenet", metadata={"by": "me"})
    with open_bundle(path) as bundle:
        manifest = bundle.manifest
        assert manifest["strop"] == strop.__version__
        assert manifest["created"] == "2026-01-02T03:04:05+00:00"
        assert manifest["engine"] == {
            "name": "openvino",
            "settings": {"threads": 1, "objective": "latency", "device": "CPU", "pinning": True},
        }
        assert manifest["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 3]}]
        assert Preprocess.parse(manifest["preprocess"]) == Preprocess.parse("imagenet")
        assert manifest["metadata"] == {"by": "me"}
        assert manifest["needs"]["engine"] == "openvino"
        assert bundle.report() == {"speedup": 2.0, "bad": None}
        assert bytes(bundle.member("model.onnx")) == b"not really ONNX"
        assert np.array_equal(bundle.array("tests/0/output-0.npy"), X * 2)
        assert not is_fully_native(bundle)
        bundle.verify()


def test_the_same_arguments_give_the_same_bytes(pack: Callable[..., Path]) -> None:
    first = pack(report={"b": 1, "a": 2}).read_bytes()
    assert pack(report={"a": 2, "b": 1}).read_bytes() == first


def test_a_cache_folder_of_this_machine_is_not_shipped(pack: Callable[..., Path]) -> None:
    with open_bundle(pack(settings=Settings(cache="/home/me/cache"))) as bundle:
        assert "cache" not in bundle.manifest["engine"]["settings"]


def test_text_arrays_are_stored_without_pickle(tmp_path: Path) -> None:
    words = np.array(["é", "two"], dtype=object)
    spec = (TensorSpec("words", "object", (2,)),)
    model = StoredModel("words", spec, spec, False, read=lambda: b"ONNX")
    vectors = [({"words": words}, {"words": words})]
    path = write_bundle(
        tmp_path / "w.strop",
        model=model,
        engine="onnxruntime",
        settings=Settings(),
        test_vectors=vectors,
        created="now",
    )
    with open_bundle(path) as bundle:
        assert bundle.array("tests/0/input-0.npy").tolist() == ["é", "two"]


def test_preprocessing_that_cannot_be_read_is_refused_at_once(pack: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="no such preset"):
        pack(preprocess="imagenot")


def test_a_bundle_needs_a_test_vector(pack: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="at least one test vector"):
        pack(test_vectors=[])


@pytest.mark.parametrize(("vector", "kind"), [(({"z": X}, {"y": X}), "inputs"), (({"x": X}, {}), "outputs")])
def test_a_test_vector_of_other_names_is_refused(
    pack: Callable[..., Path], vector: tuple[dict[str, np.ndarray], dict[str, np.ndarray]], kind: str
) -> None:
    with pytest.raises(UsageError, match=f"the {kind} of a test vector"):
        pack(test_vectors=[vector])


def test_a_test_vector_of_another_shape_is_refused(pack: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="wrong shape"):
        pack(test_vectors=[({"x": X[:, :2]}, {"y": X})])
