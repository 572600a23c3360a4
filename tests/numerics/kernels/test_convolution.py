"""Direct convolution on every ISA table, against float64: |error| <= (2 + 2 sqrt(terms)) * eps * (|x| conv |w|)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strop.compiler.isa import Isa
from strop.compiler.kernels.contract import Convolution
from strop.compiler.kernels.convolution import DirectConvolution
from tests.numerics.kernels.convolutions import (
    assert_close,
    bound,
    convolutions,
    in_place_of,
    operands_of,
)
from tests.numerics.kernels.harness import every_isa, run_problem

KERNEL = DirectConvolution()
ANY = convolutions(
    inputs=st.sampled_from([1, 3, 4, 5, 8, 16, 19, 33]),
    outputs=st.sampled_from([1, 5, 8, 16, 17, 32, 40, 48, 67]),
    kernels=st.sampled_from([(1, 1), (1, 1), (3, 3), (2, 2), (1, 3), (3, 1), (5, 5)]),
    groups=st.sampled_from([1, 1, 2, 3]),
)


@every_isa
@given(problem=ANY, parts=st.integers(1, 3), which=st.integers(0, 3))
def test_convolution_is_what_its_definition_says(isa: Isa, problem: Convolution, parts: int, which: int) -> None:
    assert KERNEL.accepts(problem, isa) == ""
    assert problem.inputs[0].halo.covers(KERNEL.needs(problem, isa).halo)
    schedules = KERNEL.candidates(problem, isa)
    inputs, weights, channels = operands_of(problem)
    got = run_problem(
        KERNEL, problem, isa, inputs, weights=weights, channels=channels, parts=parts,
        schedule=schedules[which % len(schedules)], in_place=in_place_of(problem),
    )  # fmt: skip
    assert_close(problem, got, inputs, weights, channels, k=bound(problem))
