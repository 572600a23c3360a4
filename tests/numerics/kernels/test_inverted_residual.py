"""Blocks of convolutions on every ISA table, against float64, whatever the schedule and however they are divided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler import expressions
from strop.compiler.expressions import Expression
from strop.compiler.isa import Isa
from strop.compiler.kernels import references
from strop.compiler.kernels.contract import Convolution, FusedBlock
from strop.compiler.kernels.inverted_residual import BlockSchedule, InvertedResidual
from strop.compiler.kernels.matrix_nest import tiles_of
from strop.compiler.layouts import Halo, Layout, channels_last, dense
from tests.numerics.kernels.convolutions import EPSILON, RELU, RESIDUAL, bound, spread
from tests.numerics.kernels.harness import every_isa, run_problem

BIAS = expressions.add(expressions.operand(0), expressions.channel(0))
WIDTHS = st.sampled_from([1, 3, 8, 16, 19, 33, 48])


def stage(source: Layout, output: Layout, epilogue: Expression, **changes: object) -> Convolution:
    """Returns a convolution of one of a block's values with a bias."""
    return Convolution((source,), output, epilogue, 1, **changes)  # type: ignore[arg-type]


@st.composite
def blocks(draw: st.DrawFn) -> FusedBlock:
    """Draws a block: a 1x1 convolution, a stem or nothing, a depthwise one, a 1x1 one or nothing."""
    front = draw(st.sampled_from(["expand", "expand", "stem", ""]))
    back = draw(st.booleans()) or not front
    width, images = draw(WIDTHS.filter(lambda width: width > 1)), draw(st.integers(1, 2))
    kernel, stride, dilation = draw(st.sampled_from([(3, 1, 1), (3, 1, 1), (3, 2, 1), (5, 1, 1), (5, 2, 1), (3, 2, 2)]))
    pads = tuple(draw(st.integers(0, kernel // 2 * dilation)) for _ in range(4))
    reach = (kernel - 1) * dilation + 1
    height, columns = (
        draw(st.integers(max(1, reach - pads[axis] - pads[axis + 2]), reach + 16)) for axis in (0, 1)
    )  # fmt: skip
    out = tuple(
        (extent + pads[axis] + pads[axis + 2] - reach) // stride + 1 for axis, extent in enumerate((height, columns))
    )  # fmt: skip
    inner, between = channels_last((images, width, height, columns)), channels_last((images, width, *out))
    stages: list[Convolution] = []
    if front == "stem":
        channels = draw(st.integers(1, 4))
        first = dense((images, channels, 2 * height, 2 * columns - 1))
        stages.append(stage(first, inner, RELU, weights=(width, channels, 3, 3), strides=(2, 2), pads=(1, 1, 1, 1)))
    elif front:
        channels = draw(WIDTHS)
        first = spread(draw, (images, channels, height, columns), Halo(*(draw(st.integers(0, 1)) for _ in range(4))))
        stages.append(stage(first, inner, RELU, weights=(width, channels, 1, 1)))
    else:
        first = spread(draw, inner.shape, Halo(*(draw(st.integers(0, 1)) for _ in range(4))))
    last = draw(WIDTHS) if back else width
    output = spread(draw, (images, last, *out), Halo(*(draw(st.integers(0, 1)) for _ in range(4))))
    residual = draw(st.booleans())
    extras = [output if draw(st.booleans()) else spread(draw, output.shape, Halo())] if residual else []
    ending = RESIDUAL if residual else draw(st.sampled_from([RELU, BIAS]))
    middle = stage(
        inner if front else first, between if back else output, RELU if back else ending,
        weights=(width, 1, kernel, kernel), strides=(stride, stride), dilations=(dilation, dilation), pads=pads,
        groups=width,
    )  # fmt: skip
    stages.append(middle)
    if back:
        stages.append(stage(between, output, ending, weights=(last, width, 1, 1)))
    stages[-1] = Convolution(
        (stages[-1].inputs[0], *extras), output, ending, 1, weights=stages[-1].weights, strides=stages[-1].strides,
        dilations=stages[-1].dilations, pads=stages[-1].pads, groups=stages[-1].groups,
    )  # fmt: skip
    operands = ((),) * (len(stages) - 1) + (tuple(range(1, 1 + len(extras))),)
    rows = 2 if out[0] % 2 == 0 else 1
    means = rows if not back and not extras and out[0] // rows <= out[1] and draw(st.booleans()) else 0
    if means:
        output = spread(draw, (images, last, out[0] + 1, out[1]), Halo())
        stages[-1] = replace(stages[-1], output=replace(output, shape=(images, last, *out)))
    return FusedBlock(
        (first, *extras), output, channels=len(stages), stages=tuple(stages), operands=operands, means=means
    )  # fmt: skip


def numbers_of(problem: FusedBlock) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray]]:
    """Returns inputs, weights of all stages, and vectors; the sizes of channels are far apart."""
    random = np.random.default_rng(3)

    def numbers(shape: Sequence[int]) -> np.ndarray:
        sizes = 10.0 ** random.integers(-2, 3, (1, shape[1]) + (1,) * (len(shape) - 2))
        return np.asarray(random.standard_normal(shape) * sizes, np.float32)

    weights = np.concatenate([numbers(stage.weights).reshape(-1) for stage in problem.stages])
    vectors = [random.standard_normal(stage.weights[0]).astype(np.float32) for stage in problem.stages]
    return [numbers(layout.shape) for layout in problem.inputs], weights, vectors


def allowed_error(
    problem: FusedBlock, inputs: list[np.ndarray], weights: np.ndarray, vectors: list[np.ndarray]
) -> np.ndarray:
    """Returns the bound of a block's error: that of each stage, carried through the stages behind it.

    Every epilogue here is Lipschitz in the accumulator with constant 1.
    """
    value, error = inputs[0].astype(np.float64), np.zeros(inputs[0].shape)
    for (part, own, vector), extras in zip(problem.parts(weights, vectors), problem.operands, strict=True):
        more = [inputs[index] for index in extras]
        size = references.magnitude(part, value, own)
        size = size + np.abs(vector[0])[:, None, None] + sum(np.abs(extra) for extra in more)
        error = references.convolve(part, error, np.abs(own)) + bound(part) * EPSILON * size
        value = references.convolution(part, [value, *more], own, vector)
    if problem.means:
        count = problem.means * value.shape[3]
        error = references.with_means(error, problem.means)
        error[:, :, -1] += count * EPSILON * references.with_means(np.abs(value), problem.means)[:, :, -1]
    return error


def place_of(problem: FusedBlock) -> int | None:
    """Returns the input that may lie in the output's memory."""
    return 1 if len(problem.inputs) > 1 and problem.inputs[1] == problem.output else None


@every_isa
@given(problem=blocks(), parts=st.integers(1, 4))
def test_a_block_is_right_in_every_schedule_and_gives_the_same_bits_in_one_part_and_in_several(
    isa: Isa, problem: FusedBlock, parts: int
) -> None:
    kernel = InvertedResidual()
    assert kernel.accepts(problem, isa) == ""
    inputs, weights, vectors = numbers_of(problem)
    exact = references.block(problem, inputs, weights, vectors)
    allowed = allowed_error(problem, inputs, weights, vectors)
    for schedule in kernel.candidates(problem, isa):
        whole, divided = (
            run_problem(
                kernel, problem, isa, inputs, weights=weights, channels=vectors, schedule=schedule, parts=pieces,
                in_place=place_of(problem),
            )
            for pieces in (1, parts)
        )  # fmt: skip
        assert whole.tobytes() == divided.tobytes()
        error = np.abs(whole - exact)
        worst = np.unravel_index(np.argmax(error - allowed), error.shape)
        assert (error <= allowed).all(), f"{schedule}: {error[worst]} at {worst}, allowed {allowed[worst]}"


@every_isa
@given(problem=blocks(), pixels=st.sampled_from([1, 3, 5]), tiles=st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_tiles_of_a_block_may_have_any_size(isa: Isa, problem: FusedBlock, pixels: int, tiles: tuple[int, int]) -> None:
    kernel = InvertedResidual()
    inputs, weights, vectors = numbers_of(problem)
    usual = kernel.candidates(problem, isa)[0]
    sizes = [tiles_of(isa)[place % len(tiles_of(isa))] for place in tiles]
    height = problem.stages[-1].output.shape[2]
    rows = problem.means or max(rows for rows in (1, 2, 3) if height % rows == 0)
    other = BlockSchedule(
        rows, pixels, sizes[0] if usual.front[0] else (0, 0), sizes[1] if usual.back[0] else (0, 0)
    )  # fmt: skip
    got = run_problem(
        kernel, problem, isa, inputs, weights=weights, channels=vectors, schedule=other, in_place=place_of(problem)
    )
    exact = references.block(problem, inputs, weights, vectors)
    assert (np.abs(got - exact) <= allowed_error(problem, inputs, weights, vectors)).all()
