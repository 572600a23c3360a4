"""Preprocessing: the arithmetic is exactly what is said, in the order that is said."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.model.preprocess import PRESETS, Preprocess

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)


def test_mean_and_scale_are_exactly_numpys() -> None:
    result = Preprocess.parse("mean=0.485:0.456:0.406,std=0.229:0.224:0.225").apply(IMAGE)
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    expected = ((IMAGE.astype(np.float32) / np.float32(255) - mean) / std).transpose(2, 0, 1)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, expected)


def test_mean_and_scale_in_units_of_the_image() -> None:
    result = Preprocess.parse("scale=1,mean=127.5,std=127.5").apply(IMAGE)
    np.testing.assert_array_equal(result, (IMAGE.astype(np.float32).transpose(2, 0, 1) - 127.5) / 127.5)


def test_the_order_of_options_does_not_matter() -> None:
    one = Preprocess.parse("mean=0.1,std=0.2,channels=BGR,crop=8")
    assert one == Preprocess.parse("crop=8,channels=bgr,std=0.2,mean=0.1")


def test_channels_are_reversed_before_mean_and_std() -> None:
    given_bgr = Preprocess.parse("channels=BGR,scale=1,mean=1:2:3").apply(IMAGE)
    fed_reversed = Preprocess.parse("scale=1,mean=1:2:3").apply(IMAGE[:, :, ::-1])
    np.testing.assert_array_equal(given_bgr, fed_reversed)
    assert given_bgr[2, 0, 0] == IMAGE[0, 0, 0] - 3.0


def test_layout_and_dtype() -> None:
    flat = Preprocess.parse("raw255,layout=NHWC,dtype=uint8").apply(IMAGE)
    assert flat.dtype == np.uint8 and flat.flags.c_contiguous
    np.testing.assert_array_equal(flat, IMAGE)
    assert Preprocess.parse("unit,dtype=float16").apply(IMAGE).dtype == np.float16


def test_letterbox_keeps_the_aspect_and_fills_the_rest() -> None:
    boxed = Preprocess.parse("raw255,letterbox=40x40,fill=7,layout=NHWC").apply(np.full((10, 20, 3), 200, np.uint8))
    assert boxed.shape == (40, 40, 3)
    assert (boxed[:10] == 7).all() and (boxed[30:] == 7).all() and (boxed[10:30] == 200).all()


def test_resize_by_the_shorter_side_then_crop_the_middle() -> None:
    assert Preprocess.parse("resize=10").apply(IMAGE).shape == (3, 10, 15)
    assert Preprocess.parse("resize=10").apply(IMAGE.swapaxes(0, 1)).shape == (3, 15, 10)
    assert Preprocess.parse("resize=7x9").apply(IMAGE).shape == (3, 7, 9)
    cropped = Preprocess.parse("raw255,crop=10x20,layout=NHWC").apply(IMAGE)
    np.testing.assert_array_equal(cropped, IMAGE[5:15, 5:25])


def test_a_gray_image_counts_as_rgb() -> None:
    np.testing.assert_array_equal(
        Preprocess.parse("unit").apply(IMAGE[:, :, 0]), Preprocess.parse("unit").apply(IMAGE[:, :, [0, 0, 0]])
    )
    assert Preprocess.parse("raw255,channels=GRAY").apply(IMAGE[:, :, 0]).shape == (1, 20, 30)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_survive_text_and_json(preset: str) -> None:
    parsed = Preprocess.parse(preset)
    assert Preprocess.parse(str(parsed)) == parsed
    assert Preprocess.from_json(json.loads(json.dumps(parsed.to_json()))) == parsed


def test_a_preset_may_be_changed_and_steps_left_out() -> None:
    changed = Preprocess.parse("imagenet,layout=NHWC,resize=none,mean=none")
    assert (changed.layout, changed.resize, changed.mean, changed.crop) == ("NHWC", None, (), (224, 224))


sizes = st.integers(1, 64)
numbers = st.floats(0.001, 10, allow_nan=False)


@given(
    resize=st.one_of(st.none(), sizes, st.tuples(sizes, sizes)),
    crop=st.one_of(st.none(), st.tuples(sizes, sizes)),
    scale=numbers,
    mean=st.one_of(st.just(()), st.tuples(numbers), st.tuples(numbers, numbers, numbers)),
    channels=st.sampled_from(["RGB", "BGR"]),
    layout=st.sampled_from(["NCHW", "NHWC"]),
)
def test_any_preprocessing_survives_text(resize, crop, scale, mean, channels, layout) -> None:  # type: ignore[no-untyped-def]
    made = Preprocess(resize=resize, crop=crop, scale=scale, mean=mean, std=mean, channels=channels, layout=layout)
    assert Preprocess.parse(str(made)) == made


def test_the_description_is_the_arithmetic() -> None:
    text = Preprocess.parse("imagenet,channels=BGR").describe()
    assert "y = (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]" in text
    assert text.index("resize the shorter side to 256") < text.index("crop") < text.index("BGR") < text.index("y =")
    assert "y = x * 0.017" in Preprocess.parse("scale=0.017").describe()
