"""Problems of convolution for the property tests of every family, and how exact their results must be."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from strop.compiler import expressions
from strop.compiler.expressions import Expression
from strop.compiler.kernels import references
from strop.compiler.kernels.contract import Convolution
from strop.compiler.layouts import Halo, Layout, channels_last, dense

EPSILON = float(np.finfo(np.float32).eps)

RELU = expressions.maximum(expressions.constant(0.0), expressions.add(expressions.operand(0), expressions.channel(0)))
RESIDUAL = expressions.add(expressions.add(expressions.operand(0), expressions.channel(0)), expressions.operand(1))
SIX = expressions.minimum(
    expressions.constant(6.0),
    expressions.maximum(
        expressions.constant(0.0), expressions.multiply(expressions.operand(0), expressions.channel(1))
    ),
)
EPILOGUES: tuple[tuple[Expression, int], ...] = ((expressions.IDENTITY, 0), (RELU, 1), (RESIDUAL, 1), (SIX, 2))
"""Epilogues and the per-channel vectors they read; operand 1 is a residual."""


def extents(draw: st.DrawFn, kernel: int, most: int) -> tuple[int, int, int, int, int, int]:
    """Returns (extent, output extent, stride, dilation, padding before, behind) of an axis."""
    stride, dilation = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2]))
    reach = dilation * (kernel - 1) + 1
    before, after = (draw(st.integers(0, min(3, reach - 1))) for _ in range(2))
    extent = draw(st.integers(max(1, reach - before - after), max(1, reach - before - after) + most))
    return extent, (extent + before + after - reach) // stride + 1, stride, dilation, before, after


@st.composite
def convolutions(
    draw: st.DrawFn,
    *,
    inputs: st.SearchStrategy[int],
    outputs: st.SearchStrategy[int],
    kernels: st.SearchStrategy[tuple[int, int]],
    groups: st.SearchStrategy[int] = st.just(1),  # noqa: B008
    dense_input: bool = False,
    most: int = 17,
) -> Convolution:
    """Draws a float32 problem; inputs, outputs: channels of a group."""
    height, width = draw(kernels)
    h, oh, down, far_down, top, bottom = extents(draw, height, most)
    w, ow, across, far_across, left, right = extents(draw, width, most)
    count, each, several, images = draw(inputs), draw(outputs), draw(groups), draw(st.integers(1, 2))
    epilogue, vectors = draw(st.sampled_from(EPILOGUES))
    output = spread(draw, (images, each * several, oh, ow), Halo(*(draw(st.integers(0, 1)) for _ in range(4))))
    extras = []
    if 1 in expressions.operands(epilogue):
        is_in_place = draw(st.booleans())
        extras.append(output if is_in_place else spread(draw, output.shape, Halo()))
    shape = (images, count * several, h, w)
    if dense_input:
        first = dense(shape)
    else:
        halo = Halo(top, left, max(0, bottom), max(0, right))
        first = spread(draw, shape, halo.union(Halo(*(draw(st.integers(0, 1)) for _ in range(4)))))
    return Convolution(
        (first, *extras), output, epilogue, vectors, weights=(each * several, count, height, width),
        strides=(down, across), dilations=(far_down, far_across), pads=(top, left, bottom, right), groups=several,
    )  # fmt: skip


def spread(draw: st.DrawFn, shape: tuple[int, ...], halo: Halo) -> Layout:
    """Returns channels-last images, their pixels perhaps with space between."""
    return channels_last(shape, halo=halo, pixel=4 * (shape[1] + draw(st.sampled_from([0, 0, 3, 16]))))


def numbers(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Returns numbers that are not kind: of large mean, with a few outliers, the sizes of channels far apart."""
    random = np.random.default_rng(seed)
    values = random.standard_normal(shape) * 10.0 ** random.integers(-3, 3, (1, shape[1]) + (1,) * (len(shape) - 2))
    values += random.choice([0.0, 100.0])
    values[random.random(shape) < 0.01] *= 1000
    return values.astype(np.float32)


def operands_of(problem: Convolution, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray]]:
    """Returns inputs, weights and per-channel vectors for a problem."""
    inputs = [numbers(layout.shape, seed + i) for i, layout in enumerate(problem.inputs)]
    outputs = problem.weights[0]
    channels = [
        np.random.default_rng(seed + i).standard_normal(outputs).astype(np.float32) for i in range(problem.channels)
    ]
    return inputs, numbers(problem.weights, seed + 7), channels


def assert_close(
    problem: Convolution,
    got: np.ndarray,
    inputs: list[np.ndarray],
    weights: np.ndarray,
    channels: list[np.ndarray],
    *,
    k: float,
) -> None:
    """Asserts |error| <= k * eps * (|x| conv |w|) through the epilogue, plus a rounding of each of its operations.

    Every epilogue here is Lipschitz in the accumulator with the largest |channel vector| or 1.
    """
    exact = references.convolution(problem, inputs, weights, channels)
    slope = max([1.0, *(float(np.abs(vector).max()) for vector in channels)])
    size = references.magnitude(problem, inputs[0], weights) * slope
    size = size + sum(np.abs(extra) for extra in inputs[1:]) + slope
    error = np.abs(got - exact)
    allowed = k * EPSILON * size
    worst = np.unravel_index(np.argmax(error - allowed), error.shape)
    assert (error <= allowed).all(), f"{error[worst]} at {worst}, allowed {allowed[worst]}"


def in_place_of(problem: Convolution) -> int | None:
    """Returns the input that may lie in the output's memory."""
    return 1 if len(problem.inputs) > 1 and problem.inputs[1] == problem.output else None


def bound(problem: Convolution) -> float:
    """Returns k for a sum of n products in any order: n / 2 + 4 at worst, and at most 2 + 6 sqrt(n).

    In practice it errs by about the square root of n. But where many equal terms are added to one large one, all round
    to the same side: of 825 such terms a plain loop in float32 errs by 94 or 119 eps, as their order has it (found
    among 10,000 examples). An algorithm that lost accuracy would break this.
    """
    terms = problem.weights[1] * problem.weights[2] * problem.weights[3]
    return float(min(terms / 2 + 4, 2 + 6 * np.sqrt(terms)))
