"""Folders of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from strop.errors import DataError
from strop.model.specs import TensorSpec
from strop.quality.data import open_data
from strop.quality.sources.images import read_image

INPUT = (TensorSpec("x", "float32", (1, 3, 4, 4)),)


def _write(path: Path, value: int = 0, size: tuple[int, int] = (4, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 0, 0)).save(path)
    return path


def _open(folder: Path, **options: object):
    return open_data(folder, inputs=INPUT, preprocess="raw255", **options)


def test_class_folders_sorted_by_name_give_the_labels(tmp_path: Path) -> None:
    for name, value in (("dog/b.png", 1), ("cat/deep/a.png", 2), ("dog/a.png", 3), ("ant/z.png", 4)):
        _write(tmp_path / name, value)
    data = _open(tmp_path)
    assert [(sample.key, sample.target) for sample in data] == [
        ("ant/z.png", 0),
        ("cat/deep/a.png", 1),
        ("dog/a.png", 2),
        ("dog/b.png", 2),
    ]
    assert [int(sample.inputs["x"][0, 0, 0, 0]) for sample in data] == [4, 2, 3, 1]


def test_numbered_class_folders_sorted_as_text_are_pointed_out(tmp_path: Path) -> None:
    for name in ("2", "10", "0"):
        _write(tmp_path / name / "a.png")
    data = _open(tmp_path)
    assert [sample.target for sample in data] == [0, 1, 2]
    assert "'10' is label 1" in data.notes[0]


def test_an_empty_class_folder_keeps_its_number(tmp_path: Path) -> None:
    for name in ("a", "c"):
        _write(tmp_path / name / "1.png")
    (tmp_path / "b").mkdir()
    assert [sample.target for sample in _open(tmp_path)] == [0, 2]


def test_a_flat_folder_and_a_single_sub_folder_have_no_labels(tmp_path: Path) -> None:
    _write(tmp_path / "flat" / "a.png")
    _write(tmp_path / "one" / "images" / "a.png")
    (tmp_path / "one" / ".hidden").mkdir()
    for name in ("flat", "one"):
        data = _open(tmp_path / name)
        assert len(data) == 1 and not data.has_targets


def test_images_beside_class_folders_are_refused(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png", "stray.png"):
        _write(tmp_path / name)
    with pytest.raises(DataError, match="both in the folder itself and in sub-folders"):
        _open(tmp_path)


def test_a_csv_names_images_by_path_in_its_own_order(tmp_path: Path) -> None:
    for name in ("a.png", "sub/b.png", "c.png"):
        _write(tmp_path / name)
    (tmp_path / "labels.csv").write_text("path,label\n./sub/b.png,7\na.png,3\n")
    data = _open(tmp_path, labels=tmp_path / "labels.csv")
    assert [(sample.key, sample.target) for sample in data] == [("sub/b.png", 7), ("a.png", 3)]
    assert "1 of 3 images have no row" in data.notes[0]


def test_a_csv_that_names_missing_images_says_how_many(tmp_path: Path) -> None:
    _write(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("path,label\na.png,7\nb.png,3\nc.png,3\n")
    with pytest.raises(DataError) as caught:
        _open(tmp_path, labels=str(tmp_path / "labels.csv"))
    assert caught.value.code == "data.labels" and "2 of 3 missing, the first: b.png" in str(caught.value)


def test_labels_in_order_must_be_as_many_as_images(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        _write(tmp_path / name)
    assert [sample.target for sample in _open(tmp_path, labels=["x", "y"])] == ["x", "y"]
    with pytest.raises(DataError) as caught:
        _open(tmp_path, labels=[1, 2, 3])
    assert "3 labels" in str(caught.value) and "2 (the number of samples)" in str(caught.value)


def test_a_corrupt_image_is_named(tmp_path: Path) -> None:
    _write(tmp_path / "a.png")
    content = _write(tmp_path / "b.jpg", size=(64, 64)).read_bytes()
    (tmp_path / "b.jpg").write_bytes(content[: len(content) // 2])
    data = _open(tmp_path)
    with pytest.raises(DataError) as caught:
        list(data)
    assert caught.value.code == "data.format" and str(tmp_path / "b.jpg") in str(caught.value)


def test_an_image_that_does_not_fit_is_named_too(tmp_path: Path) -> None:
    _write(tmp_path / "a.png")
    _write(tmp_path / "b.png", size=(5, 4))
    with pytest.raises(DataError, match=r"sample 1 \(b.png\)"):
        list(_open(tmp_path))


def test_images_need_preprocessing_said(tmp_path: Path) -> None:
    _write(tmp_path / "a.png")
    with pytest.raises(DataError) as caught:
        open_data(tmp_path, inputs=INPUT)
    assert caught.value.code == "data.preprocess" and "--preprocess imagenet" in caught.value.hint


def test_images_are_turned_as_their_orientation_says(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 2))
    image.putpixel((0, 0), (255, 255, 255))
    exif = image.getexif()
    exif[0x0112] = 6  # turn by 90 degrees, clockwise
    image.save(tmp_path / "a.png", exif=exif)
    pixels = read_image(tmp_path / "a.png")
    assert pixels.shape == (4, 2, 3) and pixels[0, 1, 0] == 255


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1"])
def test_every_common_kind_of_image_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new(mode, (3, 2)).save(path)
    pixels = read_image(path)
    assert pixels.shape == (2, 3, 3) and pixels.dtype == np.uint8


def test_sixteen_bits_are_refused_instead_of_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), 40000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="more than 8 bits"):
        read_image(tmp_path / "a.png")


def test_the_fingerprint_of_a_folder_follows_its_content(tmp_path: Path) -> None:
    _write(tmp_path / "a.png", 1)
    before = _open(tmp_path).fingerprint
    assert _open(tmp_path).fingerprint == before
    _write(tmp_path / "a.png", 2)
    assert _open(tmp_path).fingerprint != before
