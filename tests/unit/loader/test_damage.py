"""No damage, and no crafted file, is loaded in silence or ends in anything but a StropError."""

from __future__ import annotations

import contextlib
import hashlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from strop.errors import BundleError, StropError
from strop.loader import open_bundle
from strop.loader.format import PAGE, Entry, pack_index, parse_index
from strop.runtime.container import write_container

MakeMembers = Callable[..., dict[str, bytes]]
SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_all(path: Path) -> dict[str, bytes]:
    with open_bundle(path) as bundle:
        return {name: bytes(bundle.member(name)) for name in bundle.names}


@SHARED_FOLDER
@given(cut=st.integers(min_value=1, max_value=60000))
@example(cut=1)
@example(cut=22)
def test_a_file_cut_anywhere_is_refused(make_members: MakeMembers, tmp_path: Path, cut: int) -> None:
    data = write_container(tmp_path / "whole.strop", make_members()).read_bytes()
    path = tmp_path / "cut.strop"
    path.write_bytes(data[: max(0, len(data) - cut)])
    with pytest.raises(BundleError) as caught:
        open_bundle(path)
    assert caught.value.code in ("bundle.damaged", "bundle.not-a-bundle")


@settings(SHARED_FOLDER, max_examples=150)
@given(position=st.floats(min_value=0, max_value=1, exclude_max=True), flip=st.integers(min_value=1, max_value=255))
def test_a_changed_byte_never_changes_what_is_loaded(
    make_members: MakeMembers, tmp_path: Path, position: float, flip: int
) -> None:
    members = make_members()
    data = bytearray(write_container(tmp_path / "whole.strop", members).read_bytes())
    place = int(position * len(data))
    data[place] ^= flip
    path = tmp_path / "changed.strop"
    path.write_bytes(data)
    try:
        loaded = read_all(path)
    except BundleError as error:
        assert error.code in ("bundle.damaged", "bundle.not-a-bundle")
    else:
        assert loaded == members
        with open_bundle(path) as bundle, pytest.raises(BundleError):
            bundle.verify()


@settings(SHARED_FOLDER, max_examples=100)
@given(noise=st.binary(max_size=300), place=st.integers(min_value=0, max_value=PAGE + 300))
def test_an_index_written_over_is_refused(make_members: MakeMembers, tmp_path: Path, noise: bytes, place: int) -> None:
    members = make_members()
    data = bytearray(write_container(tmp_path / "whole.strop", members).read_bytes())
    data[place : place + len(noise)] = noise
    path = tmp_path / "changed.strop"
    path.write_bytes(data)
    with contextlib.suppress(BundleError):
        assert read_all(path) == members


@settings(max_examples=300)
@given(
    header=st.tuples(
        st.integers(0, 2), st.integers(0, 1), st.integers(0, 1 << 17), st.integers(0, 3 * PAGE), st.integers(0, 40)
    ),
    rows=st.lists(
        st.tuples(
            st.binary(max_size=8), st.integers(0, 4 * PAGE), st.integers(0, 1 << 64 - 1), st.integers(0, 2 * PAGE)
        ),
        max_size=4,
    ),
)
def test_a_crafted_index_with_a_right_hash_never_points_outside_the_file(
    header: tuple[int, int, int, int, int], rows: list[tuple[bytes, int, int, int]]
) -> None:
    size = 3 * PAGE
    body = bytearray(size)
    struct.pack_into("<8sHHIIIQ", body, 0, b"\x89STROP\r\n", *header, size)
    for number, row in enumerate(rows):
        struct.pack_into("<64sQQI", body, 64 + 128 * number, *row)
    length = header[3]
    if 96 < length <= size:
        body[length - 32 : length] = hashlib.sha256(body[: length - 32]).digest()
    try:
        index = parse_index(memoryview(bytes(body)), "crafted")
    except StropError:
        return
    assert all(index.length <= entry.offset <= entry.end <= size for entry in index.entries)


