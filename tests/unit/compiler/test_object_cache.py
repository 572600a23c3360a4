"""A cache helps where it can and never makes anything fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from strop.compiler import cache_folder
from strop.compiler.cache_folder import clear_cache, counts, describe_cache, limit_bytes, trim
from strop.compiler.object_cache import ObjectCache
from strop.errors import UsageError

KEY, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STROP_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def cache(root: Path) -> ObjectCache:
    return ObjectCache()


def entry(cache: ObjectCache, key: str = KEY) -> Path:
    return cache.folder / f"{key}.object"


def test_what_was_put_is_got(cache: ObjectCache, root: Path) -> None:
    assert cache.get(KEY) is None
    cache.put(KEY, b"code")
    assert (cache.get(KEY), cache.get(OTHER)) == (b"code", None)
    assert cache.folder == root / "objects"
    assert [path.name for path in cache.folder.iterdir()] == [f"{KEY}.object"]
    assert entry(cache).stat().st_mode & 0o077 == 0
    cache.put(KEY, b"newer")
    assert ObjectCache().get(KEY) == b"newer"


def test_every_changed_bit_and_every_lost_byte_is_noticed(cache: ObjectCache, caplog: pytest.LogCaptureFixture) -> None:
    cache.put(KEY, b"some machine code")
    whole = entry(cache).read_bytes()
    damaged = [whole[:i] + bytes([whole[i] ^ 4]) + whole[i + 1 :] for i in range(len(whole))]
    damaged += [whole[:length] for length in range(len(whole))] + [whole + b"x"]
    for data in damaged:
        caplog.clear()
        entry(cache).write_bytes(data)
        assert cache.get(KEY) is None
        assert "ignored a cached object that is damaged or of another version" in caplog.text
    entry(cache).write_bytes(whole)
    assert cache.get(KEY) == b"some machine code"


def test_an_entry_under_another_name_is_not_taken(cache: ObjectCache) -> None:
    cache.put(KEY, b"code")
    entry(cache).rename(entry(cache, OTHER))
    assert cache.get(OTHER) is None


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs owners of files")
def test_what_others_may_have_written_is_not_executed(
    cache: ObjectCache, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    cache.put(KEY, b"code")
    entry(cache).chmod(0o666)
    assert cache.get(KEY) is None
    assert "others may have written it" in caplog.text
    entry(cache).chmod(0o600)
    assert cache.get(KEY) == b"code"
    entry(cache).rename(tmp_path / "elsewhere")
    entry(cache).symlink_to(tmp_path / "elsewhere")
    assert cache.get(KEY) is None
    entry(cache).unlink()
    os.mkfifo(entry(cache))
    assert cache.get(KEY) is None
    assert "it is no plain file" in caplog.text


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")
def test_a_file_of_another_user_is_not_executed(cache: ObjectCache, caplog: pytest.LogCaptureFixture) -> None:
    cache.put(KEY, b"code")
    os.chown(entry(cache), 12345, -1)
    assert cache.get(KEY) is None
    assert "others may have written it" in caplog.text


def test_a_folder_that_cannot_be_written_is_mentioned_once(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    root.write_text("a file where the folder should be")
    cache = ObjectCache()
    for key in (KEY, OTHER):
        assert cache.get(key) is None
        cache.put(key, b"code")
    cache.finish(hits=0, misses=2)
    assert [record.levelname for record in caplog.records if "not cached" in record.message] == ["WARNING"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_still_read(cache: ObjectCache) -> None:
    cache.put(KEY, b"code")
    cache.folder.chmod(0o500)
    try:
        cache.put(OTHER, b"code")
        assert (cache.get(KEY), cache.get(OTHER)) == (b"code", None)
    finally:
        cache.folder.chmod(0o700)


def test_a_full_disk_leaves_nothing_half(cache: ObjectCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    cache.put(KEY, b"code")
    assert list(cache.folder.iterdir()) == []


def test_two_processes_use_it_at_once(root: Path) -> None:
    script = """
import hashlib
from strop.compiler.object_cache import ObjectCache
cache = ObjectCache()
for turn in range(30):
    for number in range(10):
        key = f"{number:064x}"
        data = hashlib.sha256(key.encode()).digest() * 500
        got = cache.get(key)
        assert got is None or got == data, (turn, number)
        cache.put(key, data)
        assert cache.get(key) == data
    cache.finish(hits=10, misses=10)
