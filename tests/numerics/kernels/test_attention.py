"""Attention on every ISA table, against its definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler.isa import Isa, get_isa
from strop.compiler.kernels import references
from strop.compiler.kernels.attention import AttentionKernel
from strop.compiler.kernels.contract import Attention
from strop.compiler.layouts import Layout, dense
from tests.examples import at_least
from tests.numerics.kernels.harness import every_isa, run_problem

KERNEL = AttentionKernel()


def heads(batch: int, heads: int, rows: int, channels: int, pad: int = 0) -> Layout:
    """Returns the layout of heads side by side in rows, which lie `pad` numbers further apart than they must."""
    row = 4 * (heads * channels + pad)
    return Layout((batch, heads, rows, channels), (rows * row, 4 * channels, row, 4))


@st.composite
def problems(draw: st.DrawFn) -> Attention:
    batch, count = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    rows, keys = draw(st.integers(1, 70)), draw(st.integers(1, 40))
    depth, width = draw(st.sampled_from([1, 4, 7, 16, 20, 32])), draw(st.sampled_from([1, 5, 16, 24, 32, 40]))
    pad = draw(st.sampled_from([0, 3]))
    query, key, value = heads(batch, count, rows, depth, pad), heads(batch, count, keys, depth, pad), None
    if draw(st.booleans()):
        value = heads(batch, count, keys, width)
    else:
        value = Layout((batch, count, keys, width), (*dense((batch, count, width, keys)).strides[:2], 4, 4 * keys))
    if draw(st.booleans()):
        query = dense(query.shape)
    output = Layout((batch, rows, count, width), dense((batch, rows, count, width + pad)).strides)
    inputs: tuple[Layout, ...] = (query, key, value)
    kind = draw(st.sampled_from(["none", "keys", "rows", "all", "one"]))
    shape = (batch, count, rows, keys)
    masks = {
        "keys": Layout(shape, (4 * keys, 0, 0, 4)),
        "rows": Layout(shape, (0, 0, 4 * keys, 4)),
        "all": dense(shape),
        "one": Layout(shape, (0, 0, 0, 0)),
    }
    if kind != "none":
        inputs = (*inputs, masks[kind])
    return Attention(inputs, output, scale=draw(st.sampled_from([1.0, 0.125])))


def arrays(problem: Attention, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    found = [random.standard_normal(layout.shape).astype(np.float32) for layout in problem.inputs[:3]]
    for layout in problem.inputs[3:]:  # equal where the layout repeats
        shape = tuple(n if step else 1 for n, step in zip(layout.shape, layout.strides, strict=True))
        left_out = np.where(random.random(shape) < 0.3, np.float32(-10000), np.float32(0))
        left_out[..., 0] = 0.5  # where all are left out, float32 keeps little of the scores
        found.append(np.broadcast_to(left_out, layout.shape))
    return found


def test_schedules_and_symbols_do_not_depend_on_lengths_but_for_the_tile() -> None:
    isa = get_isa("x86-64-v4")
    for which, lengths in ((0, (13 * 8, 13 * 9)), (1, (2, 40, 197))):
        codes = []
        for rows in lengths:
            layout = heads(1, 2, rows, 32)
            problem = Attention((layout, layout, layout), dense((1, rows, 2, 32)), scale=0.5)
            codes.append(KERNEL.emit(problem, KERNEL.candidates(problem, isa)[which], isa))
        assert all(code.objects == codes[0].objects for code in codes)
        assert len({tuple(code.numbers.values()) for code in codes}) == len(codes)


@every_isa
@at_least(40)
@given(problem=problems(), parts=st.integers(1, 3), for_any=st.booleans())
def test_attention_is_what_its_definition_says(isa: Isa, problem: Attention, parts: int, for_any: bool) -> None:
    inputs = arrays(problem)
    schedule = KERNEL.candidates(problem, isa)[for_any]
    got = run_problem(KERNEL, problem, isa, inputs, schedule=schedule, parts=parts)
    np.testing.assert_allclose(got, references.attention(problem, inputs), rtol=3e-6, atol=3e-6)


@every_isa
@pytest.mark.parametrize("rows", [1, 16, 17, 197])
def test_attention_of_vision_transformers(isa: Isa, rows: int) -> None:
    layout = Layout((1, 3, rows, 64), (rows * 2304, 256, 2304, 4))
    problem = Attention((layout, layout, layout), dense((1, rows, 3, 64)), scale=0.125)
    inputs = arrays(problem)
    whole = run_problem(KERNEL, problem, isa, inputs)
    np.testing.assert_allclose(whole, references.attention(problem, inputs), rtol=3e-6, atol=3e-6)
    np.testing.assert_array_equal(run_problem(KERNEL, problem, isa, inputs, parts=3), whole)


@every_isa
def test_a_row_with_nan_or_nothing_left_is_nan_and_no_other(isa: Isa) -> None:
    layout = heads(1, 2, 9, 16)
    mask = Layout((1, 2, 9, 9), (0, 0, 36, 4))
    problem = Attention((layout, layout, layout, mask), dense((1, 9, 2, 16)), scale=0.25)
    inputs = arrays(problem)
    inputs[0] = inputs[0].copy()
    inputs[0][0, 1, 4] = np.nan
    inputs[3] = np.zeros(mask.shape, np.float32)
    inputs[3][0, :, 7] = -np.inf
    inputs[3][0, :, 3, 2:] = -np.inf
    got = run_problem(KERNEL, problem, isa, inputs)
    bad = np.zeros((1, 9, 2, 16), bool)
    bad[0, 4, 1], bad[0, 7] = True, True
    np.testing.assert_array_equal(np.isnan(got), bad)
    with np.errstate(invalid="ignore"):
        expected = references.attention(problem, inputs)
    np.testing.assert_allclose(got[~bad], expected[~bad], rtol=3e-6, atol=3e-6)


def test_what_it_does_not_compute_is_refused_with_the_reason() -> None:
    isa = get_isa("x86-64-v4")
    layout = heads(1, 2, 9, 16)
    problem = Attention((layout, layout, layout), dense((1, 9, 2, 16)))
    turned = replace(layout, strides=(1152, 576, 4, 36))
    assert KERNEL.accepts(problem, isa) == ""
    assert "keys" in KERNEL.accepts(replace(problem, inputs=(layout, turned, layout)), isa)
    assert "float32" in KERNEL.accepts(replace(problem, output=replace(problem.output, dtype="int32")), isa)
