"""u8 x s8 convolution with requantization: the same integers as the reference on every ISA table."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler import expressions
from strop.compiler.isa import Isa, get_isa
from strop.compiler.kernels import references
from strop.compiler.kernels.contract import Convolution
from strop.compiler.kernels.convolution import DirectConvolution
from strop.compiler.layouts import Halo, channels_last
from tests.numerics.kernels.convolutions import extents
from tests.numerics.kernels.harness import every_isa, run_problem

KERNEL = DirectConvolution()
SUM = expressions.operand(0, "int32")


KERNELS = st.sampled_from([(1, 1), (3, 3), (2, 1), (1, 5)])


@st.composite
def quantized(
    draw: st.DrawFn,
    kernels: st.SearchStrategy[tuple[int, int]] = KERNELS,
    inputs: st.SearchStrategy[int] = st.sampled_from([1, 3, 4, 6, 16, 21, 64]),  # noqa: B008  strategies are values
    outputs: st.SearchStrategy[int] = st.sampled_from([1, 8, 16, 20, 33, 64]),  # noqa: B008
    groups: st.SearchStrategy[int] = st.sampled_from([1, 1, 2]),  # noqa: B008
) -> Convolution:
    """Draws a convolution of u8 images by s8 filters, with what may stand behind it."""
    height, width = draw(kernels)
    h, oh, down, far_down, top, bottom = extents(draw, height, 12)
    w, ow, across, far_across, left, right = extents(draw, width, 12)
    each_in, each_out, count = draw(inputs), draw(outputs), draw(groups)
    has_pads = bool(top or left or bottom or right)
    zero = 0 if has_pads else draw(st.integers(0, 255))  # the harness fills halos with zeros
    kind = draw(st.sampled_from(["uint8", "int8", "int32", "residual"]))
    output = channels_last(
        (1, each_out * count, oh, ow), "int32" if kind == "int32" else kind.replace("residual", "uint8")
    )
    multiplier = expressions.channel(0)
    extras = []
    if kind == "int32":
        epilogue = SUM
    elif kind == "uint8":
        epilogue = expressions.requantize(SUM, multiplier, draw(st.integers(0, 255)), 0, 255, "uint8")
    elif kind == "int8":
        epilogue = expressions.requantize(SUM, multiplier, 3, -128, 127, "int8")
    else:
        extras.append(output)
        other = expressions.multiply(
            expressions.cast(expressions.operand(1, "uint8"), "float32"), expressions.channel(1)
        )
        added = expressions.add(expressions.multiply(expressions.cast(SUM, "float32"), multiplier), other)
        clamped = expressions.minimum(expressions.constant(255), expressions.maximum(expressions.constant(0), added))
        epilogue = expressions.cast(expressions.apply("rint", clamped), "uint8")
    pixel = each_in * count + draw(st.sampled_from([0, 1, 4]))
    image = channels_last((1, each_in * count, h, w), "uint8", Halo(top, left, bottom, right), pixel=pixel)
    return Convolution(
        (image, *extras), output, epilogue, {"int32": 0, "residual": 2}.get(kind, 1),
        weights=(each_out * count, each_in, height, width), strides=(down, across), dilations=(far_down, far_across),
        pads=(top, left, bottom, right), groups=count, weight_dtype="int8", accumulator="int32", input_zero=zero,
    )  # fmt: skip


def integers_of(
    problem: Convolution, *, extremes: bool, has_bias: bool
) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray]]:
    """Returns inputs, weights and vectors; extremes: numbers as large as they can be, so that narrow sums saturate."""
    random = np.random.default_rng(3)
    image = random.integers(254 if extremes else 0, 256, problem.inputs[0].shape).astype(np.uint8)
    weights = random.integers(-128, 128, problem.weights).astype(np.int8)
    if extremes:
        weights = np.where(weights < 0, -128, 127).astype(np.int8)
    size = 64 * 128 * np.sqrt(weights[0].size)
    channels = [(random.random(problem.weights[0]) * 100 / size).astype(np.float32) for _ in range(problem.channels)]
    if has_bias:
        channels.append(random.integers(-1000, 1000, problem.weights[0]).astype(np.int32))
    inputs = [image, *(random.integers(0, 256, x.shape).astype(np.uint8) for x in problem.inputs[1:])]
    return inputs, weights, channels


@every_isa
@given(problem=quantized(), parts=st.integers(1, 3), extremes=st.booleans(), which=st.integers(0, 7))
def test_integers_are_exact(isa: Isa, problem: Convolution, parts: int, extremes: bool, which: int) -> None:
    assert KERNEL.accepts(problem, isa) == ""
    inputs, weights, channels = integers_of(problem, extremes=extremes, has_bias=which > 3)
    schedules = KERNEL.candidates(problem, isa)
    got = run_problem(
        KERNEL, problem, isa, inputs, weights=weights, channels=channels, parts=parts,
        schedule=schedules[which % len(schedules)], in_place=1 if len(inputs) > 1 else None,
    )  # fmt: skip
    np.testing.assert_array_equal(got, references.convolution(problem, inputs, weights, channels))


def test_other_arithmetic_is_refused_with_its_types() -> None:
    image = channels_last((1, 4, 3, 3), "int8")
    problem = Convolution((image,), channels_last((1, 4, 3, 3)), weights=(4, 4, 1, 1), weight_dtype="int8")
    assert "int8 x int8 in float32" in KERNEL.accepts(problem, get_isa("generic"))
