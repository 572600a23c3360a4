"""Recurrent models of the zoo as machine code: resemblyzer whole, silero's branch for one sample rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from strop.compiler.levels import Recur
from strop.compiler.lower import lower, prepare
from strop.engines.contract import Settings
from strop.engines.registry import get_engine
from strop.model.load import load_model
from strop.model.model import Model
from strop.model.oracle import run_unoptimized


def branch(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Returns the branch of the only If of a model as a model, its other inputs left out."""
    (choice,) = (node for node in model.graph.node if node.op_type == "If")
    (body,) = (attribute.g for attribute in choice.attribute if attribute.name == name)
    read = {name for node in body.node for name in node.input}
    inputs = [value for value in model.graph.input if value.name in read]
    outputs = [helper.make_tensor_value_info(value.name, 1, None) for value in body.output]
    tensors = [tensor for tensor in (*model.graph.initializer, *body.initializer) if tensor.name in read]
    nodes = [*(node for node in model.graph.node if node.op_type == "Constant"), *body.node]
    graph = helper.make_graph(nodes, name, inputs, outputs, tensors)
    made = helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    return onnx.shape_inference.infer_shapes(made)


def agrees(model: Model, inputs: dict[str, np.ndarray], *, share: float = 1.0) -> None:
    """Checks that so much of the model is native, and that it is as exact as recurrences are to be."""
    compiled = get_engine("native").compile(model, Settings(threads=1))
    try:
        outputs = compiled(inputs)
        assert compiled.native_share >= share  # type: ignore[attr-defined]
    finally:
        compiled.close()
    for name, want in run_unoptimized(model, inputs).items():
        error = np.linalg.norm((outputs[name] - want).astype(np.float64))
        assert error <= 1e-5 * np.linalg.norm(want), name


def test_resemblyzer_runs_as_machine_code(zoo: Path) -> None:
    model = load_model(zoo / "models" / "resemblyzer.onnx", shapes={"mels": (1, 160, 40)})
    lowered = lower(prepare(model))
    assert sum(isinstance(operation.core, Recur) for operation in lowered.graph.operations) == 3
    agrees(model, {"mels": np.random.default_rng(0).random((1, 160, 40), np.float32)})


def test_the_lstm_of_silero_runs_as_machine_code(zoo: Path) -> None:
    proto = branch(onnx.load(zoo / "models" / "silero_vad_ifless.onnx"), "then_branch")
    random = np.random.default_rng(0)
    inputs = {
        "input": random.normal(0, 0.1, (1, 576)).astype(np.float32),
        "state": random.normal(0, 0.3, (2, 1, 128)).astype(np.float32),
    }
    model = load_model(proto, shapes={name: array.shape for name, array in inputs.items()})
    agrees(model, inputs)
