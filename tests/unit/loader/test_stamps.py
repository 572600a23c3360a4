"""A stamp saves hashing only for the very file that was hashed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from strop.errors import BundleError
from strop.loader import open_bundle, stamps
from strop.machine import cache_directory


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The hashes that were noted as checked, in order."""
    noted: list[bytes] = []
    real = stamps.set_stamp

    def note(status: os.stat_result, sha256: bytes) -> None:
        noted.append(sha256)
        real(status, sha256)

    monkeypatch.setattr(stamps, "set_stamp", note)
    monkeypatch.setattr(stamps, "_SETTLED_NANOSECONDS", -1)  # files of a test are too young for stamps to count
    return noted


def load_model(path: Path) -> None:
    with open_bundle(path) as bundle:
        bundle.member("model.onnx")
        bundle.member("model.onnx")


def test_the_model_is_hashed_at_the_first_load_only(bundle_path: Path, hashed: list[bytes]) -> None:
    load_model(bundle_path)
    load_model(bundle_path)
    assert len(hashed) == 1


def test_verify_trusts_no_stamp(bundle_path: Path, hashed: list[bytes]) -> None:
    load_model(bundle_path)
    with open_bundle(bundle_path) as bundle:
        bundle.verify()
    assert len(hashed) == 2


def test_a_change_in_place_with_its_time_set_back_is_found(bundle_path: Path, hashed: list[bytes]) -> None:
    load_model(bundle_path)
    before = bundle_path.stat()
    data = bytearray(bundle_path.read_bytes())
    data[data.index(bytes(range(256)))] ^= 1
    time.sleep(0.02)  # a time step of the file system
    with bundle_path.open("r+b") as file:
        file.write(data)
    os.utime(bundle_path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(BundleError, match="was changed"):
        load_model(bundle_path)


def test_a_stamp_as_young_as_the_file_does_not_count(bundle_path: Path) -> None:
    status = bundle_path.stat()
    stamps.set_stamp(status, b"hash")
    assert not stamps.is_stamped(status, b"hash")


def test_a_stamp_holds_for_one_file_and_one_hash(bundle_path: Path, hashed: list[bytes]) -> None:
    status = bundle_path.stat()
    stamps.set_stamp(status, b"hash")
    assert stamps.is_stamped(status, b"hash")
    assert not stamps.is_stamped(status, b"other")
    assert not stamps.is_stamped(bundle_path.parent.stat(), b"hash")


def test_without_a_cache_folder_every_load_hashes(
    bundle_path: Path, hashed: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STROP_CACHE_DIR", str(bundle_path / "is-a-file"))
    load_model(bundle_path)
    load_model(bundle_path)
    assert len(hashed) == 2


@pytest.mark.parametrize(
    "environment",
    [
        {"STROP_CACHE_DIR": "/somewhere/strop"},
        {"STROP_CACHE_DIR": "", "XDG_CACHE_HOME": "/somewhere"},
        {"STROP_CACHE_DIR": "", "XDG_CACHE_HOME": "", "HOME": "/somewhere"},
    ],
)
def test_stamps_lie_in_the_cache_folder_of_the_house(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert stamps.cache_directory() == str(cache_directory())


def test_only_so_many_stamps_are_kept_the_youngest(bundle_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STROP_CACHE_DIR", str(bundle_path.parent / "own"))
    monkeypatch.setattr(stamps, "_LIMIT", 10)
    folder = cache_directory() / "stamps"
    folder.mkdir(parents=True)
    (folder / "somebody-elses").touch()
    for number in range(9):
        name = f"{number:032x}" + (".model" if number % 2 else "")
        (folder / name).touch()
        os.utime(folder / name, (number, number))
    status = bundle_path.stat()
    stamps.set_stamp(status, b"tenth")
    assert len(list(folder.iterdir())) == 11
    stamps.set_stamp(status, b"eleventh")
    left = {path.name for path in folder.iterdir()}
    assert "somebody-elses" in left and len(left) == 6
    assert {f"{8:032x}", f"{7:032x}.model"} <= left and f"{5:032x}.model" not in left
