"""Products of two computed operands on every ISA table, against numpy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler.isa import Isa, get_isa
from strop.compiler.kernels import references
from strop.compiler.kernels.contract import MatrixProduct
from strop.compiler.kernels.matrix_product import MatrixProductKernel
from strop.compiler.layouts import Layout, dense
from tests.examples import at_least
from tests.numerics.kernels.harness import every_isa, run_problem

KERNEL = MatrixProductKernel()


@st.composite
def problems(draw: st.DrawFn) -> MatrixProduct:
    pairs = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    rows, inner = draw(st.integers(1, 80)), draw(st.integers(1, 40))
    columns = draw(st.sampled_from([1, 3, 16, 20, 32, 40, 65]))
    pad = draw(st.sampled_from([0, 5]))
    first = Layout((*pairs, rows, inner), dense((*pairs, rows, inner + pad)).strides)
    second = Layout((*pairs, inner, columns), dense((*pairs, inner, columns + pad)).strides)
    if draw(st.booleans()):  # the same matrix for all pairs
        second = Layout(second.shape, (0, 0, *second.strides[2:]))
    return MatrixProduct((first, second), Layout((*pairs, rows, columns), dense((*pairs, rows, columns + pad)).strides))


@every_isa
@at_least(40)
@given(problem=problems(), parts=st.integers(1, 3), which=st.integers(0, 1))
def test_products_are_what_their_definition_says(isa: Isa, problem: MatrixProduct, parts: int, which: int) -> None:
    random = np.random.default_rng(0)
    first = random.standard_normal(problem.inputs[0].shape).astype(np.float32)
    shape = tuple(n if step else 1 for n, step in zip(problem.inputs[1].shape, problem.inputs[1].strides, strict=True))
    second = np.broadcast_to(random.standard_normal(shape).astype(np.float32), problem.inputs[1].shape)
    candidates = KERNEL.candidates(problem, isa)
    schedule = candidates[which % len(candidates)]
    got = run_problem(KERNEL, problem, isa, [first, second], schedule=schedule, parts=parts)
    bound = references.matrix_product([np.abs(first), np.abs(second)])
    assert np.all(np.abs(got - references.matrix_product([first, second])) <= 1e-6 * bound + 1e-12)


def test_what_it_does_not_compute_is_refused_with_the_reason() -> None:
    turned = Layout((1, 1, 5, 6), (120, 120, 4, 20))
    problem = MatrixProduct((dense((1, 1, 4, 5)), turned), dense((1, 1, 4, 6)))
    assert "neighbours" in KERNEL.accepts(problem, get_isa("x86-64-v4"))
