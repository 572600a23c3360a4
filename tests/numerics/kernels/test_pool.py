"""Pooling on every ISA table, against its definition and ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from strop.compiler import expressions
from strop.compiler.isa import ISAS, Isa, get_isa
from strop.compiler.kernels import references
from strop.compiler.kernels.contract import Pool
from strop.compiler.kernels.pool import PoolKernel
from strop.compiler.layouts import Halo, channels_last
from strop.compiler.link import check_closed
from strop.compiler.machine_code import generate
from tests.numerics.kernels.harness import every_isa, run_problem

KERNEL = PoolKernel()


def output_extent(extent: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int], *, ceil: bool) -> int:
    """Returns ONNX's extent of the output: with ceil_mode the last window may hang over, but must begin inside."""
    span = extent + sum(pads) - dilation * (kernel - 1) - 1
    out = (-(-span // stride) if ceil else span // stride) + 1
    if ceil and (out - 1) * stride >= extent + pads[0]:
        out -= 1
    return out


@st.composite
def pools(draw: st.DrawFn, *, channels: st.SearchStrategy[int]) -> Pool:
    axes = []
    for _ in range(2):
        kernel, stride, dilation = (draw(st.integers(1, most)) for most in (5, 3, 2))
        before, after = (draw(st.integers(0, max(0, kernel - 1))) for _ in range(2))
        reach = dilation * (kernel - 1) + 1
        extent = draw(st.integers(max(1, reach - before - after, (reach + 1) // 2), 12))
        out = output_extent(extent, kernel, stride, dilation, (before, after), ceil=draw(st.booleans()))
        axes.append((extent, out, kernel, stride, dilation, before, after))
    (h, oh, kh, sh, dh, top, bottom), (w, ow, kw, sw, dw, left, right) = axes
    count, images = draw(channels), draw(st.integers(1, 2))
    kind = draw(st.sampled_from(["max", "average"]))
    image = channels_last((images, count, h, w), pixel=draw(st.sampled_from([0, 4, 64])) + 4 * count)
    halo = Halo(*(draw(st.integers(0, 1)) for _ in range(4)))
    output = channels_last((images, count, oh, ow), halo=halo)
    return Pool(
        (image,), output, kind=kind, kernel=(kh, kw), strides=(sh, sw), dilations=(dh, dw),
        pads=(top, left, bottom, right), count_pads=draw(st.booleans()),
    )  # fmt: skip


def numbers(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@every_isa
@given(problem=pools(channels=st.sampled_from([1, 3, 8, 16, 19, 32, 70, 130])), parts=st.integers(1, 3))
def test_pooling_is_what_its_definition_says(isa: Isa, problem: Pool, parts: int) -> None:
    if refusal := KERNEL.accepts(problem, isa):
        assert refusal == "a window lies outside the image"
        return
    x = numbers(problem.inputs[0].shape)
    got = run_problem(KERNEL, problem, isa, [x], parts=parts)
    np.testing.assert_allclose(got, references.pool(problem, [x]), rtol=1e-6, atol=1e-6)
