"""Shorter arithmetic for quantized results: the same numbers but for a step where they lie between two."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler.expressions import (
    Expression,
    add,
    apply,
    cast,
    channel,
    constant,
    evaluate,
    flops,
    maximum,
    minimum,
    multiply,
    operand,
    requantize,
)
from strop.compiler.requantization import simplified

TOTAL = cast(operand(0, "int32"), "float32")
STEPS = st.floats(0.01, 2.0)


def quantized(value: Expression, scale: float, zero: int, dtype: str = "uint8") -> Expression:
    limits = np.iinfo(dtype)
    bounded = minimum(
        constant(limits.max - zero), maximum(constant(limits.min - zero), apply("divide", value, constant(scale)))
    )
    return cast(add(apply("rint", bounded), constant(zero)), dtype)


def real(value: Expression, scale: float, zero: int) -> Expression:
    return multiply(apply("subtract", cast(value, "float32"), constant(zero)), constant(scale))


@st.composite
def epilogues(draw: st.DrawFn) -> Expression:
    """Draws what stands behind convolutions: bias, bounds, residual sums, a second rounding, an activation."""
    value = multiply(TOTAL, channel(0))
    if draw(st.booleans()):
        value = add(value, channel(1))
    if draw(st.booleans()):
        value = maximum(constant(draw(st.sampled_from([0.0, -1.0]))), value)
    if draw(st.booleans()):
        value = minimum(constant(6), value)
    if draw(st.booleans()):
        zero = draw(st.sampled_from([0, 17, 128]))
        value = real(quantized(value, draw(STEPS), zero), draw(STEPS), zero)
    if draw(st.booleans()):
        other = draw(st.sampled_from([operand(1, "uint8"), None]))
        value = add(value, real(other, draw(STEPS), draw(st.sampled_from([0, 3]))) if other else channel(1))
    if draw(st.booleans()):
        value = draw(st.sampled_from([lambda e: maximum(constant(0), e), lambda e: apply("silu", e)]))(value)
    if draw(st.booleans()):
        value = multiply(value, constant(draw(st.sampled_from([-0.5, 0.25, 3.0]))))
    dtype = draw(st.sampled_from(["uint8", "int8"]))
    return quantized(value, draw(STEPS), draw(st.sampled_from([0, 5, 100])), dtype)


@given(epilogue=epilogues(), seed=st.integers(0, 100))
def test_results_are_the_same_but_for_a_step(epilogue: Expression, seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors = [random.uniform(0.001, 0.01, 9).astype(np.float32), random.normal(size=9).astype(np.float32)]
    arrays = [random.integers(-3000, 3000, (400, 9)).astype(np.int32), random.integers(0, 256, (400, 9), np.uint8)]
    shorter, kept = simplified(epilogue, vectors)
    assert shorter.dtype == epilogue.dtype
    assert flops(shorter) <= flops(epilogue)
    expected = evaluate(epilogue, arrays, vectors).astype(int)
    got = evaluate(shorter, arrays, list(kept)).astype(int)
    assert np.max(np.abs(got - expected)) <= 1
    assert np.mean(got != expected) < 0.01


def test_a_bounded_activation_costs_nothing_behind_a_requantization() -> None:
    clipped = minimum(constant(6), maximum(constant(0), multiply(TOTAL, channel(0))))
    shorter, (factors,) = simplified(quantized(clipped, 0.02, 0), [np.array([0.5], np.float32)])
    assert str(shorter) == "to_uint8(rint(minimum(255, maximum(0, multiply(to_float32(x0), c0)))))"
    assert factors == pytest.approx(25.0)


def test_a_number_that_was_quantized_on_the_way_is_still_rounded() -> None:
    inner = quantized(multiply(TOTAL, channel(0)), 0.1, 100)
    shorter, _ = simplified(
        quantized(add(real(inner, 0.1, 100), real(operand(1, "uint8"), 0.2, 0)), 0.4, 0), [np.array([1.0], np.float32)]
    )
    text = "add(multiply(rint(minimum(155, maximum(-100, multiply(to_float32(x0), c0)))), 0.25), "
    assert text + "multiply(to_float32(x1), 0.5))" in str(shorter)


def test_what_could_wrap_round_is_left() -> None:
    unbounded = cast(add(apply("rint", multiply(TOTAL, channel(0))), constant(3)), "uint8")
    epilogue = quantized(real(unbounded, 0.5, 3), 0.5, 0)
    shorter, _ = simplified(epilogue, [np.array([1.0], np.float32)])
    assert "to_uint8(add(rint(multiply(to_float32(x0), c0)), 3))" in str(shorter)


def test_a_plain_requantization_is_what_it_was() -> None:
    epilogue = requantize(operand(0, "int32"), channel(0), 7, 0, 255, "uint8")
    shorter, kept = simplified(epilogue, [np.array([0.5], np.float32)])
    assert shorter == epilogue
    assert kept[0].tolist() == [0.5]


def test_an_activation_that_is_rounded_at_once_need_not_be_exact() -> None:
    outside = quantized(apply("silu", multiply(TOTAL, channel(0))), 0.05, 14)
    inside = quantized(add(apply("silu", multiply(TOTAL, channel(0))), operand(1)), 0.05, 14)
    factors = [np.array([0.5], np.float32)]
    assert "multiply(coarse_silu(multiply(to_float32(x0), c0)), 20)" in str(simplified(outside, factors)[0])
    assert "coarse" not in str(simplified(inside, factors)[0])


def test_a_scale_whose_inverse_would_overflow_is_still_divided_by() -> None:
    shorter, _ = simplified(quantized(multiply(TOTAL, channel(0)), 1e-39, 0), [np.array([1.0], np.float32)])
    assert "divide(multiply(to_float32(x0), c0), " in str(shorter)
