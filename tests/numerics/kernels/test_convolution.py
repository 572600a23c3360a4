"""Direct convolution on every ISA table, against float64: |error| <= (2 + 2 sqrt(terms)) * eps * (|x| conv |w|)."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler import expressions
from strop.compiler.isa import ISAS, Isa, get_isa
from strop.compiler.kernels import references
from strop.compiler.kernels.contract import Convolution, Pool
from strop.compiler.kernels.convolution import DirectConvolution
from strop.compiler.layouts import Halo, channels_last, dense
from strop.compiler.link import check_closed
from strop.compiler.machine_code import generate
from tests.numerics.kernels.convolutions import (
    RELU,
    RESIDUAL,
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


@st.composite
def products(draw: st.DrawFn) -> Convolution:
    """Matrix products: rows of channels given as an image of one row, with few rows and many."""
    rows = draw(st.sampled_from([1, 2, 3, 5, 6, 7, 13, 15, 27, 28, 29, 57]))
    inputs, outputs = draw(st.sampled_from([1, 4, 9, 10, 64, 130])), draw(st.sampled_from([1, 10, 64, 70, 129, 200]))
    epilogue, vectors = draw(st.sampled_from([(RELU, 1), (RESIDUAL, 1)]))
    output = channels_last((1, outputs, 1, rows))
    extras = (channels_last((1, outputs, 1, rows), pixel=4 * outputs + 12),) if epilogue is RESIDUAL else ()
    image = channels_last((1, inputs, 1, rows))
    return Convolution((image, *extras), output, epilogue, vectors, weights=(outputs, inputs, 1, 1))


@every_isa
@given(problem=products(), parts=st.integers(1, 3), which=st.integers(0, 3))
def test_a_matrix_product_is_a_convolution_with_one_place(
    isa: Isa, problem: Convolution, parts: int, which: int
) -> None:
    schedules = KERNEL.candidates(problem, isa)
    inputs, weights, channels = operands_of(problem)
    got = run_problem(
        KERNEL, problem, isa, inputs, weights=weights, channels=channels, parts=parts,
        schedule=schedules[which % len(schedules)],
    )  # fmt: skip
    assert_close(problem, got, inputs, weights, channels, k=bound(problem))


@every_isa
@given(problem=ANY, which=st.integers(0, 3))
def test_no_division_among_threads_changes_a_bit(isa: Isa, problem: Convolution, which: int) -> None:
    schedules = KERNEL.candidates(problem, isa)
    schedule = schedules[which % len(schedules)]
    inputs, weights, channels = operands_of(problem)

    def run(parts: int) -> np.ndarray:
        return run_problem(
            KERNEL, problem, isa, inputs, weights=weights, channels=channels, parts=parts, schedule=schedule,
            in_place=in_place_of(problem),
        )  # fmt: skip

    units = KERNEL.split(problem, schedule, isa).units
    whole = run(1).tobytes()
    assert run(2).tobytes() == whole
    assert run(min(units, 64)).tobytes() == whole


@every_isa
@given(problem=ANY, place=st.integers(0, 10**9))
def test_a_nan_reaches_the_sums_it_is_in_and_no_other(isa: Isa, problem: Convolution, place: int) -> None:
    inputs, weights, channels = operands_of(problem)
    clean = [array.copy() for array in inputs]
    at = np.unravel_index(place % inputs[0].size, inputs[0].shape)
    inputs[0][at], clean[0][at] = np.nan, 0
    got, without = (
        run_problem(KERNEL, problem, isa, each, weights=weights, channels=channels, in_place=in_place_of(problem))
        for each in (inputs, clean)
    )
    mark = np.zeros_like(clean[0])
    mark[at] = 1
    touched = references.convolve(problem, mark, np.ones_like(weights)) > 0
    assert np.isnan(got[touched]).all()
    np.testing.assert_array_equal(got[~touched], without[~touched])


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.key)
@pytest.mark.parametrize("accumulator", ["float32", "int32"])
def test_code_needs_nothing_from_outside_and_its_name_says_what_it_is(isa: Isa, accumulator: str) -> None:
    is_float = accumulator == "float32"
    kind, number = ("float32", "float32") if is_float else ("uint8", "int8")
    image, output = channels_last((1, 24, 9, 9), kind, Halo(1, 1, 1, 1)), channels_last((1, 20, 9, 9), accumulator)
    epilogue = RELU if is_float else expressions.operand(0, "int32")
    problem = Convolution(
        (image,), output, epilogue, int(is_float), weights=(20, 24, 3, 3), pads=(1, 1, 1, 1),
        weight_dtype=number, accumulator=accumulator,
    )  # fmt: skip
    for schedule in KERNEL.candidates(problem, isa):
        code = KERNEL.emit(problem, schedule, isa)
        check_closed([generate(ir, isa) for ir in code.objects.values()])
        family, kind = r"convolution_direct", "f32" if is_float else "u8s8"
        entry = rf"{family}_{kind}_{isa.key}_t\d+x\d+b\d+p?(n\d+)?f?e?s?_[0-9a-f]{{8}}"
        tile = rf"tile_{kind}_{isa.key}_\d+x\d+x\d+_[0-9a-f]{{12}}"
        assert re.fullmatch(entry, code.symbol)
        assert all(re.fullmatch(tile, name) for name in code.objects if name != code.symbol)


def test_tiles_are_shared_between_layers_that_differ_in_size_only() -> None:
    isa = get_isa("x86-64-v4")

    def tiles(inputs: int, extent: int) -> set[str]:
        shape = (1, inputs, extent, extent)
        image = channels_last(shape, pixel=4 * 80)
        problem = Convolution((image,), channels_last((1, 64, extent, extent)), weights=(64, inputs, 1, 1))
        code = KERNEL.emit(problem, KERNEL.candidates(problem, isa)[0], isa)
        return set(code.objects) - {code.symbol}

    assert tiles(64, 28) == tiles(80, 56)


def test_without_the_halo_it_asked_for_it_emits_nothing() -> None:
    image = channels_last((1, 8, 5, 5))
    problem = Convolution((image,), channels_last((1, 8, 5, 5)), weights=(8, 8, 3, 3), pads=(1, 1, 1, 1))
    isa = get_isa("generic")
    assert KERNEL.needs(problem, isa).halo == Halo(1, 1, 1, 1)
    with pytest.raises(ValueError, match="halo"):
        KERNEL.emit(problem, KERNEL.candidates(problem, isa)[0], isa)


def test_what_it_cannot_compute_is_refused_in_words() -> None:
    isa = get_isa("generic")
    dense_image = Convolution((dense((1, 8, 5, 5)),), channels_last((1, 8, 5, 5)), weights=(8, 8, 1, 1))
    assert KERNEL.accepts(dense_image, isa) == "the input's channels are not neighbours"
    image = channels_last((1, 8, 5, 5))
    assert "groups" in KERNEL.accepts(Convolution((image,), image, weights=(8, 3, 1, 1), groups=2), isa)
    assert KERNEL.accepts(Pool((image,), image), isa) == "not a convolution"
