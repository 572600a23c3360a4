"""Loading: every kind of source, the house's form, saving."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import helper

from strop.errors import ModelError
from strop.model import model as model_module
from strop.model import save
from strop.model.load import load_model
from strop.model.model import Model
from strop.model.oracle import run_unoptimized
from strop.model.random_inputs import make_inputs
from strop.testing import models


def test_every_kind_of_source_gives_the_same_model(tmp_path: Path) -> None:
    proto = models.convolution_classifier()
    path = tmp_path / "classifier.onnx"
    onnx.save(proto, path)
    loaded = {
        "path": load_model(path),
        "text": load_model(str(path)),
        "bytes": load_model(proto.SerializeToString()),
        "proto": load_model(proto),
        "ir": load_model(onnx_ir.from_proto(proto)),
    }
    inputs = make_inputs(loaded["proto"])
    expected = run_unoptimized(loaded["proto"], inputs)["y"]
    for kind, model in loaded.items():
        assert [spec.shape for spec in model.inputs] == [("batch", 3, 16, 16)], kind
        np.testing.assert_array_equal(run_unoptimized(model, inputs)["y"], expected, err_msg=kind)
    assert loaded["path"].name == "classifier" and loaded["path"].path == path
    assert load_model(loaded["path"]) is loaded["path"]
    assert loaded["path"].sha256 == loaded["bytes"].sha256


def test_a_proto_that_is_changed_later_does_not_change_the_model() -> None:
    proto = models.multilayer_perceptron()
    model = load_model(proto)
    before = model.sha256
    del proto.graph.node[:]
    assert len(model.to_proto().graph.node) == 4
    assert load_model(model.to_bytes()).sha256 == before


def test_initializers_listed_as_inputs_are_no_inputs() -> None:
    model = load_model(models.initializers_as_inputs())
    assert [spec.name for spec in model.inputs] == ["x"]
    assert [value.name for value in model.to_proto().graph.input] == ["x"]
    assert model.source_opset == 9 and model.opset >= 13


def test_constant_nodes_become_initializers_and_nodes_get_names() -> None:
    weight = np.ones((4, 2), np.float32)
    nodes = [
        helper.make_node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(weight)),
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Relu", ["m"], ["y"]),
    ]
    graph = load_model(models.model(nodes, {"x": ("b", 4)}, {"y": ("b", 2)})).to_proto().graph
    assert [tensor.name for tensor in graph.initializer] == ["w"]
    assert [node.op_type for node in graph.node] == ["MatMul", "Relu"]
    assert len({node.name for node in graph.node} - {""}) == 2


def test_nodes_out_of_order_are_sorted() -> None:
    proto = models.multilayer_perceptron()
    nodes = list(proto.graph.node)[::-1]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    model = load_model(proto)
    assert [node.op_type for node in model.to_proto().graph.node] == ["MatMul", "Add", "Relu", "Gemm"]


def test_functions_inside_a_model_are_inlined() -> None:
    proto = models.custom_operator()
    body = [helper.make_node("Mul", ["a", "a"], ["b"])]
    proto.functions.append(
        helper.make_function("com.example", "Magic", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    )
    model = load_model(proto)
    assert [node.op_type for node in model.to_proto().graph.node] == ["Mul"]
    x = np.full((1, 4), 3, np.float32)
    np.testing.assert_array_equal(run_unoptimized(model, {"x": x})["y"], x * x)


@pytest.mark.parametrize(
    ("proto", "quantized"),
    [(models.quantized(), True), (models.quantized(weights_only=True), False), (models.multilayer_perceptron(), False)],
)
def test_quantized_means_quantized_activations(proto: onnx.ModelProto, quantized: bool) -> None:
    assert load_model(proto).is_quantized is quantized


def test_unknown_sizes_are_none_however_they_are_written() -> None:
    proto = models.multilayer_perceptron()
    shape = proto.graph.input[0].type.tensor_type.shape
    for write in ({"dim_value": -1}, {"dim_value": 0}, {"dim_param": "?"}, {}):
        shape.dim[0].Clear()
        for field, value in write.items():
            setattr(shape.dim[0], field, value)
        assert load_model(proto).inputs[0].shape == (None, 16), write


def test_metadata_and_source_opset_are_kept() -> None:
    proto = models.multilayer_perceptron(opset=11)
    helper.set_model_props(proto, {"character": "abc"})
    model = load_model(proto)
    assert model.metadata == {"character": "abc"}
    assert (model.source_opset, model.warnings) == (11, ())


def test_saving_writes_the_same_model_and_leaves_nothing_else(tmp_path: Path) -> None:
    model = load_model(models.convolution_classifier())
    path = model.save(tmp_path / "out.onnx")
    assert load_model(path).sha256 == model.sha256
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.onnx"]


def test_a_large_model_is_saved_with_its_weights_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(models.convolution_classifier())
    monkeypatch.setattr(save, "PROTO_LIMIT_BYTES", 1000)
    path = model.save(tmp_path / "big.onnx")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["big.onnx", "big.onnx.data"]
    with pytest.raises(ModelError, match="2 GB"):
        model.to_bytes()
    large = model.with_proto(model.to_proto()).sha256
    monkeypatch.undo()
    assert load_model(path).sha256 == model.sha256
    assert len(large) == 64


def test_a_rewritten_model_keeps_name_path_and_history(tmp_path: Path) -> None:
    path = load_model(models.multilayer_perceptron(opset=12)).save(tmp_path / "named.onnx")
    model = load_model(path)
    graph = model.fresh_ir()
    graph.graph.node(0).name = "renamed"
    rewritten = Model.from_ir(graph, like=model)
    assert (rewritten.name, rewritten.path) == ("named", path)
    assert rewritten.to_proto().graph.node[0].name == "renamed"
    assert model.to_proto().graph.node[0].name == "matmul"


def test_importing_the_room_does_not_import_onnx() -> None:
    code = "import sys, strop.model, strop.model.specs; print(any(name.startswith('onnx') for name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_element_types_have_numpy_names() -> None:
    assert model_module.dtype_of(onnx.TensorProto.FLOAT) == "float32"
    assert load_model(models.half_precision()).inputs[0].dtype == "float16"
    assert load_model(models.embedding()).inputs[0].dtype == "int64"
