"""Which kernel a problem gets, and why not another."""

from __future__ import annotations

import numpy as np
import pytest

from strop.compiler.choose import NoKernelError, choose, estimate
from strop.compiler.isa import ISAS, get_isa
from strop.compiler.kernels.contract import Convolution, Cost, Pool
from strop.compiler.kernels.convolution_stem import StemConvolution
from strop.compiler.layouts import channels_last, dense
from strop.compiler.registry import KERNELS

ISA = get_isa("x86-64-v4")


def convolution(inputs: int, outputs: int, extent: int, kernel: int = 1, *, groups: int = 1) -> Convolution:
    image, output = (channels_last((1, count, extent, extent)) for count in (inputs, outputs))
    pads = (kernel // 2,) * 4
    return Convolution((image,), output, weights=(outputs, inputs // groups, kernel, kernel), pads=pads, groups=groups)


def test_the_callers_image_goes_to_the_stem_and_others_to_the_direct_kernel() -> None:
    output = channels_last((1, 32, 10, 10))
    of_caller = Convolution((dense((1, 3, 10, 10)),), output, weights=(32, 3, 3, 3), pads=(1, 1, 1, 1))
    choice = choose(of_caller, ISA)
    assert (choice.kernel.family, choice.needs.input_order) == ("convolution_stem", "dense")
    assert choice.reasons["convolution_direct"] == "the input's channels are not neighbours"
    inner = choose(convolution(3, 32, 10, 3), ISA)
    assert inner.kernel.family == "convolution_direct"
    assert inner.needs.halo.top == 1


def test_one_filter_a_channel_goes_to_the_depthwise_kernel() -> None:
    assert choose(convolution(48, 48, 14, 3, groups=48), ISA).kernel.family == "convolution_depthwise"
    assert choose(convolution(48, 96, 14, 3, groups=48), ISA).kernel.family == "convolution_direct"


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.key)
def test_equal_problems_get_equal_choices_and_every_other_family_a_reason(isa) -> None:  # type: ignore[no-untyped-def]
    first, second = (choose(convolution(64, 64, 14, 3), isa, winograd="off") for _ in range(2))
    assert (first.kernel, first.schedule, first.seconds) == (second.kernel, second.schedule, second.seconds)
    assert set(first.reasons) == {kernel.family for kernel in KERNELS} - {first.kernel.family}
    assert all(first.reasons.values())


def test_layers_that_fit_the_usual_tile_get_it_and_few_rows_a_wide_one() -> None:
    usual = choose(convolution(256, 64, 56), ISA).schedule
    assert (usual.pixels, usual.vectors) == ISA.tile
    row = choose(convolution(512, 1000, 1), ISA).schedule
    assert row.vectors == 4
    few = choose(convolution(256, 48, 13), ISA).schedule
    assert few.vectors == 3  # 48 channels are three vectors


def test_what_no_kernel_computes_is_refused_with_every_familys_reason() -> None:
    image = channels_last((1, 8, 5, 5), "int8")
    with pytest.raises(NoKernelError, match="no kernel for Pool") as caught:
        choose(Pool((image,), image, kernel=(2, 2)), ISA)
    assert set(caught.value.reasons) == {kernel.family for kernel in KERNELS}


def test_an_algorithm_that_depends_on_the_weights_needs_them() -> None:
    class Picky(StemConvolution):
        family = "picky"

        def accepts(self, problem: object, isa: object) -> str:
            return ""

        def suits(self, problem: object, weights: np.ndarray) -> str:
            return "" if weights.max() < 1 else "weights of one and more"

    kernels = (Picky(), *KERNELS)
    output = channels_last((1, 32, 10, 10))
    problem = Convolution((dense((1, 3, 10, 10)),), output, weights=(32, 3, 3, 3), pads=(1, 1, 1, 1))
    weights = np.zeros(problem.weights, np.float32)
    assert choose(problem, ISA, kernels=kernels, weights=weights).kernel.family == "picky"
    assert choose(problem, ISA, kernels=kernels, weights=weights + 1).reasons["picky"] == "weights of one and more"
    assert choose(problem, ISA, kernels=kernels).reasons["picky"] == "the weights are not known"
    assert choose(problem, ISA, kernels=kernels, weights=weights, winograd="off").reasons["picky"] == "winograd is off"


def test_an_estimate_is_the_longer_of_arithmetic_and_memory_and_a_part_of_the_shorter() -> None:
    work = estimate(Cost(1e9, 1.0, {}, 0.0), ISA)
    moved = estimate(Cost(0.0, 1.0, {"l3": 1e6}, 0.0), ISA)
    both = estimate(Cost(1e9, 1.0, {"l3": 1e6}, 0.0), ISA)
    assert max(work, moved) < both < work + moved
