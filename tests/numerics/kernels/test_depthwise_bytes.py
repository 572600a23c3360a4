"""Depthwise convolution on bytes: the same integers as the reference on every ISA table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler.isa import Isa, get_isa
from strop.compiler.kernels import references
from strop.compiler.kernels.contract import Convolution
from strop.compiler.kernels.depthwise_bytes import DepthwiseBytes, DepthwiseBytesSchedule
from strop.compiler.layouts import channels_last
from tests.numerics.kernels.harness import every_isa, run_problem
from tests.numerics.kernels.test_convolution_int8 import integers_of, quantized

KERNEL = DepthwiseBytes()
CHANNELS = st.sampled_from([1, 3, 8, 16, 19, 33, 50])
KERNELS = st.sampled_from([(1, 1), (3, 3), (3, 3), (5, 5), (7, 7), (1, 3), (4, 2)])


SCHEDULES = st.one_of(
    st.integers(0, 7),  # one of the kernel's own
    st.tuples(st.integers(1, 6), st.sampled_from([1, 3, 4, 7, 14]), st.integers(1, 3)),
)


@every_isa
@given(
    problem=quantized(kernels=KERNELS, inputs=st.just(1), outputs=st.just(1), groups=CHANNELS),
    parts=st.integers(1, 4),
    extremes=st.booleans(),
    has_bias=st.booleans(),
    which=SCHEDULES,
)
def test_integers_are_exact_with_any_schedule(
    isa: Isa, problem: Convolution, parts: int, extremes: bool, has_bias: bool, which: int | tuple[int, int, int]
) -> None:
    assert KERNEL.accepts(problem, isa) == ""
    inputs, weights, channels = integers_of(problem, extremes=extremes, has_bias=has_bias)
    if isinstance(which, int):
        own = KERNEL.candidates(problem, isa)
        schedule = own[which % len(own)]
    else:
        rows, pixels, panels = which
        schedule = DepthwiseBytesSchedule(rows, pixels, panels * 16 // isa.lanes)
    got = run_problem(
        KERNEL, problem, isa, inputs, weights=weights, channels=channels, parts=parts, schedule=schedule,
        in_place=1 if len(inputs) > 1 else None,
    )  # fmt: skip
    np.testing.assert_array_equal(got, references.convolution(problem, inputs, weights, channels))


def test_what_it_does_not_compute_is_refused() -> None:
    isa = get_isa("x86-64-v3")
    image = channels_last((1, 8, 9, 9), "uint8")
    problem = Convolution(
        (image,), channels_last((1, 8, 9, 9), "int32"), weights=(8, 1, 1, 1), groups=8, weight_dtype="int8",
        accumulator="int32",
    )  # fmt: skip
    assert "filter a channel" in KERNEL.accepts(replace(problem, groups=4, weights=(8, 2, 1, 1)), isa)
    assert "121 taps" in KERNEL.accepts(replace(problem, weights=(8, 1, 12, 12)), isa)
    assert "float32" in KERNEL.accepts(replace(problem, inputs=(channels_last((1, 8, 9, 9)),)), isa)
