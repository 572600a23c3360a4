"""Winograd's filters may take what a process is promised to need, and no more."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from strop.compiler.kernels.winograd import WinogradConvolution
from strop.compiler.memory_budget import allowance, spared
from strop.compiler.plan import ProgramPlan
from strop.compiler.program import CompileSettings, compile_program, plan_program
from strop.loader.native import NativeProgram
from strop.model.load import load_model
from strop.model.model import Model

SETTINGS = CompileSettings("x86-64-v3")


def chain(channels: int, layers: int, size: int) -> Model:
    """3x3 convolutions, each with as many outputs as inputs."""
    generator = np.random.default_rng(0)
    nodes, weights = [], []
    for number in range(layers):
        w = generator.normal(size=(channels, channels, 3, 3)).astype(np.float32) / np.float32(3 * channels**0.5)
        weights.append(numpy_helper.from_array(w, f"w{number}"))
        nodes.append(
            helper.make_node("Conv", [f"v{number}", f"w{number}"], [f"v{number + 1}"], f"c{number}", pads=[1] * 4)
        )
    shape = (1, channels, size, size)
    ends = [helper.make_tensor_value_info(f"v{n}", TensorProto.FLOAT, shape) for n in (0, layers)]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(proto)
    return load_model(proto)


def extra(plan: ProgramPlan) -> int:
    """Bytes of transformed filters beyond what they are made of."""
    found = 0
    for task in plan.tasks:
        if isinstance(task.kernel, WinogradConvolution):
            assert task.step.operation is not None
            weights = task.step.operation.core.weights  # type: ignore[union-attr]
            found += ((task.kernel.size + 2) ** 2 - 9) * weights.size // 9 * 4
    return found


def families(plan: ProgramPlan) -> list[str]:
    return [task.kernel.family for task in plan.tasks]


def test_a_network_within_its_allowance_is_left_alone() -> None:
    plan = plan_program(chain(64, 3, 32), SETTINGS)
    assert "winograd_4x4" in families(plan)
    assert spared(plan) == {}


@pytest.mark.parametrize(("channels", "layers", "size"), [(128, 12, 32), (256, 4, 32), (96, 30, 16)])
def test_a_network_whose_filters_are_too_large_keeps_within_it(channels: int, layers: int, size: int) -> None:
    plan = plan_program(chain(channels, layers, size), SETTINGS)
    allowed = allowance(plan.views.graph, plan.arena.bytes)
    assert 0 < extra(plan) <= allowed
    # No more is given up than has to be: one more operation as it was before would be too much.
    least = min(27 * channels * channels * 4 for _ in range(layers))
    assert extra(plan) > allowed - least
    assert spared(plan) == {}


def test_the_results_are_right() -> None:
    model = chain(128, 12, 32)
    program = compile_program(model, SETTINGS)
    assert families(program.plan).count("winograd_4x4") < 12
    image = np.random.default_rng(1).normal(size=(1, 128, 32, 32)).astype(np.float32)
    with NativeProgram(program.image) as native:
        found = native({"v0": image})["v12"]
    with NativeProgram(compile_program(model, CompileSettings("x86-64-v3", "off")).image) as native:
        expected = native({"v0": image})["v12"]
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)


def test_without_winograd_there_is_nothing_to_spare() -> None:
    plan = plan_program(chain(128, 12, 32), CompileSettings("x86-64-v3", "off"))
    assert spared(plan) == {}
