"""Each error of loader and runtime: its code, message and hint."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from strop.engines.contract import Settings
from strop.engines.source import StoredModel
from strop.errors import BundleError, DataError, FileError, NotSupportedError, StropError, UsageError
from strop.loader import open_bundle
from strop.model.specs import TensorSpec
from strop.runtime.bundle import write_bundle
from strop.runtime.load import load
from strop.runtime.run import read_inputs
from strop.runtime.self_test import run_self_test
from strop.runtime.whole_file import write_whole

SPECS = (TensorSpec("x", "float32", (1,)),)
X = np.ones(1, np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    model = StoredModel("tiny", SPECS, SPECS, False, read=lambda: b"ONNX")
    return write_bundle(
        tmp_path / "tiny.strop",
        model=model,
        engine="onnxruntime",
        settings=Settings(),
        test_vectors=[({"x": X}, {"x": X})],
        created="now",
    )


def check(error: StropError, code: str, message: str, hint: str) -> None:
    assert error.code == code
    assert message in str(error)
    assert hint in error.hint


def test_bundle_not_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08\x12\x07pytorch" * 1000)
    with pytest.raises(BundleError) as caught:
        open_bundle(tmp_path / "model.onnx")
    check(caught.value, "bundle.not-a-bundle", "is not a Strop bundle", "an ONNX model is run with strop.compile")
    assert str(tmp_path / "model.onnx") in str(caught.value)
    assert "begins with b'\\x08" in str(caught.value)


@pytest.mark.parametrize("kind", ["empty", "folder", "pipe"])
def test_bundle_not_a_bundle_for_what_is_no_file(tmp_path: Path, kind: str) -> None:
    place = tmp_path / kind
    if kind == "empty":
        place.write_bytes(b"")
    elif kind == "folder":
        place.mkdir()
    elif hasattr(os, "mkfifo"):
        os.mkfifo(place)
    else:
        pytest.skip("this system has no named pipes")
    with pytest.raises(BundleError) as caught:
        open_bundle(place)
    check(caught.value, "bundle.not-a-bundle", "not a Strop bundle", "give the .strop file")


def test_bundle_damaged_by_a_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BundleError) as caught:
        open_bundle(path)
    check(caught.value, "bundle.damaged", "the file has the wrong length", "copy or download it again")
    assert caught.value.got is not None and caught.value.expected is not None


def test_bundle_damaged_by_a_changed_model(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"model.onnxONNX", b"model.onnxONNY"))
    with pytest.raises(BundleError) as caught:
        load(path)
    check(caught.value, "bundle.damaged", "the content of member 'model.onnx' was changed", "copy or download it again")


def test_bundle_version(path: Path) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into("<HH", data, 8, 7, 5)
    data[4096 - 32 : 4096] = sha256(data[: 4096 - 32]).digest()
    path.write_bytes(data)
    with pytest.raises(BundleError) as caught:
        open_bundle(path)
    check(caught.value, "bundle.version", "a newer version of Strop", "pip install --upgrade strop")
    assert caught.value.got == "format 7, for readers from version 5 on"


def test_a_newer_format_that_old_readers_understand_is_read(path: Path) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into("<HH", data, 8, 7, 1)
    data[4096 - 32 : 4096] = sha256(data[: 4096 - 32]).digest()
    path.write_bytes(data)
    with open_bundle(path) as bundle:
        assert bundle.index.format_version == 7


def test_bundle_needs_an_engine(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> None:
        raise UsageError("usage.unknown-engine", f"no engine is called {name!r}", hint="install it")

    monkeypatch.setattr("strop.runtime.by_engine.get_engine", none)
    with pytest.raises(NotSupportedError) as caught:
        load(path)
    check(caught.value, "bundle.needs", "the bundle needs the engine onnxruntime", "fallback=True")
    assert caught.value.got == "no engine is called 'onnxruntime'"
    assert caught.value.exit_code == 3


def test_bundle_needs_a_cpu(path: Path) -> None:
    with open_bundle(path) as bundle:
        bundle.manifest["needs"]["isa"] = ["x86-64-v9"]
        with pytest.raises(NotSupportedError) as caught:
            bundle.check_cpu()
    check(caught.value, "bundle.needs", "no code for this CPU", "optimize on this CPU")
    assert caught.value.expected == "x86-64-v9"


def test_bundle_self_test(path: Path) -> None:
    with open_bundle(path) as bundle, pytest.raises(BundleError) as caught:
        run_self_test(bundle, lambda inputs: {"x": inputs["x"] + 1}, SPECS)
    check(caught.value, "bundle.self-test", "output 'x' is not what it was", "install the engine it was made with")
    assert caught.value.got == "a distance of 1"
    assert caught.value.expected == "at most 0.001"


def test_usage_closed(path: Path) -> None:
    bundle = open_bundle(path)
    bundle.close()
    with pytest.raises(UsageError) as caught:
        bundle.verify()
    check(caught.value, "usage.closed", "the bundle was closed", "open it again")


def test_usage_bad_option_for_a_member_that_is_not_there(path: Path) -> None:
    with open_bundle(path) as bundle, pytest.raises(UsageError) as caught:
        bundle.member("code/generic")
    check(caught.value, "usage.bad-option", "no member 'code/generic'", "ask for one of these")
    assert "model.onnx" in str(caught.value)


def test_file_read(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        open_bundle(tmp_path / "none.strop")
    check(caught.value, "file.read", "the bundle could not be read", "check the path")
    assert caught.value.got == "No such file or directory"


def test_file_write(tmp_path: Path) -> None:
    def full() -> Iterator[bytes]:
        raise OSError(errno.ENOSPC, "No space left on device")
        yield b""

    with pytest.raises(FileError) as caught:
        write_whole(tmp_path / "a.strop", full())
    check(caught.value, "file.write", "what was there before is unchanged", "free some space")


def test_data_format(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_text("1, 2, 3")
    with pytest.raises(DataError) as caught:
        read_inputs(tmp_path / "x.npz", SPECS)
    check(caught.value, "data.format", "the file of inputs cannot be read", "x=x)")


def test_data_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_inputs(tmp_path / "x.npz", SPECS)
    check(caught.value, "data.missing", "the file of inputs is not there", "check the path")
