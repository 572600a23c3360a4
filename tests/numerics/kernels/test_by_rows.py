"""Kernels run row by row: the same results, by code that is the same for every number of rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler.expressions import add, channel, multiply, operand
from strop.compiler.isa import Isa, get_isa
from strop.compiler.kernels import references
from strop.compiler.kernels.by_rows import ByRows, one_row
from strop.compiler.kernels.contract import Gathering, Pointwise, Statistics
from strop.compiler.kernels.gather import GatherKernel
from strop.compiler.kernels.pointwise import PointwiseKernel
from strop.compiler.kernels.statistics import StatisticsKernel
from strop.compiler.layouts import Layout, dense
from strop.compiler.statistics import softmax
from tests.examples import at_least
from tests.numerics.kernels.harness import every_isa, run_problem


def sums(images: int, rows: int, columns: int, pad: int) -> Pointwise:
    """Returns x * c0 + y for y that repeats along the images; channels (axis 1) lie together."""
    row = 4 * (columns + pad)
    shape = (images, columns, rows)
    layout = Layout(shape, (rows * row, 4, row))
    repeated = Layout(shape, (0, 4, 4 * columns))
    return Pointwise((layout, repeated), layout, add(multiply(operand(0), channel(0)), operand(1)), 1)


@every_isa
@at_least(30)
@given(
    images=st.integers(1, 3),
    rows=st.integers(1, 9),
    columns=st.sampled_from([1, 5, 16, 40]),
    pad=st.integers(0, 2),
    axes=st.sampled_from([(2,), (0, 2)]),
    parts=st.integers(1, 3),
)
def test_sums_are_the_same_row_by_row(
    isa: Isa, images: int, rows: int, columns: int, pad: int, axes: tuple[int, ...], parts: int
) -> None:
    problem = sums(1 if axes == (2,) else images, rows, columns, pad)
    random = np.random.default_rng(0)
    x = random.standard_normal(problem.output.shape).astype(np.float32)
    y = np.broadcast_to(random.standard_normal((1, columns, rows)).astype(np.float32), problem.output.shape)
    scale = random.standard_normal(columns).astype(np.float32)
    kernel = ByRows.of(PointwiseKernel(), axes, problem, isa)
    assert kernel is not None
    got = run_problem(kernel, problem, isa, [x, y], channels=[scale], parts=parts)
    np.testing.assert_allclose(got, references.pointwise(problem, [x, y], [scale]), rtol=1e-6, atol=1e-6)


@every_isa
@pytest.mark.parametrize("rows", [1, 4, 7])
def test_softmax_and_gathers_are_the_same_row_by_row(isa: Isa, rows: int) -> None:
    random = np.random.default_rng(rows)
    shape = (2, rows, 37)
    x = random.standard_normal(shape).astype(np.float32)
    shares = Statistics((dense(shape),), dense(shape), program=softmax(), axes=(2,), extents=shape)
    kernel = ByRows.of(StatisticsKernel(), (0, 1), shares, isa)
    assert kernel is not None
    powers = np.exp(x.astype(np.float64))
    np.testing.assert_allclose(
        run_problem(kernel, shares, isa, [x], parts=2), powers / powers.sum(axis=2, keepdims=True), rtol=2e-6
    )
    table, places = random.standard_normal((11, 37)).astype(np.float32), random.integers(-11, 11, (2, rows))
    picked = Gathering(
        (dense(table.shape), dense(places.shape, "int64")),
        dense(shape),
        data=(-1, -1, 1),
        indices=(0, 1, -1),
        picks=(0,),
    )
    kernel = ByRows.of(GatherKernel(), (0, 1), picked, isa)
    assert kernel is not None
    np.testing.assert_array_equal(run_problem(kernel, picked, isa, [table, places], parts=3), table[places])


def test_code_is_the_same_for_every_number_of_rows() -> None:
    isa = get_isa("x86-64-v4")
    codes = []
    for images, rows in ((2, 3), (5, 8)):
        problem = sums(images, rows, 40, 0)
        kernel = ByRows.of(PointwiseKernel(), (0, 2), problem, isa)
        assert kernel is not None
        codes.append(kernel.emit(problem, kernel.schedule, isa))
    assert codes[0].objects == codes[1].objects
    assert codes[0].numbers != codes[1].numbers


def test_rows_that_depend_on_each_other_are_none() -> None:
    shape = (2, 5, 7)
    shares = Statistics((dense(shape),), dense(shape), program=softmax(), axes=(2,), extents=shape)
    assert one_row(shares, (2,)) is None
    assert one_row(shares, (1,)) is not None
    assert one_row(sums(2, 3, 4, 0), (1,)) is None  # a vector of numbers belongs to each channel
    assert one_row(replace(sums(2, 3, 4, 0), channels=0, epilogue=operand(0)), (1,)) is not None
