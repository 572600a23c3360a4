"""Expressions mean the same in numpy and in machine code, bit for bit, NaN and infinity included."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from strop.compiler import expressions as ex
from strop.compiler.emit import Module
from strop.compiler.expressions import Expression
from strop.compiler.isa import Isa
from tests.numerics.kernels.harness import Buffer, every_isa, run_kernel

COUNT = 32  # floats an operand: whole vectors of every ISA
BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum"]
UNARY = ["rint", "floor", "ceil", "negative", "absolute", "sqrt"]
COMPARISONS = ["equal", "less", "less_or_equal"]
CONSTANTS = [0.0, -1.5, 6.0, 0.1, 1e30, -0.0, 8388609.0]


def choose(comparison: str, a: Expression, b: Expression, c: Expression) -> Expression:
    return ex.apply("where", ex.apply(comparison, a, b), c, a)


def trees(depth: int = 3) -> st.SearchStrategy[Expression]:
    leaf = st.one_of(
        st.integers(0, 1).map(ex.operand), st.just(ex.channel(0)), st.sampled_from(CONSTANTS).map(ex.constant)
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.builds(ex.apply, st.sampled_from(BINARY), inner, inner),
            st.builds(ex.apply, st.sampled_from(UNARY), inner),
            st.builds(choose, st.sampled_from(COMPARISONS), inner, inner, inner),
        ),
        max_leaves=2**depth,
    )


def operands(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    a, b, c = (generator.standard_normal(COUNT).astype(np.float32) * 10.0**k for k in (0, 3, 1))
    a[:6] = [np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5]
    b[:9] = [1.0, np.nan, 2.5, -0.0, 0.0, -0.5, 8388607.5, 1e-30, -3e9]
    return a, b, c


def compiled(expression: Expression, isa: Isa, arrays: list[np.ndarray]) -> np.ndarray:
    module = Module(isa)
    f = module.function("expression", ["ptr"])
    output, *inputs = (f.load("ptr", f.arguments[0], 8 * i) for i in range(4))
    for at in range(0, 4 * COUNT, isa.vector_bytes):
        kinds = [
            isa.integers if ex.operand(0, "int32") in ex.leaves(expression) else isa.vector,
            isa.vector,
            isa.vector,
        ]
        a, b, c = (f.load(kind, pointer, at) for kind, pointer in zip(kinds, inputs, strict=True))
        result = ex.emit_expression(f, expression, [a, b], [c], isa.lanes)
        if expression.dtype in ("uint8", "int8"):
            result = f.convert("sext" if expression.dtype == "int8" else "zext", result, isa.integers)
        f.store(result, output, at)
    f.ret()
    written = Buffer(np.zeros(4 * COUNT, np.uint8), written=np.ones(4 * COUNT, bool))
    (data,) = run_kernel({"expression": module.text()}, isa, "expression", [written, *arrays])
    return data.view(np.float32 if expression.dtype == "float32" else np.int32)


def test_zeros_of_either_sign_are_two_constants() -> None:
    assert ex.constant(0.0) != ex.constant(-0.0)
    assert np.signbit(ex.evaluate(ex.constant(-0.0), [])) and not np.signbit(ex.evaluate(ex.constant(0.0), []))


@every_isa
@example(
    expression=ex.apply(
        "divide", ex.operand(0), choose("equal", ex.constant(0.0), ex.constant(0.0), ex.constant(-0.0))
    ),
    seed=0,
)
@given(expression=trees(), seed=st.integers(0, 5))
def test_an_expression_gives_numpys_bits(isa: Isa, expression: Expression, seed: int) -> None:
    a, b, c = operands(seed)
    with np.errstate(all="ignore"):
        wanted = np.broadcast_to(ex.evaluate(expression, [a, b], [c]), COUNT)
    got = compiled(expression, isa, [a, b, c])
    # Zeros of either sign are equal for numpy too: which one max(-0, 0) gives is nobody's promise.
    np.testing.assert_array_equal(got, wanted, err_msg=str(expression))


@every_isa
@given(seed=st.integers(0, 100), zero=st.sampled_from([0, 3, 128, 255]), relu=st.booleans())
def test_requantization_gives_the_same_integers_everywhere(isa: Isa, seed: int, zero: int, relu: bool) -> None:
    generator = np.random.default_rng(seed)
    accumulator = generator.integers(-(2**24), 2**24, COUNT).astype(np.int32)
    accumulator[:4] = [2**31 - 1, -(2**31), 0, 1]
    scale = np.exp(generator.uniform(-18, -8, COUNT)).astype(np.float32)
    scale[4:8] = 0.5  # ties
    scale[0:2] = 1e6  # far beyond 32 bits
    expression = ex.requantize(ex.operand(0, "int32"), ex.channel(0), zero, zero if relu else 0, 255, "uint8")
    got = compiled(expression, isa, [accumulator.view(np.float32), scale, scale])
    exact = np.rint(accumulator.astype(np.float32) * scale) + np.float32(zero)
    np.testing.assert_array_equal(got, np.clip(exact, zero if relu else 0, 255).astype(np.int32))


def test_an_expression_prints_as_it_is_built() -> None:
    relu = ex.maximum(ex.constant(0), ex.add(ex.operand(0), ex.channel(0)))
    assert str(relu) == "maximum(0, add(x0, c0))"
    assert ex.operands(relu) == [0] and ex.channels(relu) == [0]


def test_substituting_a_leaf_keeps_the_rest() -> None:
    square = ex.multiply(ex.operand(0), ex.operand(0))
    shifted = ex.substitute(square, lambda leaf: ex.add(leaf, ex.channel(1)) if leaf.operation == "operand" else None)
    assert str(shifted) == "multiply(add(x0, c1), add(x0, c1))"


def test_a_bias_is_split_off_where_the_accumulator_is_read_through_one_sum_only() -> None:
    biased = ex.add(ex.channel(2), ex.operand(0))
    both = ex.multiply(biased, ex.maximum(biased, ex.operand(1)))
    bias, rest = ex.split_bias(both)
    assert bias == 2
    operand = ex.operand
    assert rest == ex.multiply(operand(0), ex.maximum(operand(0), operand(1)))
    scaled = ex.add(ex.multiply(operand(0), ex.channel(0)), ex.channel(1))
    for other in (
        scaled,
        ex.IDENTITY,
        ex.add(both, operand(0)),
        ex.add(operand(0), operand(1)),
    ):
        assert ex.split_bias(other) == (None, other)
