"""What is not lowered says why; constants and shapes are worked out on the way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import helper

from strop.compiler.levels import Compute, Convolve, PoolWindow, Reshape
from strop.compiler.lower import Lowered, lower, prepare
from strop.compiler.program import CompileSettings, compile_program
from strop.errors import NotSupportedError
from strop.model.load import load_model
from strop.testing import models
from strop.testing.models import Weights, model


def lowered(
    nodes: Sequence[onnx.NodeProto],
    weights: Weights | None = None,
    shape: tuple[int, ...] = (1, 4, 6, 6),
    **outputs: tuple[int, ...],
) -> Lowered:
    return lower(prepare(load_model(model(list(nodes), {"x": shape}, outputs, weights))))


def test_reasons_are_in_words() -> None:
    weights = Weights()
    nodes = [
        helper.make_node("Atan", ["x"], ["a"], "atan"),
        helper.make_node("Conv", ["a", "x"], ["y"], "convolution"),
        helper.make_node("CumSum", ["x", weights.constant("i", np.array(0))], ["z"], "running sum"),
    ]
    reasons = lowered(nodes, weights, y=(1, 1, 1, 1), z=(1, 4, 6, 6)).reasons
    assert reasons == {
        "atan": "no kernel for Atan",
        "convolution": "the weights of a convolution must be constant",
        "running sum": "no kernel for CumSum",
    }


def test_what_reads_an_uncovered_node_is_lowered_all_the_same() -> None:
    nodes = [helper.make_node("Atan", ["x"], ["a"], "atan"), helper.make_node("Relu", ["a"], ["y"], "relu")]
    found = lowered(nodes, y=(1, 4, 6, 6))
    assert list(found.reasons) == ["atan"]
    assert [operation.name for operation in found.graph.operations] == ["relu"]


def test_arithmetic_on_shapes_leaves_no_operation() -> None:
    weights = Weights()
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", weights.constant("zero", np.array(0))], ["n"]),
        helper.make_node("Unsqueeze", ["n", weights.constant("axes", np.array([0]))], ["u"]),
        helper.make_node("Concat", ["u", weights.constant("rest", np.array([-1]))], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    (operation,) = lowered(nodes, weights, y=(1, 144)).graph.operations
    assert isinstance(operation.core, Reshape)


def test_identity_and_dropout_are_other_names() -> None:
    nodes = [
        helper.make_node("Identity", ["x"], ["a"]),
        helper.make_node("Dropout", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    (operation,) = lowered(nodes, y=(1, 4, 6, 6)).graph.operations
    assert operation.inputs == ("x",)


def test_an_output_that_is_an_input_is_a_copy() -> None:
    (operation,) = lowered([helper.make_node("Identity", ["x"], ["y"])], y=(1, 4, 6, 6)).graph.operations
    assert isinstance(operation.core, Compute)


@pytest.mark.parametrize(("mode", "pads"), [("SAME_UPPER", (0, 0, 1, 1)), ("SAME_LOWER", (1, 1, 0, 0))])
def test_automatic_padding_is_worked_out(mode: str, pads: tuple[int, ...]) -> None:
    weights = Weights()
    node = helper.make_node("Conv", ["x", weights.add("w", 2, 4, 3, 3)], ["y"], auto_pad=mode, strides=[2, 2])
    (operation,) = lowered([node], weights, y=(1, 2, 3, 3)).graph.operations
    assert isinstance(operation.core, Convolve)
    assert operation.core.pads == pads


def test_a_pool_may_round_up() -> None:
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    found = lowered([node], shape=(1, 4, 6, 7), y=(1, 4, 3, 3))
    assert found.graph.values["y"].shape == (1, 4, 3, 3)


def test_a_mean_over_the_image_is_a_pool() -> None:
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
    cores = [type(operation.core) for operation in lowered([node], y=(1, 4)).graph.operations]
    assert cores == [PoolWindow, Reshape]


def test_free_sizes_are_refused() -> None:
    with pytest.raises(NotSupportedError) as error:
        lower(prepare(load_model(models.multilayer_perceptron())))
    assert error.value.code == "unsupported.model"
    assert "fixed" in error.value.what


def test_a_model_that_is_not_native_as_a_whole_is_not_compiled_as_one() -> None:
    nodes = [helper.make_node("Atan", ["x"], ["y"], "atan")]
    with pytest.raises(NotSupportedError) as error:
        compile_program(load_model(model(nodes, {"x": (1, 2)}, {"y": (1, 2)})), CompileSettings("generic"))
    assert "no kernel for Atan" in str(error.value)
