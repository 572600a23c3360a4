"""Pooling on every ISA table, against its definition and ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from strop.compiler import expressions
from strop.compiler.isa import Isa, get_isa
from strop.compiler.kernels import references
from strop.compiler.kernels.contract import Pool
from strop.compiler.kernels.pool import PoolKernel, PoolSchedule
from strop.compiler.layouts import Halo, Layout, channels_last, dense
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
def pools(draw: st.DrawFn) -> Pool:
    axes = []
    for _ in range(2):
        kernel, stride, dilation = draw(st.integers(1, 7)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
        before, after = (draw(st.integers(0, max(0, kernel - 1))) for _ in range(2))
        reach = dilation * (kernel - 1) + 1
        extent = draw(st.integers(max(1, reach - before - after, (reach + 1) // 2), 13))
        out = output_extent(extent, kernel, stride, dilation, (before, after), ceil=draw(st.booleans()))
        axes.append((extent, out, kernel, stride, dilation, before, after))
    (h, oh, kh, sh, dh, top, bottom), (w, ow, kw, sw, dw, left, right) = axes
    count, images = draw(st.sampled_from([1, 3, 8, 16, 19, 32, 70, 130])), draw(st.integers(1, 2))
    kind = draw(st.sampled_from(["max", "average"]))
    dtype = draw(st.sampled_from(["float32", "float32", "uint8", "int8"]))
    item = np.dtype(dtype).itemsize
    image = channels_last((images, count, h, w), dtype, pixel=(draw(st.sampled_from([0, 1, 16])) + count) * item)
    halo = Halo(*(draw(st.integers(0, 1)) for _ in range(4)))
    result = dtype if kind == "max" else "float32"
    output = channels_last((images, count, oh, ow), result, halo)
    return Pool(
        (image,), output, expressions.operand(0, result), kind=kind, kernel=(kh, kw), strides=(sh, sw),
        dilations=(dh, dw), pads=(top, left, bottom, right), count_pads=dtype == "float32" and draw(st.booleans()),
    )  # fmt: skip


def numbers(layout: Layout, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    if layout.dtype == "float32":
        return random.standard_normal(layout.shape).astype(np.float32)
    return random.integers(-128, 256, layout.shape).astype(layout.dtype)


def simple(kind: str, shape: tuple[int, int, int, int], kernel: int, stride: int, pad: int) -> Pool:
    images, channels, height, width = shape
    rows, columns = (output_extent(extent, kernel, stride, 1, (pad, pad), ceil=False) for extent in (height, width))
    output = channels_last((images, channels, rows, columns))
    return Pool(
        (channels_last(shape),), output, kind=kind, kernel=(kernel, kernel), strides=(stride, stride), pads=(pad,) * 4
    )


@every_isa
@given(problem=pools(), parts=st.integers(1, 3), passes=st.sampled_from([0, 1, 2]))
def test_pooling_is_what_its_definition_says(isa: Isa, problem: Pool, parts: int, passes: int) -> None:
    if refusal := KERNEL.accepts(problem, isa):
        assert refusal == "a window lies outside the image"
        return
    x = numbers(problem.inputs[0])
    (schedule,) = KERNEL.candidates(problem, isa)
    schedule = replace(schedule, passes=passes or schedule.passes)
    got = run_problem(KERNEL, problem, isa, [x], schedule=schedule, parts=parts)
    np.testing.assert_allclose(got, references.pool(problem, [x]), rtol=1e-6, atol=1e-6 * np.abs(x.astype(float)).max())
    whole = run_problem(KERNEL, problem, isa, [x], schedule=schedule)
    np.testing.assert_array_equal(got, whole)


@pytest.mark.parametrize("passes", [1, 2])
@every_isa
def test_a_maximum_is_nan_wherever_one_is_in_the_window(isa: Isa, passes: int) -> None:
    problem = simple("max", (1, 21, 9, 9), 3, 1, 1)
    clean = numbers(problem.inputs[0])
    for place in range(9):
        x = clean.copy()
        x[0, 2 * place, place, 8 - place] = np.nan
        x[0, 1 + 2 * place, 8 - place, place] = -np.inf
        got = run_problem(KERNEL, problem, isa, [x], schedule=PoolSchedule(2, passes))
        np.testing.assert_array_equal(got, references.pool(problem, [x]))


@every_isa
def test_a_window_of_minus_infinity_has_that_as_its_maximum(isa: Isa) -> None:
    problem = simple("max", (1, 5, 4, 4), 2, 2, 0)
    x = np.full(problem.inputs[0].shape, -np.inf, np.float32)
    assert (run_problem(KERNEL, problem, isa, [x]) == -np.inf).all()


@every_isa
@pytest.mark.parametrize("kind", ["max", "average"])
def test_its_epilogue_reads_channels_and_another_image_in_place(isa: Isa, kind: str) -> None:
    plain = simple(kind, (2, 37, 9, 7), 3, 2, 1)
    total = expressions.add(
        expressions.multiply(expressions.operand(0), expressions.channel(0)), expressions.operand(1)
    )
    epilogue = expressions.maximum(expressions.constant(0), expressions.add(total, expressions.channel(1)))
    problem = replace(plain, inputs=(*plain.inputs, plain.output), epilogue=epilogue, channels=2)
    inputs = [numbers(layout, seed) for seed, layout in enumerate(problem.inputs)]
    channels = [np.linspace(-2, 2, 37, dtype=np.float32), np.linspace(1, -1, 37, dtype=np.float32)]
    want = references.pool(problem, inputs, channels)
    for parts in (1, 4):
        got = run_problem(KERNEL, problem, isa, inputs, channels=channels, parts=parts, in_place=1)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@every_isa
def test_quantized_averages_are_requantized(isa: Isa) -> None:
    image, output = channels_last((1, 20, 6, 6), "uint8"), channels_last((1, 20, 3, 3), "uint8")
    epilogue = expressions.requantize(expressions.operand(0), expressions.channel(0), 3, 0, 255, "uint8")
    problem = Pool((image,), output, epilogue, 1, kind="average", kernel=(2, 2), strides=(2, 2))
    x, scale = numbers(image), np.linspace(0.5, 1.5, 20, dtype=np.float32)
    got = run_problem(KERNEL, problem, isa, [x], channels=[scale])
    np.testing.assert_array_equal(got, references.pool(problem, [x], [scale]))


@given(data=st.data())
def test_it_agrees_with_onnx_runtime(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["MaxPool", "AveragePool"]))
    kernel, strides = (data.draw(st.tuples(st.integers(1, 4), st.integers(1, 3))) for _ in range(2))
    pads = tuple(data.draw(st.integers(0, k - 1)) for k in (*kernel, *kernel))
    extents = tuple(data.draw(st.integers(k, 12)) for k in kernel)
    ceil, counted = data.draw(st.booleans()), data.draw(st.booleans())
    attributes = {"kernel_shape": kernel, "strides": strides, "pads": pads, "ceil_mode": int(ceil)}
    if kind == "AveragePool":
        attributes["count_include_pad"] = int(counted)
    x = numbers(channels_last((1, 5, *extents)))
    node = helper.make_node(kind, ["x"], ["y"], **attributes)
    described = [helper.make_tensor_value_info(*each) for each in (("x", 1, x.shape), ("y", 1, None))]
    graph = helper.make_graph([node], "pool", described[:1], described[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (want,) = session.run(None, {"x": x})
    shape = tuple(
        output_extent(extents[axis], kernel[axis], strides[axis], 1, pads[axis::2], ceil=ceil)  # type: ignore[arg-type]
        for axis in range(2)
    )
    assert want.shape[2:] == shape
    problem = Pool(
        (channels_last(x.shape),), channels_last((1, 5, *shape)), kind="max" if kind == "MaxPool" else "average",
        kernel=kernel, strides=strides, pads=pads, count_pads=counted,  # type: ignore[arg-type]
    )  # fmt: skip
    isa = get_isa("x86-64-v3")
    assert KERNEL.accepts(problem, isa) == ""
    np.testing.assert_allclose(run_problem(KERNEL, problem, isa, [x]), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("problem", [simple("max", (1, 21, 9, 9), 3, 2, 1), simple("average", (1, 21, 9, 9), 5, 1, 2)])
def test_code_for_neon_needs_nothing_from_outside(problem: Pool) -> None:
    isa = get_isa("armv8.2+dotprod")
    code = KERNEL.emit(problem, KERNEL.candidates(problem, isa)[0], isa)
    check_closed([generate(ir, isa) for ir in code.objects.values()])


def test_what_it_cannot_compute_is_refused_with_the_reason() -> None:
    isa, problem = get_isa("x86-64-v3"), simple("average", (1, 4, 8, 8), 3, 1, 1)
    assert "outside the image" in KERNEL.accepts(replace(problem, pads=(9, 1, 1, 1)), isa)
    image = channels_last((1, 4, 8, 8), "uint8")
    assert "zero point" in KERNEL.accepts(replace(problem, inputs=(image,), count_pads=True), isa)
    assert "channels-last" in KERNEL.accepts(replace(problem, inputs=(dense((1, 4, 8, 8)),)), isa)
