"""The average over the whole image on every ISA table, against its definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler import expressions
from strop.compiler.isa import Isa, get_isa
from strop.compiler.kernels import references
from strop.compiler.kernels.contract import Pool
from strop.compiler.kernels.global_average import GlobalAverageKernel
from strop.compiler.layouts import channels_last
from strop.compiler.link import check_closed
from strop.compiler.machine_code import generate
from tests.numerics.kernels.harness import every_isa, run_problem

KERNEL = GlobalAverageKernel()


def problem_of(images: int, channels: int, height: int, width: int, *, pixel: int = 0) -> Pool:
    image = channels_last((images, channels, height, width), pixel=4 * channels + pixel)
    return Pool((image,), channels_last((images, channels, 1, 1)), kind="average", kernel=(height, width))


@every_isa
@given(
    images=st.integers(1, 2),
    channels=st.sampled_from([1, 3, 16, 20, 33, 64, 130, 300]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    pixel=st.sampled_from([0, 4, 64]),
    parts=st.integers(1, 3),
)
def test_it_is_the_average(
    isa: Isa, images: int, channels: int, height: int, width: int, pixel: int, parts: int
) -> None:
    problem = problem_of(images, channels, height, width, pixel=pixel)
    assert KERNEL.accepts(problem, isa) == ""
    x = np.random.default_rng(1).standard_normal(problem.inputs[0].shape).astype(np.float32)
    got = run_problem(KERNEL, problem, isa, [x], parts=parts)
    np.testing.assert_allclose(got, references.pool(problem, [x]), rtol=1e-6, atol=1e-6)


@every_isa
def test_a_large_image_rounds_little(isa: Isa) -> None:
    problem = problem_of(1, 20, 112, 112)
    x = (100 + np.random.default_rng(1).standard_normal(problem.inputs[0].shape)).astype(np.float32)
    got = run_problem(KERNEL, problem, isa, [x])
    np.testing.assert_allclose(got, references.pool(problem, [x]), rtol=2e-6)


@every_isa
def test_its_epilogue_is_applied_and_nan_is_kept(isa: Isa) -> None:
    plain = problem_of(1, 37, 5, 4)
    shifted = expressions.add(expressions.operand(0), expressions.channel(0))
    epilogue = expressions.maximum(expressions.constant(0), shifted)
    problem = Pool(plain.inputs, plain.output, epilogue, 1, kind="average", kernel=plain.kernel)
    x = np.random.default_rng(1).standard_normal(problem.inputs[0].shape).astype(np.float32)
    x[0, 35, 4, 3] = np.nan
    bias = np.linspace(-0.1, 0.1, 37, dtype=np.float32)
    got = run_problem(KERNEL, problem, isa, [x], channels=[bias])
    np.testing.assert_allclose(got, references.pool(problem, [x], [bias]), rtol=1e-6, atol=1e-6)
    assert np.flatnonzero(np.isnan(got[0, :, 0, 0])).tolist() == [35]


def test_code_for_neon_needs_nothing_from_outside() -> None:
    isa, problem = get_isa("armv8.2+dotprod"), problem_of(1, 37, 5, 4)
    code = KERNEL.emit(problem, KERNEL.candidates(problem, isa)[0], isa)
    check_closed([generate(ir, isa) for ir in code.objects.values()])
