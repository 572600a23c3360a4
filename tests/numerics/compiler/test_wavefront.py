"""Stacked recurrences cut into pieces of time: right at every level, and the same for any number of threads."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from strop.compiler.levels import Recur
from strop.compiler.plan import ProgramPlan
from strop.loader.cpu import isa_levels
from strop.model.load import load_model
from strop.model.random_inputs import make_inputs
from tests.numerics.compiler.levels import check_levels, compiled, planned
from tests.numerics.compiler.test_recurrent import FEATURES, Net

STEPS, UNITS = 37, 64


def stack(
    operator: str = "LSTM",
    layers: int = 2,
    *,
    units: int = UNITS,
    steps: int = STEPS,
    outputs: tuple[str, ...] = ("all",),
    states: bool = False,
) -> onnx.ModelProto:
    """Returns layers one on the other; outputs: "all" steps and the "last" of the last layer, the states of "each"."""
    net = Net(steps)
    source, features, given = "x", FEATURES, []
    for layer in range(layers):
        names = [f"y{layer}", f"y_h{layer}", f"y_c{layer}"][: 3 if operator == "LSTM" else 2]
        initial = [f"i{layer}_{name}" for name in names[1:]] if states else []
        for name in initial:
            net.inputs[name] = (1, 1, units)
        if "each" not in outputs:
            names = names[:1]
        net.recurrent(operator, source, names, units, features, states=tuple(initial))
        given += names[1:]
        net.node("Squeeze", [names[0], net.constant(np.array([1]))], [f"x{layer}"])
        source, features = f"x{layer}", units
    results = []
    if "all" in outputs:
        net.node("Mul", [source, net.constant(np.float32(2).reshape(()))], ["all"])
        results.append("all")
    if "last" in outputs:
        net.node("Transpose", [source], ["turned"], perm=[1, 0, 2])
        net.node("Gather", ["turned", net.constant(np.array(-1))], ["end"], axis=1)
        net.node("Gemm", ["end", net.normal(7, units)], ["last"], transB=1)
        results.append("last")
    if given:
        net.node("Concat", given, ["states"], axis=2)
        results.append("states")
    return net.model(results)


def waves(plan: ProgramPlan) -> list[list[int]]:
    """Returns the threads of each wave's tasks."""
    found: dict[int, list[int]] = {}
    for task in plan.tasks:
        if task.step.operation is not None and task.step.operation.turn is not None:
            found.setdefault(task.step.operation.turn.wave, []).append(task.thread)
    return [found[wave] for wave in sorted(found)]


@pytest.mark.parametrize("operator", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("outputs", [("all",), ("last",), ("all", "last", "each")], ids=" ".join)
@pytest.mark.parametrize("states", [False, True])
def test_stacks_are_right_at_every_level(operator: str, outputs: tuple[str, ...], states: bool) -> None:
    units = {"LSTM": 64, "GRU": 80, "RNN": 128}[operator]
    proto = stack(operator, units=units, outputs=outputs, states=states)
    assert len(waves(planned(proto))) == 5  # four pieces, two layers
    check_levels(proto)


@pytest.mark.parametrize("layers", [2, 3])
def test_the_number_of_threads_changes_no_bit(layers: int) -> None:
    proto = stack(layers=layers, outputs=("all", "each"), states=True)
    model = load_model(proto)
    inputs = make_inputs(model)
    one = compiled(model, inputs, isa_levels()[0])
    for threads in (2, 3, 4):
        for _ in range(5):
            for name, array in compiled(model, inputs, isa_levels()[0], threads=threads).items():
                np.testing.assert_array_equal(array, one[name], err_msg=f"{threads} threads")


def test_a_barrier_stands_before_each_wave_and_nowhere_in_it() -> None:
    plan = planned(stack(outputs=("last",)))
    assert waves(plan) == [[0], [1, 1, 0], [1, 1, 0], [1, 1, 0], [1, 1]]
    own = [task for task in plan.tasks if task.step.operation is not None and task.step.operation.turn is not None]
    numbers = [task.step.operation.turn.wave for task in own if task.step.operation and task.step.operation.turn]
    starts = [index == 0 or numbers[index] != numbers[index - 1] for index in range(len(numbers))]
    assert [task.wait for task in own] == starts
    assert plan.views.copies == 0


def test_what_does_not_pay_stays_whole() -> None:
    small, short, single = stack(units=16), stack(steps=15), stack(layers=1)
    large = stack(units=256)
    for proto in (small, short, single, large):
        plan = planned(proto)
        assert waves(plan) == []
        layers = [task for task in plan.tasks if task.step.operation and isinstance(task.step.operation.core, Recur)]
        assert all(task.thread == 0 for task in layers)
