"""Winograd convolution on every ISA table, against the convolution's definition and within its stated error."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler import expressions
from strop.compiler.isa import Isa
from strop.compiler.kernels import references
from strop.compiler.kernels.contract import Convolution
from strop.compiler.kernels.winograd import WinogradConvolution, WinogradSchedule
from strop.compiler.layouts import Halo, channels_last
from tests.numerics.kernels.harness import every_isa, run_problem

KERNEL = WinogradConvolution()
EPSILON = 2.0**-24


def convolution(
    images: int,
    inputs: int,
    outputs: int,
    height: int,
    width: int,
    pads: tuple[int, int, int, int] = (1, 1, 1, 1),
    *,
    epilogue: expressions.Expression = expressions.IDENTITY,
    channels: int = 0,
    extras: int = 0,
    gap: int = 0,
    halo: Halo = Halo(),
) -> Convolution:
    image = channels_last((images, inputs, height, width), halo=halo, pixel=4 * inputs + gap)
    top, left, bottom, right = pads
    output = channels_last((images, outputs, height + top + bottom - 2, width + left + right - 2), halo=halo)
    return Convolution(
        (image, *[output] * extras), output, epilogue, channels, weights=(outputs, inputs, 3, 3), pads=pads
    )


def arrays(problem: Convolution, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.standard_normal(problem.inputs[0].shape).astype(np.float32)
    return x, (random.standard_normal(problem.weights) / 3).astype(np.float32)


@st.composite
def problems(draw: st.DrawFn) -> Convolution:
    pads = tuple(draw(st.sampled_from([1, 1, 0, 2])) for _ in range(4))
    height, width = (draw(st.integers(max(1, 3 - a - b), 15)) for a, b in ((pads[0], pads[2]), (pads[1], pads[3])))
    return convolution(
        draw(st.integers(1, 2)),
        draw(st.sampled_from([1, 3, 8, 16, 21, 35])),
        draw(st.sampled_from([1, 5, 16, 20, 32, 48, 70])),
        height,
        width,
        pads,  # type: ignore[arg-type]
        gap=draw(st.sampled_from([0, 4, 64])),
        halo=Halo(*(draw(st.integers(0, 1)) for _ in range(4))),
    )


@every_isa
@given(problem=problems(), size=st.sampled_from([2, 4]), block=st.integers(1, 4), data=st.data())
def test_it_computes_the_convolution_however_it_is_divided(
    isa: Isa, problem: Convolution, size: int, block: int, data: st.DataObject
) -> None:
    assert KERNEL.accepts(problem, isa) == ""
    x, w = arrays(problem)
    rows = data.draw(st.integers(1, isa.tile[0]))
    vectors = data.draw(st.integers(1, isa.tile[1]))
    schedule = WinogradSchedule(size, rows, vectors, block, far=data.draw(st.booleans()))
    whole = run_problem(KERNEL, problem, isa, [x], weights=w, schedule=schedule)
    want = references.convolution(problem, [x], w)
    bound = 1e-5 * references.magnitude(problem, x, w).max(axis=(2, 3), keepdims=True)
    assert (np.abs(whole - want) <= bound).all()
    parts = run_problem(KERNEL, problem, isa, [x], weights=w, schedule=schedule, parts=data.draw(st.integers(2, 5)))
    np.testing.assert_array_equal(parts, whole)
