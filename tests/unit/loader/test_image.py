"""An image's file: what was written comes back, and whatever was changed in it is noticed before anything runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from strop.compiler.image import image_pieces, write_image
from strop.loader import image as images
from strop.loader.image import HEADER_BYTES, PAGE, Image, image_of, open_image
from strop.loader.plan import SLACK, Plan, Tensor
from strop.loader.structs import RUNTIME

CODE = bytes(range(256)) * 32
WEIGHTS = np.arange(3000, dtype=np.uint8).tobytes() + bytes(SLACK)
PLAN = Plan("generic", (Tensor("x", "float32", (2,)),), (), (), weights=3000, runtime=dict.fromkeys(RUNTIME, 0))


def image() -> Image:
    return image_of(PLAN.to_bytes(), CODE, WEIGHTS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_image(tmp_path / "an.image", image())


def test_what_was_written_comes_back(path: Path) -> None:
    found = open_image(path)
    assert found.plan == PLAN
    assert bytes(found.weights) == WEIGHTS
    with found.map_code() as code:
        assert code.length == len(CODE)
    assert not found.code.offset % PAGE  # type: ignore[union-attr]
    assert np.frombuffer(found.weights, np.uint8).ctypes.data % PAGE == 0


def test_the_same_image_is_the_same_bytes(path: Path) -> None:
    assert b"".join(image_pieces(image())) == path.read_bytes()


def test_a_change_of_any_part_is_noticed(path: Path) -> None:
    good = path.read_bytes()
    used = [*range(HEADER_BYTES), *range(PAGE, PAGE + len(PLAN.to_bytes()))]
    code = 2 * PAGE
    used += [code, code + len(CODE) - 1, code + len(CODE), code + len(CODE) + 2999]
    for place in used:
        damaged = bytearray(good)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ValueError):
            open_image(path)


def test_a_file_cut_anywhere_is_refused(path: Path) -> None:
    good = path.read_bytes()
    for length in [*range(0, len(good), 211), len(good) - 1]:
        path.write_bytes(good[:length])
        with pytest.raises(ValueError):
            open_image(path)
    path.write_bytes(good + b"\0")
    with pytest.raises(ValueError):
        open_image(path)


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_image(tmp_path / "none")


def test_code_in_whole_pages_and_slack_behind_the_weights_are_asked_for() -> None:
    with pytest.raises(ValueError, match="whole pages"):
        image_of(PLAN.to_bytes(), CODE[:-1], WEIGHTS)
    with pytest.raises(ValueError, match="weights"):
        image_of(PLAN.to_bytes(), CODE, WEIGHTS[:-1])


def test_weights_are_hashed_at_the_first_load_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strop.loader.stamps._SETTLED_NANOSECONDS", -1)  # the file is too young for a stamp to count
    hashed = []
    real = images.sha256
    monkeypatch.setattr(images, "sha256", lambda data: hashed.append(len(data)) or real(data))
    open_image(path)
    open_image(path)
    assert hashed.count(len(WEIGHTS)) == 1 and hashed.count(len(CODE)) == 2
