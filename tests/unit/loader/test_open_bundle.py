"""A bundle gives back what was put in, page-aligned, and nothing that was changed."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from strop.errors import BundleError, NotSupportedError, UsageError
from strop.loader import cpu, is_fully_native, open_bundle
from strop.loader.format import PAGE, WIDE_PAGE
from strop.runtime.container import write_container

MakeMembers = Callable[..., dict[str, bytes]]


def test_every_member_comes_back_as_it_was(make_members: MakeMembers, bundle_path: Path) -> None:
    members = make_members()
    with open_bundle(bundle_path) as bundle:
        assert bundle.names == tuple(members)
        assert {name: bytes(bundle.member(name)) for name in bundle.names} == members
        assert bundle.manifest["model"]["name"] == "tiny"
        assert bundle.report() == {"speedup": 2.0}
        bundle.verify()


def test_members_are_aligned_so_that_they_can_be_mapped(make_members: MakeMembers, tmp_path: Path) -> None:
    members = make_members(code__generic=b"\x90" * 5000, weights__generic=b"w" * 70000)
    path = write_container(tmp_path / "b.strop", members)
    with open_bundle(path) as bundle:
        entries = {entry.name: entry for entry in bundle.index.entries}
        assert all(entry.offset % PAGE == 0 for entry in entries.values())
        assert entries["code/generic"].offset % WIDE_PAGE == entries["weights/generic"].offset % WIDE_PAGE == 0
        bundle.verify()


def test_arrays_are_views_of_the_mapping_and_outlive_the_bundle(bundle_path: Path) -> None:
    bundle = open_bundle(bundle_path)
    array = bundle.array("tests/0/input-0.npy")
    bundle.close()
    assert not array.flags.writeable
    assert np.array_equal(array, np.arange(8, dtype=np.float32).reshape(1, 2, 4))
    with pytest.raises(UsageError, match="the bundle was closed"):
        bundle.member("model.onnx")


def test_a_bundle_is_a_zip_archive_as_well(make_members: MakeMembers, bundle_path: Path) -> None:
    with zipfile.ZipFile(bundle_path) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == make_members()


def test_an_index_of_many_members_takes_more_pages(make_members: MakeMembers, tmp_path: Path) -> None:
    members = make_members(**{f"extra__{i}": bytes([i]) for i in range(100)})
    with open_bundle(write_container(tmp_path / "b.strop", members)) as bundle:
        assert bundle.index.length > PAGE
        assert bytes(bundle.member("extra/99")) == bytes([99])
        bundle.verify()


def test_same_members_give_the_same_bytes(make_members: MakeMembers, tmp_path: Path) -> None:
    first = write_container(tmp_path / "a.strop", make_members())
    second = write_container(tmp_path / "b.strop", make_members())
    assert first.read_bytes() == second.read_bytes()


def test_an_empty_member_is_allowed(make_members: MakeMembers, tmp_path: Path) -> None:
    with open_bundle(write_container(tmp_path / "b.strop", make_members(empty=b""))) as bundle:
        assert bytes(bundle.member("empty")) == b""
        bundle.verify()


def test_the_model_is_not_read_before_it_is_asked_for(bundle_path: Path) -> None:
    data = bytearray(bundle_path.read_bytes())
    data[data.index(bytes(range(256)))] ^= 1
    bundle_path.write_bytes(data)
    with open_bundle(bundle_path) as bundle:
        with pytest.raises(BundleError, match="the content of member 'model"):
            bundle.member("model.onnx")
        with pytest.raises(BundleError, match="the content of member 'model"):
            bundle.verify()


def test_a_change_between_the_members_is_found_by_verify(bundle_path: Path) -> None:
    data = bytearray(bundle_path.read_bytes())
    data[-1] ^= 1
    bundle_path.write_bytes(data)
    with open_bundle(bundle_path) as bundle, pytest.raises(BundleError, match="behind the last member"):
        bundle.verify()


def test_the_best_code_this_cpu_runs_is_chosen(
    make_members: MakeMembers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = make_members(
        lambda manifest: manifest.update(native=True), **{"code__x86-64-v3": b"3", "code__x86-64-v4": b"4"}
    )
    with open_bundle(write_container(tmp_path / "b.strop", members)) as bundle:
        monkeypatch.setattr(cpu, "isa_levels", lambda: ("x86-64-v4+vnni", "x86-64-v4", "x86-64-v3", "generic"))
        assert bundle.code_level == "x86-64-v4"
        assert is_fully_native(bundle)
        monkeypatch.setattr(cpu, "isa_levels", lambda: ("generic",))
        assert bundle.code_level is None
        assert not is_fully_native(bundle)


def test_a_bundle_without_code_runs_on_any_cpu(bundle_path: Path) -> None:
    with open_bundle(bundle_path) as bundle:
        bundle.check_cpu()
        assert not is_fully_native(bundle)


def test_code_for_another_cpu_is_refused(
    make_members: MakeMembers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "isa_levels", lambda: ("generic",))
    members = make_members(lambda manifest: manifest["needs"].update(isa=["x86-64-v3"]), **{"code__x86-64-v3": b"3"})
    bundle = open_bundle(write_container(tmp_path / "b.strop", members))
    with bundle, pytest.raises(NotSupportedError, match="no code for this CPU"):
        bundle.check_cpu()
