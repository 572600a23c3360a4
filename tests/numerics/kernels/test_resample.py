"""Images of another size on every ISA table, against the definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler import expressions
from strop.compiler.isa import ISAS, Isa
from strop.compiler.kernels import references
from strop.compiler.kernels.contract import Resampling
from strop.compiler.kernels.resample import ResampleKernel
from strop.compiler.layouts import Halo, channels_last
from strop.compiler.link import check_closed
from strop.compiler.machine_code import generate
from tests.numerics.kernels.harness import every_isa, run_problem

KERNEL = ResampleKernel()

Places = tuple[tuple[int, int, float], ...]


@st.composite
def places(draw: st.DrawFn, size: int) -> Places:
    """Any table; or nearest neighbours of a whole factor, which are code of their own."""
    factor = draw(st.sampled_from([0, 0, 1, 2, 3]))
    if factor:
        return tuple((n // factor, n // factor, 0.0) for n in range(size * factor))
    inside = st.integers(0, size - 1)
    share = st.sampled_from([0.0, 0.25, 0.5, 0.9]) if draw(st.booleans()) else st.just(0.0)
    return tuple(draw(st.lists(st.tuples(inside, inside, share), min_size=1, max_size=7)))


@st.composite
def resizes(draw: st.DrawFn, *, channels: st.SearchStrategy[int]) -> Resampling:
    count, images = draw(channels), draw(st.integers(1, 2))
    height, width = (draw(st.integers(1, 5)) for _ in range(2))
    rows, columns = draw(places(height)), draw(places(width))
    gap = st.sampled_from([0, 4, 64])
    image = channels_last((images, count, height, width), pixel=draw(gap) + 4 * count)
    halo = Halo(*(draw(st.integers(0, 1)) for _ in range(4)))
    output = channels_last((images, count, len(rows), len(columns)), halo=halo, pixel=draw(gap) + 4 * count)
    return Resampling((image,), output, rows=rows, columns=columns)


def numbers(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@every_isa
@given(problem=resizes(channels=st.sampled_from([1, 3, 8, 16, 19, 32, 70, 130])), parts=st.integers(1, 3))
def test_a_resize_is_what_its_tables_say(isa: Isa, problem: Resampling, parts: int) -> None:
    assert not KERNEL.accepts(problem, isa)
    x = numbers(problem.inputs[0].shape)
    got = run_problem(KERNEL, problem, isa, [x], weights=np.empty(0, np.float32), parts=parts)
    np.testing.assert_allclose(got, references.resample(problem, [x]), rtol=1e-6, atol=1e-6)


@every_isa
@given(problem=resizes(channels=st.sampled_from([3, 19, 32])))
def test_what_is_added_to_a_resized_image_is_read_in_its_epilogue(isa: Isa, problem: Resampling) -> None:
    shape = problem.output.shape
    epilogue = expressions.maximum(
        expressions.constant(0),
        expressions.add(expressions.add(expressions.operand(0), expressions.operand(1)), expressions.channel(0)),
    )
    fused = Resampling(
        (*problem.inputs, channels_last(shape)), problem.output, epilogue, 1, rows=problem.rows, columns=problem.columns
    )
    x, y, c = numbers(problem.inputs[0].shape), numbers(shape, 1), numbers((shape[1],), 2)
    got = run_problem(KERNEL, fused, isa, [x, y], weights=np.empty(0, np.float32), channels=[c])
    np.testing.assert_allclose(got, references.resample(fused, [x, y], [c]), rtol=1e-5, atol=1e-5)


def test_its_code_is_closed_on_every_level() -> None:
    image, output = channels_last((1, 20, 3, 3)), channels_last((1, 20, 6, 2))
    rows = tuple((n // 2, min(2, n // 2 + 1), 0.5) for n in range(6))
    problem = Resampling((image,), output, rows=rows, columns=((0, 1, 0.25), (1, 2, 0.75)))
    for isa in ISAS:
        code = KERNEL.emit(problem, KERNEL.candidates(problem, isa)[0], isa)
        check_closed([generate(ir, isa) for ir in code.objects.values()])
