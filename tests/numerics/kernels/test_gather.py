"""Elements at places named by others, on every ISA table, against the definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler.expressions import operand
from strop.compiler.isa import ISAS, Isa
from strop.compiler.kernels import references
from strop.compiler.kernels.contract import Gathering
from strop.compiler.kernels.gather import GatherKernel
from strop.compiler.layouts import Layout, dense
from strop.compiler.link import check_closed
from strop.compiler.machine_code import generate
from tests.numerics.kernels.harness import every_isa, run_problem

KERNEL = GatherKernel()
TYPES = ("uint8", "float16", "float32", "int64")


def turned(draw: st.DrawFn, shape: tuple[int, ...], dtype: str) -> Layout:
    """A layout whose axes are stored in some order, perhaps with gaps."""
    order = draw(st.permutations(range(len(shape))))
    plain = dense(tuple(shape[axis] for axis in order), dtype)
    gap = draw(st.sampled_from([1, 1, 2]))
    strides = [0] * len(shape)
    for axis, stride in zip(order, plain.strides, strict=True):
        strides[axis] = stride * gap
    return Layout(shape, tuple(strides), dtype)


@st.composite
def gathers(draw: st.DrawFn) -> Gathering:
    """Gather, GatherElements or GatherND of data of any type and layout."""
    dtype, kind = draw(st.sampled_from(TYPES)), draw(st.sampled_from(["rows", "elements", "tuples"]))
    extent = st.sampled_from([1, 2, 3, 5, 17, 40])
    data = tuple(draw(extent) for _ in range(draw(st.integers(1, 3))))
    axis = draw(st.integers(0, len(data) - 1))
    few = st.integers(1, 4)
    if kind == "rows":
        named = tuple(draw(st.integers(1, 20)) for _ in range(draw(st.integers(0, 2))))
        before, behind = tuple(range(axis)), tuple(range(axis + 1, len(data)))
        own = (*before, *(-1 for _ in named), *behind)
        at = (*(-1 for _ in before), *range(len(named)), *(-1 for _ in behind))
        shape = (*data[:axis], *named, *data[axis + 1 :])
        picks: tuple[int, ...] = (axis,)
    elif kind == "elements":
        named = tuple(draw(st.integers(1, 300 if i == axis else size)) for i, size in enumerate(data))
        shape, at, picks = named, tuple(range(len(data))), (axis,)
        own = tuple(-1 if i == axis else i for i in range(len(data)))
    else:
        batch = draw(st.integers(0, axis))
        count = draw(st.integers(1, len(data) - batch))
        own = (*range(batch), -1, *range(batch + count, len(data)))
        at = (*range(batch + 1), *(-1 for _ in range(batch + count, len(data))))
        named = (*data[:batch], draw(few), count)
        shape = (*named[:-1], *data[batch + count :])
        picks = tuple(range(batch, batch + count))
    inputs = turned(draw, data, dtype), turned(draw, named, draw(st.sampled_from(["int32", "int64"])))
    output = turned(draw, shape, dtype)
    return Gathering(
        inputs, output, operand(0, dtype), data=own, indices=at, picks=picks, tuples=kind == "tuples"
    )  # fmt: skip


@every_isa
@given(problem=gathers(), parts=st.integers(1, 3), seed=st.integers(0, 9))
def test_each_element_comes_from_where_its_number_says(isa: Isa, problem: Gathering, parts: int, seed: int) -> None:
    assert not KERNEL.accepts(problem, isa)
    random = np.random.default_rng(seed)
    data, indices = problem.inputs
    x = random.integers(0, 100, data.shape).astype(data.dtype)
    smallest = min(data.shape[axis] for axis in problem.picks)
    # Out of range is the model's mistake: the nearest in range is taken, and nothing else is touched.
    places = random.integers(-smallest - 1, smallest + 1, indices.shape).astype(indices.dtype)
    got = run_problem(KERNEL, problem, isa, [x, places], parts=parts)
    np.testing.assert_array_equal(got, references.gather(problem, [x, places]))


def test_indices_are_whole_numbers_of_32_or_64_bits() -> None:
    plain = dense((3,))
    problem = Gathering((plain, dense((2,), "float32")), dense((2,)), data=(-1,), indices=(0,), picks=(0,))
    assert KERNEL.accepts(problem, ISAS[0]) == "indices of float32"


def test_its_code_is_closed_on_every_level() -> None:
    inputs = dense((50, 70)), dense((4,), "int64")
    problem = Gathering(inputs, dense((4, 70)), data=(-1, 1), indices=(0, -1), picks=(0,))
    for isa in ISAS:
        code = KERNEL.emit(problem, KERNEL.candidates(problem, isa)[0], isa)
        check_closed([generate(ir, isa) for ir in code.objects.values()])
