"""Inputs come from files without trust, outputs go to files whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strop.errors import DataError, InputError
from strop.runtime.run import run_bundle, write_npz

X = np.ones((2, 3), np.float32)
Pack = Callable[..., Path]


def test_outputs_are_returned_and_written(tmp_path: Path, pack: Pack, engines: dict[str, Any]) -> None:
    np.savez(tmp_path / "x.npz", x=X)
    outputs = run_bundle(pack(), tmp_path / "x.npz", output=tmp_path / "y.npz")
    assert np.array_equal(outputs["y"], X * 2)
    with np.load(tmp_path / "y.npz", allow_pickle=False) as written:
        assert written.files == ["y"]
        assert np.array_equal(written["y"], X * 2)


def test_inputs_may_be_arrays_or_a_single_array_file(tmp_path: Path, pack: Pack, engines: dict[str, Any]) -> None:
    np.save(tmp_path / "x.npy", X)
    for inputs in ({"x": X}, tmp_path / "x.npy"):
        assert np.array_equal(run_bundle(pack(), inputs)["y"], X * 2)


def test_any_output_name_can_be_written(tmp_path: Path) -> None:
    arrays = {"file": X, "a/b:0": np.int64(3)}
    first = write_npz(tmp_path / "a.npz", arrays).read_bytes()
    assert write_npz(tmp_path / "b.npz", arrays).read_bytes() == first
    with np.load(tmp_path / "a.npz") as written:
        assert {name: written[name].tolist() for name in written.files} == {"file": X.tolist(), "a/b:0": 3}


@pytest.mark.parametrize(
    ("arrays", "code"),
    [
        ({"z": X}, "input.unknown"),
        ({}, "input.missing"),
        ({"x": X.astype(np.float64)}, "input.dtype"),
        ({"x": X[0]}, "input.rank"),
        ({"x": X[:, :2]}, "input.shape"),
    ],
)
def test_inputs_that_do_not_fit_are_named(
    tmp_path: Path, pack: Pack, engines: dict[str, Any], arrays: dict[str, np.ndarray], code: str
) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(InputError) as caught:
        run_bundle(pack(), tmp_path / "x.npz", output=tmp_path / "y.npz")
    assert caught.value.code == code
    assert not (tmp_path / "y.npz").exists()


@pytest.mark.parametrize("content", [b"", b"x,y\n1,2\n", b"PK\3\4 and no more", b"\x93NUMPY\1\0\xff\xff{"])
def test_a_file_that_holds_no_arrays_is_refused(
    tmp_path: Path, pack: Pack, engines: dict[str, Any], content: bytes
) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError) as caught:
        run_bundle(pack(), tmp_path / "x.npz")
    assert caught.value.code == "data.format"


def test_objects_are_never_unpickled(tmp_path: Path, pack: Pack, engines: dict[str, Any]) -> None:
    np.savez(tmp_path / "x.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError) as caught:
        run_bundle(pack(), tmp_path / "x.npz")
    assert caught.value.code == "data.format"
    assert "np.savez" in caught.value.hint


def test_a_missing_file_of_inputs_is_named(tmp_path: Path, pack: Pack, engines: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        run_bundle(pack(), tmp_path / "none.npz")
    assert caught.value.code == "data.missing"
