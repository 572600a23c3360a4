"""Operators that work element by element, and forms of activations, at every level and in machine code."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from strop.compiler.fuse import fuse
from strop.compiler.levels import Compute
from strop.compiler.lower import lower, prepare
from strop.model.load import load_model
from strop.testing.models import Weights, model
from tests.numerics.compiler.levels import check_levels

node = helper.make_node
BOOL, INT64, INT32 = TensorProto.BOOL, TensorProto.INT64, TensorProto.INT32

UNARY: list[tuple[str, dict[str, float | str]]] = [
    ("Abs", {}),
    ("Ceil", {}),
    ("Celu", {"alpha": 0.7}),
    ("Cos", {}),
    ("Elu", {"alpha": 1.3}),
    ("Erf", {}),
    ("Exp", {}),
    ("Floor", {}),
    ("Gelu", {}),
    ("Gelu", {"approximate": "tanh"}),
    ("HardSigmoid", {"alpha": 0.3}),
    ("HardSwish", {}),
    ("LeakyRelu", {"alpha": 0.2}),
    ("Mish", {}),
    ("Neg", {}),
    ("Reciprocal", {}),
    ("Round", {}),
    ("Selu", {}),
    ("Shrink", {"lambd": 0.3, "bias": 0.1}),
    ("Sigmoid", {}),
    ("Sign", {}),
    ("Sin", {}),
    ("Softplus", {}),
    ("Softsign", {}),
    ("Tanh", {}),
    ("ThresholdedRelu", {"alpha": 0.4}),
]


def with_opset(nodes: list[onnx.NodeProto], opset: int, weights: Weights | None = None) -> onnx.ModelProto:
    return model(nodes, {"x": (2, 3, 19)}, {"y": (2, 3, 19)}, weights, opset=opset)


@pytest.mark.parametrize(("operator", "attributes"), UNARY, ids=lambda value: value if isinstance(value, str) else "")
def test_operators_of_one_operand(operator: str, attributes: dict[str, float | str]) -> None:
    check_levels(with_opset([node(operator, ["x"], ["y"], **attributes)], 20))


@pytest.mark.parametrize(
    ("operator", "exponent"), [("Log", 1), ("Sqrt", 1), *(("Pow", e) for e in (2, 3, -1, 0.5, 2.3))]
)
def test_operators_of_positive_numbers(operator: str, exponent: float) -> None:
    weights = Weights()
    more = [weights.constant("exponent", np.float32(exponent))] if operator == "Pow" else []
    nodes = [node("Exp", ["x"], ["e"]), node(operator, ["e", *more], ["y"])]
    check_levels(with_opset(nodes, 17, weights))


@pytest.mark.parametrize("operator", ["Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, INT64, INT32])
def test_comparisons_broadcast_and_choose(operator: str, kind: int) -> None:
    nodes = [node(operator, ["a", "b"], ["c"]), node("Not", ["c"], ["y"]), node("Where", ["c", "a", "b"], ["z"])]
    shapes = {"a": (2, 1, 19), "b": (3, 1)}
    kinds = {"a": kind, "b": kind, "y": BOOL, "z": kind}
    check_levels(model(nodes, shapes, {"y": (2, 3, 19), "z": (2, 3, 19)}, types=kinds))


def test_bounds_of_one_element_add_no_axis() -> None:
    weights = Weights()
    bounds = [weights.constant(name, np.array([number], np.float32)) for name, number in (("low", -0.5), ("high", 0.5))]
    nodes = [
        node("ReduceMean", ["x"], ["m"], axes=[0, 1, 2], keepdims=0),
        node("Clip", ["m", *bounds], ["y"]),
    ]
    check_levels(model(nodes, {"x": (2, 3, 19)}, {"y": ()}, weights, opset=13))


def test_logic_of_computed_truth_values() -> None:
    weights = Weights()
    zero, edge = weights.constant("zero", np.float32(0)), weights.constant("edge", np.float32(0.5))
    nodes = [
        node("Less", ["x", zero], ["a"]),
        node("Less", ["x", edge], ["b"]),
        node("And", ["a", "b"], ["both"]),
        node("Or", ["a", "both"], ["some"]),
        node("Xor", ["some", "b"], ["y"]),
    ]
    check_levels(model(nodes, {"x": (2, 3, 19)}, {"y": (2, 3, 19)}, weights, types={"y": BOOL}))


@pytest.mark.parametrize("source", [TensorProto.FLOAT, INT64, INT32, BOOL])
@pytest.mark.parametrize("target", [TensorProto.FLOAT, INT64, INT32, BOOL])
def test_casts(source: int, target: int) -> None:
    nodes = [node("Cast", ["x"], ["y"], to=target)]
    check_levels(model(nodes, {"x": (3, 37)}, {"y": (3, 37)}, types={"x": source, "y": target}))


def test_a_mask_of_whole_numbers_becomes_what_is_added_to_scores() -> None:
    weights = Weights()
    one, low = weights.constant("one", np.float32(1)), weights.constant("low", np.float32(-10000))
    nodes = [
        node("Unsqueeze", ["mask", weights.constant("axes", np.array([1]))], ["wide"]),
        node("Cast", ["wide"], ["m"], to=TensorProto.FLOAT),
        node("Sub", [one, "m"], ["rest"]),
        node("Mul", ["rest", low], ["added"]),
        node("Add", ["x", "added"], ["y"]),
    ]
    shapes = {"x": (2, 5, 9), "mask": (2, 9)}
    check_levels(model(nodes, shapes, {"y": (2, 5, 9)}, weights, types={"mask": INT64}))


@pytest.mark.parametrize("kind", [INT64, BOOL])
def test_what_is_no_float_is_moved(kind: int) -> None:
    nodes = [node("Transpose", ["x"], ["y"], perm=[2, 0, 1])]
    check_levels(model(nodes, {"x": (7, 35, 19)}, {"y": (19, 7, 35)}, types={"x": kind, "y": kind}))


# -- forms

Number = Callable[[float], str]


def _silu(c: Number) -> list[onnx.NodeProto]:
    return [node("Sigmoid", ["x"], ["s"]), node("Mul", ["s", "x"], ["y"])]


def _quick_gelu(c: Number) -> list[onnx.NodeProto]:
    return [node("Mul", ["x", c(1.702)], ["a"]), node("Sigmoid", ["a"], ["s"]), node("Mul", ["x", "s"], ["y"])]


def _hard_swish_of_clip(c: Number) -> list[onnx.NodeProto]:
    nodes = [node("Add", ["x", c(3)], ["a"]), node("Clip", ["a", c(0), c(6)], ["k"])]
    return [*nodes, node("Mul", ["x", "k"], ["m"]), node("Div", ["m", c(6)], ["y"])]


def _hard_swish_of_hard_sigmoid(c: Number) -> list[onnx.NodeProto]:
    return [node("HardSigmoid", ["x"], ["s"], alpha=1 / 6, beta=0.5), node("Mul", ["x", "s"], ["y"])]


def _erf(c: Number) -> list[onnx.NodeProto]:
    return [node("Div", ["x", c(math.sqrt(2))], ["d"]), node("Erf", ["d"], ["e"]), node("Add", ["e", c(1)], ["p"])]


def _gelu_halved_last(c: Number) -> list[onnx.NodeProto]:
    return [*_erf(c), node("Mul", ["x", "p"], ["m"]), node("Mul", ["m", c(0.5)], ["y"])]


def _gelu_halved_first(c: Number) -> list[onnx.NodeProto]:
    return [node("Mul", ["x", c(0.5)], ["h"]), *_erf(c), node("Mul", ["h", "p"], ["y"])]


def _gelu_tanh(c: Number) -> list[onnx.NodeProto]:
    return [
        node("Pow", ["x", c(3)], ["cube"]),
        node("Mul", [c(0.044715), "cube"], ["a"]),
        node("Add", ["x", "a"], ["b"]),
        node("Mul", ["b", c(math.sqrt(2 / math.pi))], ["d"]),
        node("Tanh", ["d"], ["t"]),
        node("Add", [c(1), "t"], ["p"]),
        node("Mul", ["x", "p"], ["m"]),
        node("Mul", ["m", c(0.5)], ["y"]),
    ]


def _mish(c: Number) -> list[onnx.NodeProto]:
    return [node("Softplus", ["x"], ["s"]), node("Tanh", ["s"], ["t"]), node("Mul", ["x", "t"], ["y"])]


FORMS = [
    (_silu, "silu"),
    (_quick_gelu, "quick_gelu"),
    (_hard_swish_of_clip, "hard_swish"),
    (_hard_swish_of_hard_sigmoid, "hard_swish"),
    (_gelu_halved_last, "gelu"),
    (_gelu_halved_first, "gelu"),
    (_gelu_tanh, "gelu_tanh"),
    (_mish, "mish"),
]


def numbers(weights: Weights) -> Number:
    return lambda value: weights.constant(f"c{len(weights.tensors)}", np.float32(value))


@pytest.mark.parametrize(("build", "operation"), FORMS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_form_of_several_nodes_is_one_operation(
    build: Callable[[Number], list[onnx.NodeProto]], operation: str
) -> None:
    weights = Weights()
    proto = with_opset(build(numbers(weights)), 17, weights)
    (found,) = lower(prepare(load_model(proto))).graph.operations
    assert found.epilogue.operation == operation
    assert len(found.origin) == len(proto.graph.node)
    check_levels(proto)


def test_a_form_whose_inside_others_read_stays_apart() -> None:
    nodes = [node("Sigmoid", ["x"], ["s"]), node("Mul", ["s", "x"], ["y"])]
    proto = model(nodes, {"x": (2, 3, 19)}, {"y": (2, 3, 19), "s": (2, 3, 19)})
    assert len(lower(prepare(load_model(proto))).graph.operations) == 2
    check_levels(proto)


def test_equal_uniform_constants_are_numbers() -> None:
    weights = Weights()
    ones = weights.constant("ones", np.ones((3, 1), np.float32))
    graph = fuse(lower(prepare(load_model(with_opset([node("Sub", ["x", ones], ["y"])], 17, weights)))).graph)
    (operation,) = graph.operations
    assert isinstance(operation.core, Compute) and not operation.channels and len(operation.inputs) == 1
