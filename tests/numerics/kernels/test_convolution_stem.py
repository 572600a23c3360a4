"""Convolution of dense images with few channels, on every ISA table; as exact as the direct one must be."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler.isa import ISAS, Isa, get_isa
from strop.compiler.kernels.contract import Convolution
from strop.compiler.kernels.convolution_stem import StemConvolution
from strop.compiler.layouts import channels_last, dense
from strop.compiler.link import check_closed
from strop.compiler.machine_code import generate
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


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.key)
def test_a_stems_code_needs_nothing_from_outside(isa: Isa) -> None:
    output = channels_last((1, 20, 10, 10))
    problem = Convolution((dense((1, 3, 20, 20)),), output, weights=(20, 3, 7, 7), strides=(2, 2), pads=(3, 3, 2, 2))
    for schedule in KERNEL.candidates(problem, isa):
        code = KERNEL.emit(problem, schedule, isa)
        check_closed([generate(ir, isa) for ir in code.objects.values()])
        assert re.fullmatch(rf"convolution_stem_f32_{isa.key}_t\d+x\d+r\d+e?_[0-9a-f]{{8}}", code.symbol)


def test_many_channels_groups_and_other_orders_are_refused_in_words() -> None:
    isa, output = get_isa("generic"), channels_last((1, 8, 5, 5))
    many = Convolution((dense((1, 8, 5, 5)),), output, weights=(8, 8, 1, 1))
    assert KERNEL.accepts(many, isa) == "more than 4 channels or one group"
    last = Convolution((channels_last((1, 3, 5, 5)),), output, weights=(8, 3, 1, 1))
    assert KERNEL.accepts(last, isa) == "the input's pixels are not neighbours in planes"
