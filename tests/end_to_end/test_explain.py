"""`strop explain`: the table, the levels, and the JSON document."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from strop.cli.app import build
from strop.testing import models


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "classifier.onnx"
    onnx.save(models.convolution_classifier(), path)
    return path


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(build(), ["explain", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_document_names_every_operation(classifier: Path) -> None:
    code, stdout, stderr = run(str(classifier), "--engine", "native", "--json")
    document = json.loads(stdout)
    assert code == 0
    assert document["schema"] == "strop.explain/1"
    assert document["native_share"] == {"nodes": 1.0, "time": 1.0}
    (segment,) = document["segments"]
    assert segment["reason"] == ""
    rows = {row["name"]: row for row in document["operations"]}
    assert {"conv1", "conv2", "pool", "fc"} <= set(rows)
    assert rows["fc"]["kernel"] == "convolution_direct"
    assert rows["conv1"]["ms"] > 0
    assert rows["conv1"]["percent_of_limit"] > 0
    assert "% of limit" in stderr


def test_what_is_not_native_is_named_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "running_sum.onnx"
    graph = helper.make_graph(
        [helper.make_node("CumSum", ["x", "axis"], ["sums"], name="sums"), helper.make_node("Relu", ["sums"], ["y"])],
        "running_sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 5])],
        [numpy_helper.from_array(np.array(1), "axis")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    code, stdout, stderr = run(str(path), "--json")
    document = json.loads(stdout)
    assert code == 0
    assert document["native_share"]["nodes"] == 0
    assert "no kernel for CumSum" in document["segments"][0]["reason"]
    assert "not native: 2 node(s)" in stderr


@pytest.mark.parametrize(
    ("level", "text"),
    [
        ("operations", "convolution 3x3"),
        ("fused", "then maximum(0, add(x0, c0))"),
        ("views", "buffer output 0"),
        ("plan", "barriers"),
        ("llvm", "define void @"),
        ("assembly", ".text"),
    ],
)
def test_every_level_can_be_shown(classifier: Path, level: str, text: str) -> None:
    code, stdout, _ = run(str(classifier), "--show", level, "--isa", "x86-64-v3")
    assert code == 0
    assert text in stdout


@pytest.mark.parametrize("options", [["--show", "nothing"], ["--engine", "openvino"], ["--winograd", "perhaps"]])
def test_bad_options_are_refused(classifier: Path, options: list[str]) -> None:
    code, _, stderr = run(str(classifier), *options)
    assert code == 2
    assert "usage.bad-option" in stderr
