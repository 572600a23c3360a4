"""Reductions and normalizations over any axes and layouts, on every ISA table, against float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler import expressions as ex
from strop.compiler import statistics
from strop.compiler.isa import Isa
from strop.compiler.kernels import references
from strop.compiler.kernels.contract import Place, Statistics
from strop.compiler.kernels.place import PlaceKernel
from strop.compiler.kernels.statistics import StatisticsKernel
from strop.compiler.layouts import Layout, channels_last, dense
from tests.numerics.kernels.harness import every_isa, run_problem
from tests.numerics.kernels.test_pointwise import EXTENTS, layouts, numbers

KERNEL = StatisticsKernel()
NORMALIZATIONS = (
    lambda count: statistics.standardization(count, 1e-3),
    lambda count: statistics.root_mean_square(count, 1e-3),
    lambda count: statistics.unit_norm(1),
    lambda count: statistics.unit_norm(2),
    lambda count: statistics.softmax(),
    lambda count: statistics.log_softmax(),
)


def check(problem: Statistics, isa: Isa, arrays: list[np.ndarray], vectors: list[np.ndarray], parts: int = 1) -> None:
    assert KERNEL.accepts(problem, isa) == ""
    want = references.statistics(problem, arrays, vectors)
    got = run_problem(KERNEL, problem, isa, arrays, channels=vectors, parts=parts, slack=0)
    np.testing.assert_allclose(got, want, rtol=3e-5, atol=3e-6 * max(1.0, float(np.abs(want).max())))


@st.composite
def problems(draw: st.DrawFn) -> Statistics:
    shape = tuple(draw(EXTENTS) for _ in range(draw(st.integers(2, 4))))
    while np.prod(shape) > 10000:
        shape = tuple(-(-extent // 2) for extent in shape)
    rank = len(shape)
    axes = tuple(sorted(draw(st.sets(st.integers(0, rank - 1), min_size=1))))
    count = int(np.prod([shape[axis] for axis in axes]))
    sources = [draw(layouts(shape, "float32"))]
    prologue = ex.operand(0)
    if draw(st.booleans()):
        own = tuple(draw(st.sampled_from([extent, 1])) for extent in shape)
        sources.append(draw(layouts(own, "float32")))
        prologue = ex.add(prologue, ex.operand(1))
    if draw(st.booleans()):
        program = statistics.reduction(draw(st.sampled_from(statistics.REDUCTIONS)), count)
        if program.name == "LogSum":
            prologue = ex.apply("absolute", prologue)
        result = tuple(1 if axis in axes else extent for axis, extent in enumerate(shape))
    else:
        program = draw(st.sampled_from(NORMALIZATIONS))(count)
        result = shape
    output = draw(layouts(result, "float32"))
    epilogue, channels = ex.operand(0), 0
    if draw(st.booleans()):
        sources.append(draw(layouts(result, "float32")))
        epilogue = ex.add(ex.multiply(epilogue, ex.channel(0)), ex.operand(len(sources) - 1))
        channels = 1
    return Statistics(
        tuple(sources),
        output,
        epilogue,
        channels,
        program=program,
        axes=axes,
        extents=shape,
        prologue=prologue,
    )


@every_isa
@given(problem=problems(), parts=st.integers(1, 3))
def test_statistics_of_any_axes_and_layouts(isa: Isa, problem: Statistics, parts: int) -> None:
    arrays = [numbers(layout, seed) for seed, layout in enumerate(problem.inputs)]
    if problem.program.name == "Prod":
        arrays = [(1 if place == 0 else 0) + array / 16 for place, array in enumerate(arrays)]  # no product overflows
    vectors = [numbers(dense((problem.output.shape[1],)), 9)] * problem.channels
    check(problem, isa, arrays, vectors, parts)


@every_isa
@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("last", [False, True])
def test_groups_of_channels_are_standardized_by_themselves(isa: Isa, images: int, last: bool) -> None:
    shape = (images, 24, 5, 7)
    layout = channels_last(shape) if last else dense(shape)
    for groups in (1, 3, 6, 24):
        problem = Statistics(
            (layout,),
            layout,
            ex.add(ex.multiply(ex.operand(0), ex.channel(0)), ex.channel(1)),
            2,
            program=statistics.standardization(24 // groups * 35, 1e-5),
            axes=(1, 2, 3),
            extents=shape,
            groups=groups,
        )
        check(problem, isa, [numbers(layout)], [numbers(dense((24,)), seed) for seed in (1, 2)], parts=2)


@every_isa
@pytest.mark.parametrize("length", [1, 3, 64, 100, 384, 1000])
def test_rows_with_a_residual_are_normalized_in_place(isa: Isa, length: int) -> None:
    layout = dense((5, length))
    for program in (statistics.standardization(length, 1e-6), statistics.softmax()):
        problem = Statistics(
            (layout, layout),
            layout,
            program=program,
            axes=(1,),
            extents=layout.shape,
            prologue=ex.add(ex.operand(0), ex.operand(1)),
        )
        arrays = [numbers(layout, 1), numbers(layout, 2)]
        want = references.statistics(problem, arrays)
        got = run_problem(KERNEL, problem, isa, arrays, in_place=1, parts=2, slack=0)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@every_isa
def test_long_sums_round_little(isa: Isa) -> None:
    for layout, axes in (
        (dense((2, 100000)), (1,)),
        (dense((50000, 3)), (0,)),
        (channels_last((1, 20, 150, 150)), (2, 3)),
    ):
        count = int(np.prod([layout.shape[axis] for axis in axes]))
        result = dense(tuple(1 if axis in axes else extent for axis, extent in enumerate(layout.shape)))
        problem = Statistics(
            (layout,), result, program=statistics.reduction("Mean", count), axes=axes, extents=layout.shape
        )
        x = (100 + numbers(layout)).astype(np.float32)
        got = run_problem(KERNEL, problem, isa, [x])
        np.testing.assert_allclose(got, references.statistics(problem, [x]), rtol=2e-6)


@every_isa
def test_special_numbers_go_through(isa: Isa) -> None:
    layout = dense((6, 37))
    x = numbers(layout)
    x[0, 3], x[1, 36], x[2, 5], x[3] = np.nan, np.inf, -np.inf, -np.inf
    x[4, :36] = -np.inf
    for name in ("Max", "Min", "Sum", "LogSumExp"):
        problem = Statistics(
            (layout,), dense((6, 1)), program=statistics.reduction(name, 37), axes=(1,), extents=layout.shape
        )
        with np.errstate(all="ignore"):
            want = references.statistics(problem, [x])
        np.testing.assert_allclose(run_problem(KERNEL, problem, isa, [x]), want, rtol=1e-5, err_msg=name)
    problem = Statistics((layout,), layout, program=statistics.softmax(), axes=(1,), extents=layout.shape)
    got = run_problem(KERNEL, problem, isa, [x])
    assert np.isnan(got[[0, 1, 3]]).any(axis=1).all()
    np.testing.assert_array_equal(got[4], np.eye(37)[36])
    assert got[2, 5] == 0


@every_isa
@given(
    shape=st.lists(EXTENTS, min_size=2, max_size=3).map(tuple).filter(lambda shape: np.prod(shape) < 10000),
    data=st.data(),
    largest=st.booleans(),
    last=st.booleans(),
    parts=st.integers(1, 3),
)
def test_places_of_extremes(
    isa: Isa, shape: tuple[int, ...], data: st.DataObject, largest: bool, last: bool, parts: int
) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    source: Layout = data.draw(layouts(shape, "float32"))
    result = tuple(1 if each == axis else extent for each, extent in enumerate(shape))
    problem = Place((source,), data.draw(layouts(result, "int64")), axis=axis, largest=largest, last=last)
    x = np.rint(numbers(source) * data.draw(st.sampled_from([0.3, 2.0, 100.0]))).astype(np.float32)
    got = run_problem(PlaceKernel(), problem, isa, [x], parts=parts, slack=0)
    np.testing.assert_array_equal(got, references.place(problem, x))
