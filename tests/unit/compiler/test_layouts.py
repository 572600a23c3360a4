from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler.layouts import Halo, Layout, array_of, channels_last, dense

halos = st.builds(Halo, *[st.integers(0, 3)] * 4)


def test_dense_strides_are_numpys() -> None:
    assert dense((2, 3, 4)).strides == np.empty((2, 3, 4), np.float32).strides


def test_channels_lie_together_and_aliasing_pixels_are_moved_apart() -> None:
    assert channels_last((1, 64, 2, 3)).strides == (1536, 4, 768, 256)
    assert channels_last((1, 512, 2, 3)).strides[3] == 512 * 4 + 64


@given(
    images=st.integers(1, 2), channels=st.integers(1, 5), height=st.integers(1, 4), width=st.integers(1, 4), halo=halos
)
def test_every_element_and_the_halo_lie_inside_the_span(
    images: int, channels: int, height: int, width: int, halo: Halo
) -> None:
    layout = channels_last((images, channels, height, width), halo=halo)
    buffer = np.zeros(layout.span, np.uint8)
    view = array_of(buffer, layout, layout.before)
    view[...] = np.arange(view.size, dtype=np.float32).reshape(view.shape) + 1
    assert np.array_equal(np.sort(buffer.view(np.float32)[buffer.view(np.float32) != 0]), np.arange(view.size) + 1)
    last = sum((n - 1) * s for n, s in zip(layout.shape, layout.strides, strict=True)) + layout.before
    after = halo.bottom * layout.strides[2] + halo.right * layout.strides[3]
    assert last + after + 4 == layout.span


@pytest.mark.parametrize(
    ("layout", "is_dense"),
    [
        (dense((1, 3, 4, 4)), True),
        (channels_last((1, 3, 4, 4)), False),
        (channels_last((1, 7, 1, 1)), True),
        (channels_last((5, 256)), False),
        (channels_last((1, 256)), True),
        (channels_last((1, 1, 4, 4), halo=Halo(1, 1, 1, 1)), False),
    ],
)
def test_dense_means_as_an_array_of_the_user_lies(layout: Layout, is_dense: bool) -> None:
    assert layout.is_dense is is_dense


def test_a_halo_that_serves_both_covers_both() -> None:
    a, b = Halo(1, 1, 1, 1), Halo(0, 0, 3, 2)
    union = a.union(b)
    assert union == Halo(1, 1, 3, 2)
    assert union.covers(a) and union.covers(b) and not a.covers(b)
    assert not Halo() and a
