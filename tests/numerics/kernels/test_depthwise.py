"""Depthwise convolution on every ISA table, against float64; as exact as the direct one must be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler.isa import Isa
from strop.compiler.kernels.contract import Convolution
from strop.compiler.kernels.convolution import DirectConvolution
from strop.compiler.kernels.depthwise import DepthwiseConvolution, DepthwiseSchedule
from tests.numerics.kernels.convolutions import assert_close, bound, convolutions, in_place_of, operands_of
from tests.numerics.kernels.harness import every_isa, run_problem

KERNELS = st.sampled_from([(1, 1), (3, 3), (3, 3), (5, 5), (7, 7), (1, 3), (4, 2)])
CHANNELS = st.sampled_from([1, 3, 8, 16, 19, 33, 50])
PROBLEMS = convolutions(inputs=st.just(1), outputs=st.just(1), kernels=KERNELS, groups=CHANNELS)
SCHEDULES = st.builds(
    lambda rows, pixels, bands, panels: (rows, pixels, rows * bands, panels),
    st.sampled_from([1, 2, 3, 4]), st.sampled_from([1, 3, 4, 7, 14]), st.integers(1, 4), st.integers(1, 4),
)  # fmt: skip


@every_isa
@pytest.mark.parametrize("kernel", [DepthwiseConvolution(), DirectConvolution()], ids=lambda kernel: kernel.family)
@given(problem=PROBLEMS, parts=st.integers(1, 3))
def test_depthwise_is_right_in_its_own_family_and_in_the_general_one(
    isa: Isa, kernel: DepthwiseConvolution | DirectConvolution, problem: Convolution, parts: int
) -> None:
    assert kernel.accepts(problem, isa) == ""
    inputs, weights, channels = operands_of(problem)
    got = run_problem(
        kernel, problem, isa, inputs, weights=weights, channels=channels, parts=parts, in_place=in_place_of(problem)
    )
    assert_close(problem, got, inputs, weights, channels, k=bound(problem))


@every_isa
@given(problem=PROBLEMS, numbers=SCHEDULES, parts=st.integers(2, 4))
def test_depthwise_gives_the_same_bits_with_any_schedule_and_however_it_is_divided(
    isa: Isa, problem: Convolution, numbers: tuple[int, int, int, int], parts: int
) -> None:
    kernel = DepthwiseConvolution()
    rows, pixels, band, panels = numbers
    inputs, weights, channels = operands_of(problem)
    usual, other = (
        run_problem(
            kernel, problem, isa, inputs, weights=weights, channels=channels, parts=pieces,
            in_place=in_place_of(problem), schedule=schedule,
        )
        for schedule, pieces in (
            (kernel.candidates(problem, isa)[0], 1),
            (DepthwiseSchedule(rows, pixels, band, panels * 16 // isa.lanes), parts),
        )
    )  # fmt: skip
    assert usual.tobytes() == other.tobytes()