"""
    running = [subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE) for _ in range(2)]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, b"")
    assert counts(root / "objects") == (600, 600)
    assert describe_cache()["kinds"][1]["entries"] == 10


def test_what_was_not_used_for_longest_goes_first(
    cache: ObjectCache, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STROP_CACHE_SIZE", "10K")
    keys = [f"{number:064x}" for number in range(8)]
    for age, key in enumerate(keys):
        cache.put(key, bytes(2000))
        os.utime(entry(cache, key), (1e9 + age, 1e9 + age))
    assert cache.get(keys[0]) is not None  # used now, so no longer the oldest
    trim(root)
    assert [key for key in keys if entry(cache, key).exists()] == [keys[0], *keys[-3:]]


def test_a_cache_within_its_limit_stays(cache: ObjectCache, root: Path) -> None:
    cache.put(KEY, bytes(2000))
    trim(root)
    assert cache.get(KEY) is not None


def test_only_entries_are_evicted_and_cleared(cache: ObjectCache, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STROP_CACHE_SIZE", "0")
    cache.put(KEY, bytes(2000))
    (cache.folder / "notes.txt").write_text("mine")
    (root / "else").mkdir()
    (root / "else" / f"{KEY}.object").write_text("mine, too")
    (cache.folder / "tmpabc.part").write_bytes(b"half")
    trim(root)
    assert not entry(cache).exists()
    assert (cache.folder / "tmpabc.part").exists()  # somebody may be writing it
    cache.put(KEY, bytes(2000))
    cache.finish(hits=3, misses=0)
    assert clear_cache() == {"entries": 1, "bytes": entry_size(2000)}
    assert sorted(path.name for path in cache.folder.iterdir()) == ["notes.txt"]
    assert (root / "else" / f"{KEY}.object").exists()
    assert clear_cache() == {"entries": 0, "bytes": 0}


def entry_size(payload: int) -> int:
    return payload + len(b"strop object 1\n") + 32


def test_parts_of_interrupted_writers_go_after_an_hour(cache: ObjectCache, root: Path) -> None:
    cache.put(KEY, b"code")
    part = cache.folder / "tmpabc.part"
    part.write_bytes(b"half")
    os.utime(part, (1e9, 1e9))
    trim(root)
    assert not part.exists()


def test_a_cache_just_found_half_empty_is_not_looked_through_again(
    cache: ObjectCache, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.put(KEY, bytes(2000))
    trim(root)
    old = cache.folder / "tmpabc.part"
    old.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    trim(root)
    assert old.exists()
    monkeypatch.setenv("STROP_CACHE_SIZE", "3K")  # more than half full by that
    trim(root)
    assert not old.exists() and entry(cache).exists()
    monkeypatch.setenv("STROP_CACHE_SIZE", "1K")
    trim(root)
    assert not entry(cache).exists()


def test_what_was_added_since_the_last_look_counts(cache: ObjectCache, root: Path) -> None:
    cache.put(KEY, bytes(2000))
    trim(root)
    old = cache.folder / "tmpabc.part"
    old.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    trim(root, added=300 << 20)
    assert old.exists()
    trim(root, added=300 << 20)  # more than half of 1 GiB together
    assert not old.exists()


def test_a_look_at_the_cache_is_good_for_a_minute(cache: ObjectCache, root: Path) -> None:
    cache.put(KEY, bytes(2000))
    trim(root)
    old = cache.folder / "tmpabc.part"
    old.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    os.utime(root / "looked", (1e9, 1e9))
    trim(root)
    assert not old.exists()
    clear_cache()
    assert not (root / "looked").exists()


def test_the_document_says_what_is_there(cache: ObjectCache, root: Path) -> None:
    assert describe_cache()["bytes"] == 0
    cache.put(KEY, bytes(1000))
    cache.finish(hits=2, misses=1)
    document = describe_cache()
    assert (document["folder"], document["bytes"]) == (str(root), entry_size(1000))
    assert document["kinds"][1] == {
        "kind": "objects",
        "entries": 1,
        "bytes": entry_size(1000),
        "hits": 2,
        "misses": 1,
    }


def test_the_counts_are_summed_up_when_they_grow_long(cache: ObjectCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_folder, "_COUNTS_BYTES", 20)
    cache.put(KEY, b"code")
    for _ in range(40):
        cache.finish(hits=1, misses=0)
    assert counts(cache.folder) == (40, 0)
    assert (cache.folder / "counts").stat().st_size < 30


@pytest.mark.parametrize(
    ("text", "size"), [("", 1 << 30), ("5000", 5000), ("512M", 512 << 20), ("2 GiB", 2 << 30), ("64k", 64 << 10)]
)
def test_the_limit_is_read_from_the_environment(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STROP_CACHE_SIZE", text)
    assert limit_bytes() == size


@pytest.mark.parametrize("text", ["much", "-1", "1.5G", "2T", "9" * 5000])
def test_a_limit_that_is_no_size_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STROP_CACHE_SIZE", text)
    with pytest.raises(UsageError) as raised:
        limit_bytes()
    assert (raised.value.code, raised.value.got) == ("usage.bad-option", text)
