"""Winograd convolution on every ISA table, against the convolution's definition and within its stated error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler import expressions
from strop.compiler.choose import choose
from strop.compiler.isa import Isa, get_isa
from strop.compiler.kernels import references
from strop.compiler.kernels.contract import Convolution
from strop.compiler.kernels.winograd import WinogradConvolution, WinogradSchedule
from strop.compiler.kernels.winograd_accuracy import LIMIT, MEASURED, STEPS, amplification
from strop.compiler.kernels.winograd_transforms import filter_matrix, input_matrix, output_matrix, transform_filters
from strop.compiler.layouts import NO_HALO, Halo, channels_last
from strop.compiler.link import check_closed
from strop.compiler.machine_code import generate
from tests.numerics.kernels.harness import every_isa, run_problem

SIZES = pytest.mark.parametrize("size", [2, 4])
EPSILON = 2.0**-24


def convolution(
    images: int,
    inputs: int,
    outputs: int,
    height: int,
    width: int,
    pads: tuple[int, int, int, int] = (1, 1, 1, 1),
    *,
    gap: int = 0,
    halo: Halo = NO_HALO,
) -> Convolution:
    image = channels_last((images, inputs, height, width), halo=halo, pixel=4 * inputs + gap)
    top, left, bottom, right = pads
    output = channels_last((images, outputs, height + top + bottom - 2, width + left + right - 2), halo=halo)
    return Convolution((image,), output, weights=(outputs, inputs, 3, 3), pads=pads)


def arrays(problem: Convolution, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.standard_normal(problem.inputs[0].shape).astype(np.float32)
    return x, (random.standard_normal(problem.weights) / 3).astype(np.float32)


def bound(problem: Convolution, x: np.ndarray, w: np.ndarray, size: int) -> np.ndarray:
    """Returns the error that is stated: a number for each output channel."""
    own = np.abs(w).sum(axis=(1, 2, 3), dtype=np.float64)
    return amplification(w, size) * (w.shape[1] + STEPS) * EPSILON * np.abs(x).max() * own


@SIZES
def test_the_transforms_give_the_convolution(size: int) -> None:
    random = np.random.default_rng(3)
    x, w = random.standard_normal((size + 2, size + 2)), random.standard_normal((3, 3))
    g, b, a = filter_matrix(size), input_matrix(size), output_matrix(size)
    got = a @ ((g @ w @ g.T) * (b @ x @ b.T)) @ a.T
    want = [[(x[i : i + 3, j : j + 3] * w).sum() for j in range(size)] for i in range(size)]
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(transform_filters(w, size)[:, 0], (g @ w @ g.T).reshape(-1), rtol=1e-12)
    for matrix in (a, b):
        assert (matrix.astype(np.float32) == matrix).all(), "a constant is not exact in float32"


@st.composite
def problems(draw: st.DrawFn) -> Convolution:
    top, left, bottom, right = (draw(st.sampled_from([1, 1, 0, 2])) for _ in range(4))
    height, width = (draw(st.integers(max(1, 3 - both), 15)) for both in (top + bottom, left + right))
    return convolution(
        draw(st.integers(1, 2)),
        draw(st.sampled_from([1, 3, 8, 16, 21, 35])),
        draw(st.sampled_from([1, 5, 16, 20, 32, 48, 70])),
        height,
        width,
        (top, left, bottom, right),
        gap=draw(st.sampled_from([0, 4, 64])),
        halo=Halo(*(draw(st.integers(0, 1)) for _ in range(4))),
    )


@every_isa
@given(problem=problems(), size=st.sampled_from([2, 4]), block=st.integers(1, 4), data=st.data())
def test_it_is_the_convolution_within_the_stated_error_however_it_is_divided(
    isa: Isa, problem: Convolution, size: int, block: int, data: st.DataObject
) -> None:
    kernel = WinogradConvolution(size)
    assert kernel.accepts(problem, isa) == ""
    x, w = arrays(problem)
    rows, vectors = (data.draw(st.integers(1, most)) for most in isa.tile)
    schedule = WinogradSchedule(size, rows, vectors, block, far=data.draw(st.booleans()))
    whole = run_problem(kernel, problem, isa, [x], weights=w, schedule=schedule)
    error = np.abs(whole - references.convolution(problem, [x], w)).max(axis=(0, 2, 3))
    assert (error <= bound(problem, x, w, size)).all()
    count = data.draw(st.integers(2, 5))
    parts = run_problem(kernel, problem, isa, [x], weights=w, schedule=schedule, parts=count)
    np.testing.assert_array_equal(parts, whole)


@every_isa
@SIZES
def test_the_schedule_it_would_choose_runs_with_bias_residual_in_place_and_clip(isa: Isa, size: int) -> None:
    plain = convolution(1, 32, 40, 9, 10)
    total = expressions.add(expressions.add(expressions.operand(0), expressions.channel(0)), expressions.operand(1))
    clipped = expressions.minimum(expressions.constant(1.5), expressions.maximum(expressions.constant(0), total))
    problem = replace(plain, inputs=(plain.inputs[0], plain.output), epilogue=clipped, channels=1)
    x, w = arrays(problem)
    residual = np.random.default_rng(8).standard_normal(problem.output.shape).astype(np.float32)
    bias = np.linspace(-1, 1, 40, dtype=np.float32)
    want = references.convolution(problem, [x, residual], w, [bias])
    assert (want == 0).any() and (want == 1.5).any()
    kernel = WinogradConvolution(size)
    near = bound(problem, x, w, size).reshape(1, -1, 1, 1) + 1e-6
    for parts in (1, 3):
        got = run_problem(kernel, problem, isa, [x, residual], weights=w, channels=[bias], parts=parts, in_place=1)
        assert (np.abs(got - want) <= near).all()


def hard_inputs(size: tuple[int, ...], outputs: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(11)
    x = random.standard_normal(size)
    w = random.standard_normal((outputs, size[1], 3, 3)) / np.sqrt(9 * size[1])
    outlier = x * 0.01
    outlier[:, :, 5, 7] = 1000
    scaled = w * 10.0 ** random.uniform(-6, 3, (outputs, 1, 1, 1))
    return {
        "normal": (x, w),
        "after ReLU": (np.maximum(x, 0), w),
        "large mean": (x + 100, w),
        "zero-sum filters on a large mean": (x + 100, w - w.mean(axis=(2, 3), keepdims=True)),
        "an outlier pixel": (outlier, w),
        "filters of very different size": (x, scaled),
        "filters that hardly vary": (x, 1 + 1e-6 * w),
        "channels of very different size": (x * 10.0 ** random.uniform(-3, 3, (1, size[1], 1, 1)), w),
    }


@SIZES
@pytest.mark.parametrize("channels", [16, 128])
def test_errors_on_hard_inputs_are_small_for_every_channel(size: int, channels: int) -> None:
    problem, isa = convolution(1, channels, 32, 14, 14), get_isa("x86-64-v3")
    for name, (wide, filters) in hard_inputs(problem.inputs[0].shape, 32).items():
        x, w = wide.astype(np.float32), filters.astype(np.float32)
        kernel = WinogradConvolution(size)
        got = run_problem(kernel, problem, isa, [x], weights=w)
        error = np.abs(got - references.convolution(problem, [x], w)).max(axis=(0, 2, 3))
        assert (error <= bound(problem, x, w, size)).all(), name
        own = references.magnitude(problem, x, w).max(axis=(0, 2, 3))
        assert (error <= MEASURED[size] * EPSILON * own).all(), (name, (error / own).max() / EPSILON)


@every_isa
@SIZES
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_not_finite_reaches_all_that_it_must_and_stays_in_its_tiles(isa: Isa, size: int, number: float) -> None:
    problem = convolution(1, 5, 18, 12, 12)
    x, w = arrays(problem)
    x[0, 3, 5, 6] = number
    got = run_problem(WinogradConvolution(size), problem, isa, [x], weights=w)
    strange = ~np.isfinite(got[0])
    assert strange[:, 4:7, 5:8].all()
    y, x_ = np.nonzero(strange.any(axis=0))
    assert y.min() >= 4 - 4 % size and y.max() < 8 and x_.min() >= 5 - 5 % size and x_.max() < 8


def test_filters_that_would_lose_too_much_are_refused() -> None:
    problem = convolution(1, 48, 8, 14, 14)
    _, w = arrays(problem)
    small, large = WinogradConvolution(2), WinogradConvolution(4)
    assert small.suits(problem, w) == large.suits(problem, w) == ""
    corner = w.copy()
    corner[3] = 0
    corner[3, :, 2, 2] = 1
    assert large.suits(problem, corner).startswith("rounding errors could grow 205 times")
    assert small.suits(problem, corner) == ""
    for bad, what in ((np.nan, "not finite"), (np.inf, "not finite"), (1e31, "so large or small")):
        broken = w.copy()
        broken[1, 2, 0, 1] = bad
        assert what in small.suits(problem, broken) and what in large.suits(problem, broken)
    tiny = w.copy()
    tiny[1] *= 1e-35
    assert "so large or small" in large.suits(problem, tiny)
    assert large.suits(problem, np.zeros_like(w)) == ""


@SIZES
def test_no_filter_of_one_place_is_amplified_beyond_what_is_stated(size: int) -> None:
    worst = amplification(np.eye(9).reshape(9, 1, 3, 3), size).max()
    assert worst == pytest.approx({2: 16, 4: 204.85}[size], abs=0.01)
    random = np.random.default_rng(0).standard_normal((64, 16, 3, 3))
    assert amplification(random, size).max() < LIMIT[size]


def test_choosing_takes_large_tiles_on_large_maps_and_none_where_weights_dominate() -> None:
    isa = get_isa("x86-64-v4")

    def family(channels: int, side: int) -> str:
        problem = convolution(1, channels, channels, side, side, halo=Halo(1, 1, 1, 1))
        _, w = arrays(problem)
        return choose(problem, isa, weights=w).kernel.family

    assert [family(*each) for each in ((64, 56), (128, 28))] == ["winograd_4x4"] * 2
    assert [family(*each) for each in ((16, 256), (32, 128))] == ["winograd_2x2"] * 2  # few channels: accuracy
    assert family(256, 14) == "winograd_2x2"
    assert family(512, 7) == "convolution_direct"
    problem = convolution(1, 64, 64, 56, 56)
    assert choose(problem, isa, weights=arrays(problem)[1], winograd="off").kernel.family == "convolution_direct"


@SIZES
def test_code_for_neon_needs_nothing_from_outside(size: int) -> None:
    isa, problem = get_isa("armv8.2+dotprod"), convolution(1, 21, 35, 9, 9)
    kernel = WinogradConvolution(size)
    code = kernel.emit(problem, kernel.candidates(problem, isa)[0], isa)
    check_closed([generate(ir, isa) for ir in code.objects.values()])


def test_what_it_cannot_compute_is_refused_with_the_reason() -> None:
    isa, problem = get_isa("x86-64-v3"), convolution(1, 4, 4, 8, 8)
    kernel = WinogradConvolution(4)
    assert kernel.accepts(problem, isa) == ""
    assert "stride 1" in kernel.accepts(replace(problem, strides=(2, 2)), isa)
    assert "dilation 1" in kernel.accepts(replace(problem, dilations=(2, 2)), isa)
    assert "3x3" in kernel.accepts(replace(problem, weights=(4, 4, 1, 1)), isa)
    assert "groups" in kernel.accepts(replace(problem, groups=2), isa)
    assert "pads" in kernel.accepts(replace(problem, pads=(3, 1, 1, 1)), isa)
    assert "float32" in kernel.accepts(replace(problem, weight_dtype="int8"), isa)
