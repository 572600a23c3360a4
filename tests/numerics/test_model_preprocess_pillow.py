"""Resizing and gray are Pillow's own, to the last bit."""

from __future__ import annotations

import numpy as np
import PIL
import pytest
from PIL import Image

from strop.model.preprocess import Preprocess
from strop.model.resize import resize

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def image_of(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("filter_name", FILTERS)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((300, 400), (256, 341)),
        ((37, 53), (100, 80)),
        ((224, 224), (224, 100)),
        ((3, 3), (1, 1)),
        ((600, 800), (99, 99)),
        ((50, 200), (90, 100)),
        ((5, 7), (5, 7)),
    ],
)
def test_resize_is_pillows(old: tuple[int, int], new: tuple[int, int], filter_name: str) -> None:
    image = image_of(*old)
    expected = np.asarray(Image.fromarray(image).resize(new[::-1], FILTERS[filter_name]))
    np.testing.assert_array_equal(resize(image, *new, filter_name=filter_name), expected)


@pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="older Pillow resizes the width first always")
def test_height_goes_first_where_only_it_shrinks() -> None:
    image = image_of(100, 100)
    expected = np.asarray(Image.fromarray(image).resize((300, 90), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(resize(image, 90, 300, filter_name="bicubic"), expected)


def test_gray_is_pillows() -> None:
    image = image_of(64, 64)
    expected = np.asarray(Image.fromarray(image).convert("L"))
    np.testing.assert_array_equal(Preprocess.parse("raw255,channels=GRAY").apply(image)[0], expected)


def test_imagenet_is_the_usual_pipeline() -> None:
    image = image_of(375, 500)
    picture = Image.fromarray(image).resize((341, 256), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture.crop((58, 16, 58 + 224, 16 + 224)), np.float32)
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    expected = ((pixels / np.float32(255) - mean) / std).transpose(2, 0, 1)
    np.testing.assert_array_equal(Preprocess.parse("imagenet").apply(image), expected)