def entry(name: str, offset: int, length: int, alignment: int = PAGE) -> Entry:
    return Entry(name, offset, length, alignment, bytes(32))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "first member is not the manifest"),
        ([entry("model.onnx", PAGE, 10)], "first member is not the manifest"),
        ([entry("manifest.json", 0, 10)], "outside the file or over another"),
        ([entry("manifest.json", PAGE, 3 * PAGE + 1)], "outside the file or over another"),
        ([entry("manifest.json", PAGE, 1 << 63)], "outside the file or over another"),
        ([entry("manifest.json", PAGE, PAGE + 1), entry("a", 2 * PAGE, 1)], "outside the file or over another"),
        ([entry("manifest.json", 2 * PAGE, 1), entry("a", PAGE, 1)], "outside the file or over another"),
        ([entry("manifest.json", PAGE, 1), entry("manifest.json", 2 * PAGE, 1)], "same name"),
        ([entry("manifest.json", PAGE + 8, 1)], "no multiple of its alignment"),
        ([entry("manifest.json", PAGE, 1, alignment=3)], "no multiple of its alignment"),
        ([entry("manifest.json", PAGE, 1), entry("../etc/passwd", 2 * PAGE, 1)], "name is not allowed"),
        ([entry("manifest.json", PAGE, 1), entry("/etc/passwd", 2 * PAGE, 1)], "name is not allowed"),
        ([entry("manifest.json", PAGE, 1), entry("a\0b", 2 * PAGE, 1)], "name is not allowed"),
    ],
)
def test_a_table_that_lies_is_refused(entries: list[Entry], message: str) -> None:
    data = pack_index(entries, 4 * PAGE).ljust(4 * PAGE, b"\0")
    with pytest.raises(BundleError, match=message) as caught:
        parse_index(memoryview(data), "crafted.strop")
    assert caught.value.code == "bundle.damaged"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("engine"), "manifest lacks 'engine'"),
        (lambda m: m.update(inputs=3), "manifest.inputs is of the wrong type"),
        (lambda m: m.update(native="yes"), "manifest.native is of the wrong type"),
        (lambda m: m["inputs"][0].update(shape=[1.5]), r"manifest.inputs\[\].shape\[\] is of the wrong type"),
        (lambda m: m["hashes"].pop("report.json"), "different members or hashes"),
        (lambda m: m["hashes"].update({"report.json": "0" * 64}), "different members or hashes"),
        (lambda m: m["model"].update(sha256="0" * 64), "does not name the hash of model.onnx"),
        (lambda m: m["tests"]["vectors"][0]["inputs"].update(x="tests/none.npy"), "test array of 'x' is not there"),
        (lambda m: m["tests"]["vectors"][0]["inputs"].pop("x"), "other inputs than the model"),
        (lambda m: m["tests"].update(tolerance=10**400), "tolerance of its self-test is impossible"),
    ],
)
def test_a_manifest_of_the_wrong_form_is_refused(
    make_members: MakeMembers, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    path = write_container(tmp_path / "b.strop", make_members(change))
    with pytest.raises(BundleError, match=message) as caught:
        open_bundle(path)
    assert caught.value.code == "bundle.damaged"


@pytest.mark.parametrize("text", [b"", b"[" * 100_000, b"\xff\xfe", b"1" * 5000, b"[1, 2]", b'{"a": 1'])
def test_a_manifest_that_is_no_json_object_is_refused(make_members: MakeMembers, tmp_path: Path, text: bytes) -> None:
    path = write_container(tmp_path / "b.strop", {**make_members(), "manifest.json": text})
    with pytest.raises(BundleError, match="manifest"):
        open_bundle(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "the array holds Python objects"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }", "8 bytes do not hold float32"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -2), }", "8 bytes do not hold float32"),
        ("__import__('os').system('true')", "malformed"),
    ],
)
def test_an_array_that_is_a_pickle_or_lies_about_its_size_is_refused(
    make_members: MakeMembers, tmp_path: Path, header: str, message: str
) -> None:
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(8)
    path = write_container(tmp_path / "b.strop", make_members(array=data))
    with open_bundle(path) as bundle, pytest.raises(BundleError, match="'array' is no array") as caught:
        bundle.array("array")
    assert message in str(caught.value.got)
