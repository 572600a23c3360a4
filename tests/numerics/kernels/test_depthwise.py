"""Depthwise convolution on every ISA table, against float64; as exact as the direct one must be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler.isa import Isa
from strop.compiler.kernels.contract import Convolution
from strop.compiler.kernels.convolution import DirectConvolution
from strop.compiler.kernels.depthwise import DepthwiseConvolution
from tests.numerics.kernels.convolutions import assert_close, bound, convolutions, in_place_of, operands_of
from tests.numerics.kernels.harness import every_isa, run_problem

KERNELS = st.sampled_from([(1, 1), (3, 3), (5, 5), (1, 3), (4, 2)])
CHANNELS = st.sampled_from([1, 3, 8, 16, 19, 33, 50])


@every_isa
@pytest.mark.parametrize("kernel", [DepthwiseConvolution(), DirectConvolution()], ids=lambda kernel: kernel.family)
@given(problem=convolutions(inputs=st.just(1), outputs=st.just(1), kernels=KERNELS, groups=CHANNELS),
       parts=st.integers(1, 3))  # fmt: skip
def test_depthwise_is_right_in_its_own_family_and_in_the_general_one(
    isa: Isa, kernel: DepthwiseConvolution | DirectConvolution, problem: Convolution, parts: int
) -> None:
    assert kernel.accepts(problem, isa) == ""
    inputs, weights, channels = operands_of(problem)
    got = run_problem(
        kernel, problem, isa, inputs, weights=weights, channels=channels, parts=parts, in_place=in_place_of(problem)
    )
    assert_close(problem, got, inputs, weights, channels, k=bound(problem))
