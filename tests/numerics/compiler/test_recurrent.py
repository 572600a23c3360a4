"""LSTM, GRU and RNN with what exporters put round them, at every level of the compiler, against the oracle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from strop.compiler.levels import Recur
from strop.compiler.lower import lower, prepare
from strop.model.load import load_model
from tests.numerics.compiler.levels import check_levels, planned

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, FEATURES = 4, 5


class Net:
    """Nodes and their constants."""

    def __init__(self, steps: int = STEPS, batch: int = 1) -> None:
        self.random = np.random.default_rng(2)
        self.steps, self.batch = steps, batch
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.inputs = {"x": (steps, batch, FEATURES)}

    def constant(self, array: np.ndarray) -> str:
        """Adds a constant and returns its name."""
        name = f"c{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(array, name))
        return name

    def normal(self, *shape: int) -> str:
        """Adds random weights."""
        return self.constant(self.random.normal(0, 1 / math.sqrt(shape[-1]), shape).astype(np.float32))

    def node(self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        """Adds a node."""
        self.nodes.append(helper.make_node(operator, inputs, outputs, **attributes))

    def recurrent(
        self,
        operator: str,
        source: str,
        outputs: list[str],
        units: int,
        features: int = FEATURES,
        *,
        bias: bool = True,
        states: tuple[str, ...] = (),
        lengths: str = "",
        peepholes: bool = False,
        **attributes: Any,
    ) -> None:
        """Adds a recurrent operator with random weights."""
        directions = 2 if attributes.get("direction") == "bidirectional" else 1
        rows = GATES[operator] * units
        inputs = [source, self.normal(directions, rows, features), self.normal(directions, rows, units)]
        inputs += [self.normal(directions, 2 * rows) if bias else "", lengths, *states]
        if peepholes:
            inputs += [""] * (7 - len(inputs)) + [self.normal(directions, 3 * units)]
        self.node(operator, inputs, outputs, hidden_size=units, **attributes)

    def model(self, outputs: list[str], types: dict[str, int] | None = None) -> onnx.ModelProto:
        """Returns the model, the shapes of its outputs inferred."""
        kinds = types or {}
        ins = [helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), s) for n, s in self.inputs.items()]
        outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "tiny", ins, outs, self.tensors)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
        return onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)


@st.composite
def nets(draw: st.DrawFn) -> onnx.ModelProto:
    """Returns one operator with any of its inputs, outputs and attributes."""
    operator = draw(st.sampled_from(sorted(GATES)))
    net = Net(draw(st.integers(1, 5)), draw(st.integers(1, 3)))
    units = draw(st.sampled_from([3, 8, 16, 20]))
    direction = draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    directions = 2 if direction == "bidirectional" else 1
    names = ["initial_h", "initial_c"] if operator == "LSTM" else ["initial_h"]
    states = []
    for name in names:
        kind = draw(st.sampled_from(["none", "input", "constant", "zeros"]))
        shape = (directions, net.batch, units)
        if kind == "input":
            net.inputs[name] = shape
        array = net.random.normal(0, 0.5 if kind == "constant" else 0, shape).astype(np.float32)
        states.append("" if kind == "none" else name if kind == "input" else net.constant(array))
    attributes: dict[str, Any] = {"direction": direction}
    if operator == "GRU":
        attributes["linear_before_reset"] = draw(st.integers(0, 1))
    if draw(st.booleans()):
        attributes["clip"] = 0.5
    if draw(st.booleans()):
        attributes["activations"] = _activations(draw, operator) * directions
        attributes["activation_alpha"], attributes["activation_beta"] = [0.3] * 3 * directions, [0.4] * 3 * directions
    lengths = ""
    if draw(st.booleans()):
        lengths = net.constant(net.random.integers(1, net.steps + 1, net.batch).astype(np.int32))
    outputs = ["y", "y_h", "y_c"][: 3 if operator == "LSTM" else 2]
    wanted = [name if draw(st.booleans()) else "" for name in outputs]
    if not any(wanted):
        wanted[draw(st.integers(0, len(outputs) - 1))] = "y"
    net.recurrent(
        operator,
        "x",
        wanted,
        units,
        bias=draw(st.booleans()),
        states=tuple(states),
        lengths=lengths,
        peepholes=operator == "LSTM" and draw(st.booleans()),
        **attributes,
    )
    return net.model([name for name in wanted if name])


def _activations(draw: st.DrawFn, operator: str) -> list[str]:
    gate = st.sampled_from(["Sigmoid", "HardSigmoid"])
    change = st.sampled_from(["Tanh", "Relu", "Affine", "LeakyRelu", "ScaledTanh", "Softsign", "Softplus"])
    return [draw(each) for each in {"LSTM": (gate, change, change), "GRU": (gate, change), "RNN": (change,)}[operator]]


@settings(max_examples=60)
@given(nets())
def test_operators_with_any_inputs_and_attributes(proto: onnx.ModelProto) -> None:
    check_levels(proto, code=False)


@settings(max_examples=15)
@given(nets())
def test_machine_code_of_operators_with_any_inputs_and_attributes(proto: onnx.ModelProto) -> None:
    check_levels(proto)


def stacked(operator: str = "LSTM", direction: str = "forward", *, batch: int = 1) -> onnx.ModelProto:
    """Two layers, batch first outside, as PyTorch exports them; a product of the last step."""
    net = Net(batch=batch)
    net.inputs = {"x": (batch, STEPS, FEATURES)}
    directions, units, features = 2 if direction == "bidirectional" else 1, 20, FEATURES
    net.node("Transpose", ["x"], ["x0"], perm=[1, 0, 2])
    for layer in range(2):
        own = f"y{layer}"
        net.recurrent(operator, f"x{layer}", [own], units, features, direction=direction)
        features = directions * units
        if directions == 1:
            net.node("Squeeze", [own, net.constant(np.array([1]))], [f"x{layer + 1}"])
        else:
            net.node("Transpose", [own], [f"{own}t"], perm=[0, 2, 1, 3])
            net.node("Reshape", [f"{own}t", net.constant(np.array([0, 0, -1]))], [f"x{layer + 1}"])
    net.node("Transpose", ["x2"], ["t"], perm=[1, 0, 2])
    net.node("Gather", ["t", net.constant(np.array(-1))], ["last"], axis=1)
    net.node("Gemm", ["last", net.normal(7, features)], ["y"], transB=1)
    return net.model(["y"])


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("operator", sorted(GATES))
def test_stacked_layers_are_products_and_recurrences_without_copies(operator: str, direction: str, batch: int) -> None:
    proto = stacked(operator, direction, batch=batch)
    check_levels(proto)
    plan = planned(proto)
    assert plan.views.copies == 0, str(plan.views)
    families = [task.kernel.family for task in plan.tasks]
    assert families.count("recurrent") == 2
    assert len(families) == 5, families


def test_lengths_may_be_computed() -> None:
    net = Net(batch=3)
    net.inputs["lengths"] = (3,)
    for name in ("lengths",):
        net.node("Identity", [name], ["same"])
    net.recurrent("GRU", "x", ["y", "y_h"], 16, lengths="same", direction="bidirectional")
    proto = net.model(["y", "y_h"], {"lengths": TensorProto.INT32})
    model = load_model(proto)
    assert not lower(prepare(model)).reasons
    inputs = {
        "x": net.random.normal(size=(STEPS, 3, FEATURES)).astype(np.float32),
        "lengths": np.array([4, 1, 2], np.int32),
    }
    check_levels(proto, inputs=inputs)


def test_states_that_are_zeros_or_never_read_cost_nothing() -> None:
    net = Net()
    zeros = net.constant(np.zeros((1, 1, 16), np.float32))
    net.recurrent("LSTM", "x", ["y", "y_h", ""], 16, states=(zeros, zeros))
    graph = lower(prepare(load_model(net.model(["y", "y_h"])))).graph
    cores = [operation.core for operation in graph.operations if isinstance(operation.core, Recur)]
    assert [(core.given, core.finals) for core in cores] == [((), ())]


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("coupled input and forget gates", {"input_forget": 1}),
        ("directions of other activations", {
            "direction": "bidirectional", "activations": ["Sigmoid", "Tanh", "Tanh", "Sigmoid", "Tanh", "Relu"]}),
    ],
)  # fmt: skip
def test_what_is_not_lowered_says_why(reason: str, change: dict[str, Any]) -> None:
    net = Net()
    net.recurrent("LSTM", "x", ["y"], 8, **change)
    assert reason in "".join(lower(prepare(load_model(net.model(["y"])))).reasons.values())


def test_weights_that_are_computed_are_left_to_another_engine() -> None:
    net = Net()
    net.inputs["w"] = (1, 8, FEATURES)
    net.node("RNN", ["x", "w", net.normal(1, 8, 8)], ["y"], hidden_size=8)
    reasons = lower(prepare(load_model(net.model(["y"])))).reasons
    assert "the weights of a recurrent operator must be constant" in "".join(reasons.values())
