"""Gated 1x1 convolutions on every ISA table, against float64, whatever is gated and however they are divided."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler import expressions
from strop.compiler.isa import Isa
from strop.compiler.kernels import references
from strop.compiler.kernels.contract import Convolution, FusedBlock
from strop.compiler.kernels.gated_product import GatedProduct, GatedSchedule
from strop.compiler.kernels.matrix_nest import tiles_of
from strop.compiler.layouts import Halo, channels_last
from tests.numerics.kernels.convolutions import EPILOGUES, EPSILON, bound, numbers, spread
from tests.numerics.kernels.harness import every_isa, run_problem

WIDTHS = st.sampled_from([1, 3, 8, 16, 19, 33, 48, 70])


@st.composite
def gated(draw: st.DrawFn) -> FusedBlock:
    """Draws a 1x1 convolution of a gated image, perhaps with a residual, perhaps in its place."""
    inputs, outputs, images = draw(WIDTHS), draw(WIDTHS), draw(st.integers(1, 3))
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 17))
    first = spread(draw, (images, inputs, height, width), Halo(*(draw(st.integers(0, 1)) for _ in range(4))))
    output = spread(draw, (images, outputs, height, width), Halo(*(draw(st.integers(0, 1)) for _ in range(4))))
    gate = channels_last((images, inputs, 1, 1), pixel=4 * (inputs + draw(st.sampled_from([0, 3]))))
    epilogue, vectors = draw(st.sampled_from(EPILOGUES))
    extras = []
    if 1 in expressions.operands(epilogue):
        extras.append(output if draw(st.booleans()) else spread(draw, output.shape, Halo()))
    stage = Convolution((first, *extras), output, epilogue, vectors, weights=(outputs, inputs, 1, 1))
    operands = (tuple(range(2, 2 + len(extras))),)
    return FusedBlock((first, gate, *extras), output, channels=vectors, stages=(stage,), operands=operands, gate=1)


@every_isa
@given(problem=gated(), rows=st.integers(1, 4), tile=st.integers(0, 2), parts=st.integers(1, 4))
def test_a_gate_is_right_in_weights_and_in_pixels_and_gives_the_same_bits_however_it_is_divided(
    isa: Isa, problem: FusedBlock, rows: int, tile: int, parts: int
) -> None:
    kernel = GatedProduct()
    assert kernel.accepts(problem, isa) == ""
    (stage,) = problem.stages
    inputs = [numbers(layout.shape, seed) for seed, layout in enumerate(problem.inputs)]
    random = np.random.default_rng(9)
    weights = random.standard_normal(stage.weights).astype(np.float32)
    vectors = [random.standard_normal(stage.weights[0]).astype(np.float32) for _ in range(problem.channels)]
    exact = references.block(problem, inputs, weights, vectors)
    slope = max([1.0, *(float(np.abs(vector).max()) for vector in vectors)])
    size = references.magnitude(stage, inputs[0] * inputs[1].astype(np.float64), weights) * slope + slope
    size = size + sum(np.abs(extra) for extra in inputs[2:])
    height = problem.output.shape[2]
    usual = kernel.candidates(problem, isa)
    pixels, width = tiles_of(isa)[tile % len(tiles_of(isa))]
    divisor = max(count for count in range(1, rows + 1) if height % count == 0)
    place = 2 if len(problem.inputs) > 2 and problem.inputs[2] == problem.output else None
    for schedule in (usual[0], usual[1], GatedSchedule(pixels, width, divisor, "weights"),
                     GatedSchedule(pixels, width, divisor, "pixels")):  # fmt: skip
        whole, divided = (
            run_problem(
                kernel, problem, isa, inputs, weights=weights, channels=vectors, schedule=schedule, parts=pieces,
                in_place=place,
            )
            for pieces in (1, parts)
        )  # fmt: skip
        assert whole.tobytes() == divided.tobytes()
        # A gated number is rounded once more.
        assert (np.abs(whole - exact) <= (bound(stage) + 1) * EPSILON * size).all(), str(schedule)
