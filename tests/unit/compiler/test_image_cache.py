"""Images in the cache: found again, and never the reason why something fails."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from strop.compiler.cache_folder import describe_cache
from strop.compiler.image_cache import ImageCache, image_key
from strop.loader.image import Image, image_of
from strop.loader.plan import SLACK, Plan
from strop.loader.structs import RUNTIME

KEY = image_key("a" * 64, "generic", {"winograd": "auto"})


def an_image(weights: int = 1000) -> Image:
    plan = Plan("generic", (), (), (), weights=weights, runtime=dict.fromkeys(RUNTIME, 0))
    return image_of(plan.to_bytes(), bytes(4096), bytes(weights + SLACK))


@pytest.fixture
def cache(tmp_path: Path) -> ImageCache:
    return ImageCache(tmp_path / "cache" / "images")


def entry(cache: ImageCache) -> Path:
    (path,) = cache.folder.glob("*.image")
    return path


def test_an_image_that_was_put_is_got(cache: ImageCache) -> None:
    assert cache.get(KEY) is None
    kept = cache.put(KEY, an_image())
    found = cache.get(KEY)
    assert found is not None
    assert found.plan == kept.plan == an_image().plan
    assert bytes(found.weights) == bytes(kept.weights) == bytes(an_image().weights)
    assert not isinstance(kept.code, (bytes, memoryview))  # it is the file's, shared with other processes
    assert cache.get("0" * 64) is None


def test_everything_that_decides_the_bytes_is_in_the_key() -> None:
    keys = {
        KEY,
        image_key("b" * 64, "generic", {"winograd": "auto"}),
        image_key("a" * 64, "x86-64-v3", {"winograd": "auto"}),
        image_key("a" * 64, "generic", {"winograd": "off"}),
        image_key("a" * 64, "generic", {"winograd": "auto", "tune": True}),
    }
    assert len(keys) == 5
    assert image_key("m", "l", {"a": 1, "b": 2}) == image_key("m", "l", {"b": 2, "a": 1})


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "folder", "link", "others"])
def test_a_bad_entry_is_a_warning_and_a_miss(cache: ImageCache, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    cache.put(KEY, an_image())
    path = entry(cache)
    data = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(data[:-100])
        case "flip":
            path.write_bytes(data[:9000] + b"\1" + data[9001:])
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("nothing of the kind", encoding="utf8")
        case "folder":
            path.unlink()
            path.mkdir()
        case "link":
            path.rename(path.with_suffix(".other"))
            path.symlink_to(path.with_suffix(".other"))
        case "others":
            path.chmod(0o666)
    assert cache.get(KEY) is None
    assert any(record.levelno == logging.WARNING for record in caplog.records)
    if damage != "folder":
        cache.put(KEY, an_image())
        assert cache.get(KEY) is not None


def test_a_folder_that_cannot_be_written_costs_only_the_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf8")
    image = an_image()
    assert ImageCache(tmp_path / "file" / "images").put(KEY, image) is image
    assert "not cached" in caplog.text


def test_the_cache_stays_within_its_limit(cache: ImageCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STROP_CACHE_SIZE", "100K")
    for number in range(5):
        cache.put(f"{number:064x}", an_image(30_000))
        os.utime(cache.folder / f"{number:064x}.image", (number, number))
    left = sorted(path.name for path in cache.folder.glob("*.image"))
    assert 1 <= len(left) <= 3 and left[-1].startswith(f"{4:064x}")
    too_large = an_image(200_000)
    assert cache.put(KEY, too_large) is too_large


def test_hits_and_misses_are_counted() -> None:
    cache = ImageCache()
    cache.get("1" * 64)
    before = next(kind for kind in describe_cache()["kinds"] if kind["kind"] == "images")
    cache.put("1" * 64, an_image())
    cache.get("1" * 64)
    after = next(kind for kind in describe_cache()["kinds"] if kind["kind"] == "images")
    assert after["hits"] == before["hits"] + 1
    assert after["entries"] == before["entries"] + 1


def test_two_processes_may_write_the_same_image_at_once(cache: ImageCache) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.unit.compiler.test_image_cache import KEY, ImageCache, an_image\n"
        "cache = ImageCache(Path(sys.argv[1]))\n"
        "for _ in range(30):\n"
        "    cache.put(KEY, an_image())\n"
        "    assert cache.get(KEY) is not None\n"
    )
    root = Path(__file__).parents[3]
    both = [subprocess.Popen([sys.executable, "-c", code, str(cache.folder)], cwd=root) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert cache.get(KEY) is not None
    assert not list(cache.folder.glob("*.part"))
