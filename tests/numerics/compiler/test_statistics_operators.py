"""Reductions, softmax, normalizations and ArgMax, at every level and in machine code; what fuses with them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from strop.compiler.fuse import fuse
from strop.compiler.levels import Operation, Reduce
from strop.compiler.lower import lower, prepare
from strop.compiler.statistics import REDUCTIONS
from strop.model.load import load_model
from strop.testing.models import Weights, model
from tests.numerics.compiler.levels import check_levels

node = helper.make_node


def fused(proto: onnx.ModelProto) -> tuple[Operation, ...]:
    return fuse(lower(prepare(load_model(proto))).graph).operations


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("keeps", [0, 1])
def test_reductions_of_rows_and_of_channels(name: str, keeps: int) -> None:
    weights = Weights()
    nodes = [
        node("Exp", ["x"], ["e"]),
        node(f"Reduce{name}", ["e", weights.constant("a", np.array([-1]))], ["y"], keepdims=keeps),
        node(f"Reduce{name}", ["e", weights.constant("b", np.array([1, 2]))], ["z"], keepdims=keeps),
    ]
    outputs = {"y": (2, 5, 6, 1), "z": (2, 1, 1, 7)} if keeps else {"y": (2, 5, 6), "z": (2, 7)}
    check_levels(model(nodes, {"x": (2, 5, 6, 7)}, outputs, weights, opset=18))


def test_a_reduction_of_everything_is_a_number() -> None:
    check_levels(model([node("ReduceMean", ["x"], ["y"], keepdims=0)], {"x": (2, 5, 6)}, {"y": ()}, opset=18))


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("opset", [11, 17])
def test_softmax_along_any_axis(operator: str, axis: int, opset: int) -> None:
    proto = model([node(operator, ["x"], ["y"], axis=axis)], {"x": (3, 5, 37)}, {"y": (3, 5, 37)}, opset=opset)
    check_levels(proto)


def test_softmax_of_an_images_channels() -> None:
    check_levels(model([node("Softmax", ["x"], ["y"], axis=1)], {"x": (1, 6, 4, 7)}, {"y": (1, 6, 4, 7)}))


@pytest.mark.parametrize("axis", [1, -1])
def test_layer_normalization_gives_its_statistics_too(axis: int) -> None:
    weights = Weights()
    size = (5, 37) if axis == 1 else (37,)
    names = [weights.add("w", *size), weights.add("b", *size)]
    nodes = [node("LayerNormalization", ["x", *names], ["y", "mean", "deviation"], axis=axis)]
    one = (2, 1, 1) if axis == 1 else (2, 5, 1)
    check_levels(model(nodes, {"x": (2, 5, 37)}, {"y": (2, 5, 37), "mean": one, "deviation": one}, weights))


def test_instance_and_group_normalization() -> None:
    weights = Weights()
    vectors = [weights.add("w", 6), weights.add("b", 6)]
    nodes = [
        node("InstanceNormalization", ["x", *vectors], ["i"]),
        node("GroupNormalization", ["i", *vectors], ["g"], num_groups=3),
        node("Relu", ["g"], ["y"]),
    ]
    proto = model(nodes, {"x": (2, 6, 5, 7)}, {"y": (2, 6, 5, 7)}, weights, opset=21)
    assert [type(operation.core) for operation in fused(proto)] == [Reduce, Reduce]
    check_levels(proto)


@pytest.mark.parametrize("order", [1, 2])
def test_normalization_to_unit_norm(order: int) -> None:
    nodes = [node("LpNormalization", ["x"], ["y"], axis=1, p=order)]
    check_levels(model(nodes, {"x": (2, 5, 37)}, {"y": (2, 5, 37)}))


@pytest.mark.parametrize("operator", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("keeps", [0, 1])
def test_places_of_extremes(operator: str, axis: int, keeps: int) -> None:
    shape = (3, 5, 37)
    result = tuple(1 if each == axis else n for each, n in enumerate(shape) if keeps or each != axis)
    nodes = [node(operator, ["x"], ["y"], axis=axis, keepdims=keeps)]
    check_levels(model(nodes, {"x": shape}, {"y": result}, types={"y": TensorProto.INT64}))


def layer_normalization(weights: Weights, source: str, target: str, *, two_differences: bool) -> list[onnx.NodeProto]:
    """Returns how exporters write it before opset 17; some compute the difference twice."""
    two, epsilon = weights.constant("two", np.float32(2)), weights.constant("epsilon", np.float32(1e-5))
    again = "again" if two_differences else "d"
    return [
        node("ReduceMean", [source], ["mean"], axes=[-1]),
        node("Sub", [source, "mean"], ["d"]),
        *([node("Sub", [source, "mean"], ["again"])] if two_differences else []),
        node("Pow", ["d", two], ["square"]),
        node("ReduceMean", ["square"], ["variance"], axes=[-1]),
        node("Add", ["variance", epsilon], ["sum"]),
        node("Sqrt", ["sum"], ["root"]),
        node("Div", [again, "root"], ["unit"]),
        node("Mul", ["unit", weights.add("scale", 37)], ["scaled"]),
        node("Add", ["scaled", weights.add("shift", 37)], [target]),
    ]


@pytest.mark.parametrize("two_differences", [False, True])
def test_a_decomposed_layer_normalization_is_one_operation_with_the_sum_before_it(two_differences: bool) -> None:
    weights = Weights()
    nodes = [node("Add", ["x", "z"], ["s"]), *layer_normalization(weights, "s", "y", two_differences=two_differences)]
    proto = model(nodes, {"x": (2, 5, 37), "z": (2, 5, 37)}, {"y": (2, 5, 37)}, weights)
    (operation,) = fused(proto)
    assert isinstance(operation.core, Reduce)
    assert (str(operation.core.prologue), operation.core.program.name) == ("add(x0, x1)", "standardize")
    check_levels(proto)


def test_a_sum_that_others_read_is_stored_by_the_product_before_it() -> None:
    weights = Weights()
    nodes = [
        node("MatMul", ["x", weights.add("w", 37, 37)], ["p"]),
        node("Add", ["p", "x"], ["s"]),
        *layer_normalization(weights, "s", "n", two_differences=False),
        node("MatMul", ["n", weights.add("v", 37, 37)], ["q"]),
        node("Add", ["q", "s"], ["y"]),
    ]
    proto = model(nodes, {"x": (2, 5, 37)}, {"y": (2, 5, 37)}, weights)
    assert len(fused(proto)) == 3
    check_levels(proto)


@pytest.mark.parametrize("form", ["Div", "Reciprocal"])
def test_a_decomposed_root_mean_square_is_one_operation(form: str) -> None:
    weights = Weights()
    epsilon = weights.constant("epsilon", np.float32(1e-5))
    nodes = [
        node("Mul", ["x", "x"], ["square"]),
        node("ReduceMean", ["square"], ["mean"], axes=[-1]),
        node("Add", ["mean", epsilon], ["sum"]),
        node("Sqrt", ["sum"], ["root"]),
    ]
    if form == "Div":
        nodes.append(node("Div", ["x", "root"], ["unit"]))
    else:
        nodes += [node("Reciprocal", ["root"], ["r"]), node("Mul", ["x", "r"], ["unit"])]
    nodes.append(node("Mul", [weights.add("scale", 37), "unit"], ["y"]))
    proto = model(nodes, {"x": (2, 5, 37)}, {"y": (2, 5, 37)}, weights)
    (operation,) = fused(proto)
    assert isinstance(operation.core, Reduce) and operation.core.program.name == "root mean square"
    check_levels(proto)


def test_many_threads_give_the_same_bits() -> None:
    from strop.loader.cpu import isa_levels
    from strop.model.random_inputs import make_inputs
    from tests.numerics.compiler.levels import compiled

    weights = Weights()
    nodes = [
        *layer_normalization(weights, "x", "n", two_differences=False),
        node("Softmax", ["n"], ["m"], axis=1),
        node("ReduceSum", ["m", weights.constant("axes", np.array([0, 2]))], ["y"]),
    ]
    made = load_model(model(nodes, {"x": (3, 150, 37)}, {"m": (3, 150, 37), "y": (1, 150, 1)}, weights))
    inputs = make_inputs(made)
    one = compiled(made, inputs, isa_levels()[0])
    for name, array in compiled(made, inputs, isa_levels()[0], threads=3).items():
        np.testing.assert_array_equal(array, one[name])
