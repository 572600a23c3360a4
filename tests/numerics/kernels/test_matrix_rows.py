"""Products of any number of rows by constant weights, on every ISA table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler.expressions import add, apply, cast, channel, multiply, operand, requantize
from strop.compiler.isa import Isa, get_isa
from strop.compiler.kernels import references
from strop.compiler.kernels.contract import Convolution
from strop.compiler.kernels.matrix_rows import MatrixRows
from strop.compiler.layouts import Layout
from tests.examples import at_least
from tests.numerics.kernels.harness import every_isa, run_problem

KERNEL = MatrixRows()


def rows_of(count: int, channels: int, pad: int = 0, dtype: str = "float32") -> Layout:
    size = np.dtype(dtype).itemsize
    pixel = size * (channels + pad)
    return Layout((1, channels, 1, count), (count * pixel, size, count * pixel, pixel), dtype)


@st.composite
def problems(draw: st.DrawFn) -> Convolution:
    count, inner = draw(st.integers(1, 60)), draw(st.integers(1, 30))
    outer, pad = draw(st.sampled_from([1, 7, 16, 32, 40, 70])), draw(st.sampled_from([0, 16]))
    inputs, epilogue = (rows_of(count, inner, pad),), add(operand(0), channel(0))
    kind = draw(st.sampled_from(["bias", "residual", "gelu"]))
    if kind == "residual":
        inputs, epilogue = (*inputs, rows_of(count, outer)), add(epilogue, operand(1))
    elif kind == "gelu":
        epilogue = apply("gelu", epilogue)
    return Convolution(inputs, rows_of(count, outer, pad), epilogue, 1, weights=(outer, inner, 1, 1))


@every_isa
@at_least(40)
@given(problem=problems(), parts=st.integers(1, 3))
def test_products_are_what_their_definition_says(isa: Isa, problem: Convolution, parts: int) -> None:
    random = np.random.default_rng(0)
    inputs = [random.standard_normal(layout.shape).astype(np.float32) for layout in problem.inputs]
    weights = random.standard_normal(problem.weights).astype(np.float32)
    bias = random.standard_normal(problem.weights[0]).astype(np.float32)
    got = run_problem(KERNEL, problem, isa, inputs, weights=weights, channels=[bias], parts=parts)
    expected = references.convolution(problem, inputs, weights, [bias])
    bound = references.magnitude(problem, inputs[0], weights) + np.abs(bias).reshape(1, -1, 1, 1) + 1
    assert np.all(np.abs(got - expected) <= 3e-6 * bound)


@st.composite
def on_integers(draw: st.DrawFn) -> Convolution:
    count, inner = draw(st.integers(1, 60)), draw(st.integers(1, 90))
    outer, pad = draw(st.sampled_from([1, 7, 16, 32, 40, 70])), draw(st.sampled_from([0, 3, 16]))
    total, kind = operand(0, "int32"), draw(st.sampled_from(["int32", "uint8", "float32"]))
    epilogue = total
    if kind == "uint8":
        epilogue = requantize(total, channel(0), 7, 0, 255, "uint8")
    elif kind == "float32":
        epilogue = multiply(cast(total, "float32"), channel(0))
    return Convolution(
        (rows_of(count, inner, pad, "uint8"),), rows_of(count, outer, pad, kind), epilogue, int(kind != "int32"),
        weights=(outer, inner, 1, 1), weight_dtype="int8", accumulator="int32", input_zero=draw(st.integers(0, 255)),
    )  # fmt: skip


@every_isa
@at_least(40)
@given(problem=on_integers(), parts=st.integers(1, 3))
def test_products_of_integers_are_exact(isa: Isa, problem: Convolution, parts: int) -> None:
    random = np.random.default_rng(0)
    rows = random.integers(0, 256, problem.inputs[0].shape).astype(np.uint8)
    weights = random.integers(-128, 128, problem.weights).astype(np.int8)
    channels = [(random.random(problem.weights[0]) / 4000).astype(np.float32)][: problem.channels]
    got = run_problem(KERNEL, problem, isa, [rows], weights=weights, channels=channels, parts=parts)
    np.testing.assert_array_equal(got, references.convolution(problem, [rows], weights, channels))


@pytest.mark.parametrize("level", ["x86-64-v4", "x86-64-v3", "generic"])
def test_code_is_the_same_for_every_number_of_rows(level: str) -> None:
    isa = get_isa(level)
    codes = []
    for count in (1, 5, 128, 197):
        problem = Convolution((rows_of(count, 20),), rows_of(count, 33), weights=(33, 20, 1, 1))
        codes.append(KERNEL.emit(problem, KERNEL.candidates(problem, isa)[0], isa))
        assert KERNEL.general(problem) == KERNEL.general(replace(problem))
    assert all(code.objects == codes[0].objects for code in codes)
    assert len({tuple(code.numbers.values()) for code in codes}) == 4


def test_what_it_does_not_compute_is_refused_with_the_reason() -> None:
    isa = get_isa("x86-64-v4")
    problem = Convolution((rows_of(9, 4),), rows_of(9, 8), weights=(8, 4, 1, 1))
    assert KERNEL.accepts(problem, isa) == ""
    assert "rows" in KERNEL.accepts(replace(problem, weights=(8, 4, 3, 3)), isa)
    image = Layout((1, 4, 3, 3), (160, 4, 52, 16))
    assert "axes" in KERNEL.accepts(replace(problem, inputs=(image,)), isa)
    assert not KERNEL.needs(problem, isa).in_place
