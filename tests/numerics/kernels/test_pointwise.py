"""Expressions element by element, and copies between layouts, on every ISA table."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler import expressions
from strop.compiler.isa import Isa, get_isa
from strop.compiler.kernels import references
from strop.compiler.kernels.contract import Pointwise
from strop.compiler.kernels.copy import CopyKernel
from strop.compiler.kernels.pointwise import PointwiseKernel
from strop.compiler.layouts import Halo, Layout, channels_last, dense
from strop.compiler.link import check_closed
from strop.compiler.machine_code import generate
from tests.numerics.kernels.harness import every_isa, run_problem

EXTENTS = st.sampled_from([1, 2, 3, 4, 5, 8, 15, 16, 17, 21, 33])


def numbers(layout: Layout, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    if layout.dtype == "float32":
        return random.standard_normal(layout.shape).astype(np.float32)
    low, high = (0, 255) if layout.dtype == "uint8" else (-128, 127)
    return random.integers(low, high, layout.shape).astype(layout.dtype)


@st.composite
def layouts(draw: st.DrawFn, shape: tuple[int, ...], dtype: str) -> Layout:
    """Any order of axes in memory, with gaps; of images also channels last with a halo."""
    if len(shape) == 4 and draw(st.booleans()):
        halo = Halo(*(draw(st.integers(0, 1)) for _ in range(4)))
        item = np.dtype(dtype).itemsize
        return channels_last(shape, dtype, halo, pixel=item * (shape[1] + draw(st.sampled_from([0, 1, 16]))))
    order = draw(st.permutations(range(len(shape))))
    strides, step = [0] * len(shape), np.dtype(dtype).itemsize
    for axis in order:
        strides[axis] = step
        step *= shape[axis] + draw(st.sampled_from([0, 0, 0, 1]))
    return Layout(shape, tuple(strides), dtype)


@st.composite
def copies(draw: st.DrawFn) -> Pointwise:
    shape = tuple(draw(EXTENTS) for _ in range(draw(st.integers(2, 4))))
    while np.prod(shape) > 20000:
        shape = tuple(-(-extent // 2) for extent in shape)
    dtype = draw(st.sampled_from(["float32", "float32", "uint8", "int32"]))
    source, target = draw(layouts(shape, dtype)), draw(layouts(shape, dtype))
    return Pointwise((source,), target, expressions.operand(0, dtype))


@every_isa
@given(problem=copies(), parts=st.integers(1, 3))
def test_a_copy_holds_what_its_input_holds(isa: Isa, problem: Pointwise, parts: int) -> None:
    x = numbers(problem.inputs[0])
    for kernel in (CopyKernel(), PointwiseKernel()):
        if not kernel.accepts(problem, isa):
            np.testing.assert_array_equal(run_problem(kernel, problem, isa, [x], parts=parts, slack=0), x)


@every_isa
def test_images_of_every_few_channels_are_copied_both_ways(isa: Isa) -> None:
    for channels, gap, size in itertools.product((2, 3, 4, 20), (0, 4), ((5, 7), (6, 64))):
        shape = (2, channels, *size)
        last = channels_last(shape, halo=Halo(1, 1, 1, 1), pixel=4 * channels + gap)
        compact = channels_last(shape, pixel=4 * channels + gap)
        for source, target in (
            (dense(shape), last),
            (last, dense(shape)),
            (dense(shape), compact),
            (compact, dense(shape)),
        ):
            problem = Pointwise((source,), target)
            x = numbers(source)
            assert CopyKernel().accepts(problem, isa) == ""
            np.testing.assert_array_equal(run_problem(CopyKernel(), problem, isa, [x], parts=2, slack=0), x)


@every_isa
@given(channels=EXTENTS, height=EXTENTS, width=EXTENTS, back=st.booleans(), quantize=st.booleans())
def test_a_copy_applies_its_expression(
    isa: Isa, channels: int, height: int, width: int, back: bool, quantize: bool
) -> None:
    shape = (1, channels, height, width)
    scaled = expressions.multiply(expressions.operand(0), expressions.channel(1))
    shifted = expressions.add(expressions.channel(0), scaled)
    if quantize:
        shifted = expressions.cast(
            expressions.apply(
                "rint",
                expressions.minimum(expressions.constant(9), expressions.maximum(expressions.constant(0), shifted)),
            ),
            "uint8",
        )
    source, target = dense(shape), channels_last(shape, shifted.dtype)
    if back:
        source, target = channels_last(shape), dense(shape, shifted.dtype)
    problem = Pointwise((source,), target, shifted, 2)
    x = numbers(source)
    vectors = [numbers(dense((channels,)), 1), numbers(dense((channels,)), 2)]
    want = references.pointwise(problem, [x], vectors)
    for kernel in (CopyKernel(), PointwiseKernel()):
        if not kernel.accepts(problem, isa):
            got = run_problem(kernel, problem, isa, [x], channels=vectors, slack=0)
            np.testing.assert_array_equal(got, want)


@every_isa
@given(
    shape=st.lists(EXTENTS, min_size=1, max_size=4).map(tuple).filter(lambda shape: np.prod(shape) < 20000),
    data=st.data(),
    parts=st.integers(1, 3),
)
def test_an_expression_broadcasts(isa: Isa, shape: tuple[int, ...], data: st.DataObject, parts: int) -> None:
    target = data.draw(layouts(shape, "float32"))
    inputs = []
    for _ in range(3):
        own = tuple(data.draw(st.sampled_from([extent, extent, 1])) for extent in shape)
        inputs.append(data.draw(layouts(own[data.draw(st.integers(0, len(own) - 1)) :], "float32")))
    a, b, c = (expressions.operand(index) for index in range(3))
    tree = expressions.maximum(expressions.add(a, b), expressions.apply("subtract", c, a))
    problem = Pointwise(tuple(inputs), target, tree)
    arrays = [numbers(layout, seed) for seed, layout in enumerate(inputs)]
    assert PointwiseKernel().accepts(problem, isa) == ""
    got = run_problem(PointwiseKernel(), problem, isa, arrays, parts=parts, slack=0)
    np.testing.assert_array_equal(got, references.pointwise(problem, arrays))


DTYPES = ("float32", "int64", "int32", "uint8", "int8", "bool")


@every_isa
@given(
    source=st.sampled_from(DTYPES),
    target=st.sampled_from(DTYPES),
    shape=st.tuples(EXTENTS, EXTENTS),
    data=st.data(),
    parts=st.integers(1, 2),
)
def test_dtypes_are_cast_and_compared(
    isa: Isa, source: str, target: str, shape: tuple[int, int], data: st.DataObject, parts: int
) -> None:
    a, b = expressions.operand(0, source), expressions.operand(1, source)
    small = expressions.cast(a, target)
    tree = small
    if source != "bool":
        chosen = expressions.apply("less", a, b)
        tree = expressions.apply("where", chosen, small, expressions.cast(expressions.constant(1), target))
    inputs = tuple(data.draw(layouts(shape, source)) for _ in range(2))
    problem = Pointwise(inputs, data.draw(layouts(shape, target)), tree)
    random = np.random.default_rng(3)
    low = 0 if "uint8" in (source, target) else -100
    arrays = [random.integers(low, 100, shape).astype(source) for _ in inputs]
    assert PointwiseKernel().accepts(problem, isa) == ""
    got = run_problem(PointwiseKernel(), problem, isa, arrays, parts=parts, slack=0)
    np.testing.assert_array_equal(got, references.pointwise(problem, arrays))


@every_isa
def test_long_rows_are_divided_and_written_in_place(isa: Isa) -> None:
    layout = dense((3, 5000))
    tree = expressions.add(expressions.operand(1), expressions.maximum(expressions.constant(0), expressions.operand(0)))
    problem = Pointwise((layout, layout), layout, tree)
    split = PointwiseKernel().split(problem, PointwiseKernel().candidates(problem, isa)[0], isa)
    assert split.units > 3
    arrays = [numbers(layout, 1), numbers(layout, 2)]
    want = np.maximum(arrays[0], 0) + arrays[1]
    for parts in (1, 2, 5):
        got = run_problem(PointwiseKernel(), problem, isa, arrays, parts=parts, in_place=1, slack=0)
        np.testing.assert_array_equal(got, want)


@every_isa
def test_nan_passes_through(isa: Isa) -> None:
    layout = channels_last((1, 20, 3, 3))
    problem = Pointwise((layout, layout), layout, expressions.maximum(expressions.operand(0), expressions.operand(1)))
    arrays = [numbers(layout, 1), numbers(layout, 2)]
    arrays[0][0, 3], arrays[1][0, 18] = np.nan, np.nan
    got = run_problem(PointwiseKernel(), problem, isa, arrays)
    np.testing.assert_array_equal(got, np.maximum(*arrays))


@pytest.mark.parametrize("kernel", [PointwiseKernel(), CopyKernel()], ids=lambda kernel: kernel.family)
def test_code_for_neon_needs_nothing_from_outside(kernel: PointwiseKernel | CopyKernel) -> None:
    isa, shape = get_isa("armv8.2+dotprod"), (1, 3, 9, 7)
    quantized = expressions.cast(expressions.apply("rint", expressions.operand(0)), "uint8")
    problem = Pointwise((dense(shape),), channels_last(shape, "uint8"), quantized)
    assert kernel.accepts(problem, isa) == ""
    code = kernel.emit(problem, kernel.candidates(problem, isa)[0], isa)  # type: ignore[arg-type]
    check_closed([generate(ir, isa) for ir in code.objects.values()])
