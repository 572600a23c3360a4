"""Zeros are written into the whole halo and nowhere else, on every ISA table."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler.isa import Isa, get_isa
from strop.compiler.kernels.border import BorderKernel
from strop.compiler.kernels.contract import Border
from strop.compiler.layouts import Halo, Layout, array_of, channels_last
from strop.compiler.link import check_closed
from strop.compiler.machine_code import generate
from tests.numerics.kernels.harness import Buffer, every_isa, ranges, run_kernel

KERNEL = BorderKernel()


@every_isa
@given(
    sides=st.tuples(*[st.integers(0, 2)] * 4),
    images=st.integers(1, 2),
    channels=st.sampled_from([1, 3, 16, 37, 64, 150]),
    height=st.integers(1, 4),
    width=st.integers(1, 4),
    dtype=st.sampled_from(["float32", "uint8"]),
    gap=st.sampled_from([0, 8]),
    parts=st.integers(1, 3),
)
def test_the_halo_and_nothing_else_becomes_zero(
    isa: Isa,
    sides: tuple[int, int, int, int],
    images: int,
    channels: int,
    height: int,
    width: int,
    dtype: str,
    gap: int,
    parts: int,
) -> None:
    halo = Halo(*sides)
    item = np.dtype(dtype).itemsize
    layout = channels_last((images, channels, height, width), dtype, halo, pixel=channels * item + gap)
    shape = (images, channels, height + halo.top + halo.bottom, width + halo.left + halo.right)
    whole = Layout(shape, layout.strides, f"V{item}")
    written = np.zeros(layout.span, np.uint8)
    array_of(written, whole)[...] = np.void(b"\1" * item)
    array_of(written, Layout(layout.shape, layout.strides, f"V{item}"), layout.before)[...] = np.void(b"\0" * item)
    if not written.any():
        return
    buffer = Buffer(np.zeros(layout.span, np.uint8), layout.before, written.astype(bool))
    problem = Border((), layout)
    (schedule,) = KERNEL.candidates(problem, isa)
    split = KERNEL.split(problem, schedule, isa)
    code = KERNEL.emit(problem, schedule, isa)
    assert code.arguments == ("output", "begin", "end")
    records = [[buffer, *part] for part in ranges(split.units, split.grain, parts)]
    (result,) = run_kernel(code.objects, isa, code.symbol, *records)
    assert not result[written.astype(bool)].any()


def test_code_for_neon_needs_nothing_from_outside() -> None:
    isa, problem = get_isa("armv8.2+dotprod"), Border((), channels_last((1, 21, 5, 4), halo=Halo(1, 1, 1, 2)))
    code = KERNEL.emit(problem, KERNEL.candidates(problem, isa)[0], isa)
    check_closed([generate(ir, isa) for ir in code.objects.values()])
