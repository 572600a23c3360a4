"""Convolution of dense images with few channels, on every ISA table; as exact as the direct one must be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strop.compiler.isa import Isa
from strop.compiler.kernels.contract import Convolution
from strop.compiler.kernels.convolution_stem import StemConvolution
from tests.numerics.kernels.convolutions import assert_close, bound, convolutions, in_place_of, operands_of
from tests.numerics.kernels.harness import every_isa, run_problem

KERNEL = StemConvolution()
STEMS = convolutions(
    inputs=st.integers(1, 4),
    outputs=st.sampled_from([1, 8, 16, 24, 32, 67]),
    kernels=st.sampled_from([(1, 1), (3, 3), (7, 7), (2, 5), (5, 3)]),
    dense_input=True,
    most=40,
)


@every_isa
@given(problem=STEMS, parts=st.integers(1, 3), which=st.integers(0, 3))
def test_a_stem_reads_the_callers_image_as_it_is(isa: Isa, problem: Convolution, parts: int, which: int) -> None:
    assert KERNEL.accepts(problem, isa) == ""
    schedules = KERNEL.candidates(problem, isa)
    inputs, weights, channels = operands_of(problem)
    got = run_problem(
        KERNEL, problem, isa, inputs, weights=weights, channels=channels, parts=parts, slack=0,
        schedule=schedules[which % len(schedules)], in_place=in_place_of(problem),
    )  # fmt: skip
    assert_close(problem, got, inputs, weights, channels, k=bound(problem))
