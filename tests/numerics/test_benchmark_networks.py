"""The benchmark's twelve networks are what their names say: size, arithmetic, exporters' nodes, sane activations."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from benchmarks.networks.registry import NETWORKS, network_file

from strop.model.cost import node_costs, total_macs
from strop.model.load import load_model

# Millions of parameters and of multiply-accumulates, and nodes that are no constants, of the same architectures
# written in PyTorch (timm) and exported with batch normalization folded.
EXPECTED = {
    "resnet18": (11.685, 1814.1, {"Conv": 20, "Relu": 17, "Add": 8, "MaxPool": 1, "Gemm": 1}, 49),
    "resnet50": (25.530, 4089.2, {"Conv": 53, "Relu": 49, "Add": 16, "MaxPool": 1, "Gemm": 1}, 122),
    "mobilenetv2": (3.488, 300.8, {"Conv": 52, "Clip": 35, "Add": 10, "Gemm": 1}, 100),
    "mobilenetv3_small": (2.537, 56.5, {"Conv": 53, "HardSwish": 19, "HardSigmoid": 9, "ReduceMean": 9}, 122),
    "efficientnet_b0": (5.268, 385.8, {"Conv": 81, "Sigmoid": 65, "Mul": 65, "ReduceMean": 16, "Add": 9}, 239),
    "squeezenet11": (1.235, 349.2, {"Conv": 26, "Relu": 26, "MaxPool": 3, "Concat": 8}, 65),
    "yolov8n_320": (3.158, 1092.9, {"Conv": 63, "Sigmoid": 58, "Slice": 24, "Resize": 2, "Softmax": 1}, 307),
    "unet256": (1.941, 3033.5, {"Conv": 19, "ConvTranspose": 4, "MaxPool": 4, "Concat": 4}, 49),
    "deit_tiny": (5.717, 1253.7, {"MatMul": 72, "LayerNormalization": 25, "Erf": 12, "Softmax": 12}, 376),
    "minilm_l6": (22.565, 1434.5, {"MatMul": 48, "Erf": 6, "Sqrt": 13, "Softmax": 6, "Range": 1}, 474),
    "lstm2x128": (0.233, 22.9, {"LSTM": 2, "Expand": 4, "Gemm": 1}, 28),
    "mlp": (0.085, 0.084, {"Gemm": 3, "Relu": 2}, 5),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


def test_there_are_twelve_networks() -> None:
    assert list(NETWORKS) == list(EXPECTED)


@pytest.mark.parametrize("name", NETWORKS)
def test_network_has_the_size_and_arithmetic_of_its_architecture(name: str, folder: Path) -> None:
    network = NETWORKS[name]
    model = onnx.load(network_file(network, folder))
    onnx.checker.check_model(model, full_check=True)
    parameters, megamacs, kinds, count = EXPECTED[name]
    macs = total_macs(node_costs(load_model(model), network.inputs()))
    assert macs == network.macs
    assert macs / 1e6 == pytest.approx(megamacs, abs=0.05)
    assert sum(math.prod(tensor.dims) for tensor in model.graph.initializer) == network.parameters
    assert network.parameters / 1e6 == pytest.approx(parameters, abs=0.0005)
    found = Counter(node.op_type for node in model.graph.node)
    assert {kind: found[kind] for kind in kinds} == kinds
    assert sum(found.values()) - found["Constant"] == count
    assert [opset.version for opset in model.opset_import] == [17]


@pytest.mark.parametrize("name", NETWORKS)
def test_activations_neither_vanish_nor_explode(name: str, folder: Path) -> None:
    network = NETWORKS[name]
    for value, array in _values(onnx.load(network_file(network, folder)), network.inputs()).items():
        assert np.isfinite(array).all(), value
        size = np.abs(array[array != 0])
        assert size.size == 0 or size.min() >= np.finfo(np.float32).tiny, f"{value} holds denormals"
        # All but what is zero by its meaning, shares of a softmax, masks, and boxes in pixels.
        rms = float(np.sqrt(np.square(array, dtype=np.float64).mean()))
        assert rms == 0 or 0.004 < rms < 500, (value, rms)
        if "/Conv" in value or "/Gemm" in value:
            assert 0.1 < rms < 6, (value, rms)


def test_a_network_tells_inputs_apart() -> None:
    network = NETWORKS["mobilenetv3_small"]
    session = onnxruntime.InferenceSession(network.build().SerializeToString())
    image = network.inputs()
    first, second = (
        session.run(None, image)[0],
        session.run(None, {"input": image["input"][:, :, ::-1, ::-1].copy()})[0],
    )
    assert np.linalg.norm(first - second) > 0.05 * np.linalg.norm(first)


def test_minilm_takes_any_length() -> None:
    session = onnxruntime.InferenceSession(NETWORKS["minilm_l6"].build().SerializeToString())
    for length in (1, 77):
        tokens = np.ones((1, length), np.int64)
        inputs = {"input_ids": tokens, "attention_mask": tokens, "token_type_ids": 0 * tokens}
        assert session.run(None, inputs)[0].shape == (1, length, 384)


def test_network_files_are_built_once_and_alike(tmp_path: Path) -> None:
    path = network_file(NETWORKS["mlp"], tmp_path)
    stamp = path.stat().st_mtime_ns
    assert network_file(NETWORKS["mlp"], tmp_path) == path
    assert path.stat().st_mtime_ns == stamp
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    path.unlink()
    assert network_file(NETWORKS["mlp"], tmp_path).read_bytes() == NETWORKS["mlp"].build().SerializeToString()


def _values(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns every value of float32 that the model computes, run without fusions."""
    known = onnx.shape_inference.infer_shapes(model).graph.value_info
    names = [value.name for value in known if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    constants = {output for node in model.graph.node if node.op_type == "Constant" for output in node.output}
    names = [name for name in names if name not in constants]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    outputs = [output.name for output in session.get_outputs()]
    return dict(zip(outputs, session.run(outputs, inputs), strict=True))
