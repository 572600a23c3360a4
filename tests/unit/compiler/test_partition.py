"""Segments alternate, cover every node once, and can run one after the other."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from strop.compiler.partition import TOO_LITTLE, Partition, partition
from strop.engines.native.extract import Extractor
from strop.model.load import load_model
from strop.model.model import Model
from strop.model.oracle import Unoptimized, run_unoptimized
from strop.model.random_inputs import make_inputs
from strop.testing import models
from strop.testing.models import Weights, model

LEVEL = "x86-64-v3"


def conv(weights: Weights, source: str, target: str) -> onnx.NodeProto:
    return helper.make_node("Conv", [source, weights.add(f"{target}.w", 4, 4, 1, 1)], [target], target)


def sigmoid(source: str, target: str) -> onnx.NodeProto:
    return helper.make_node("Atan", [source], [target], target)


def parts(nodes: list[onnx.NodeProto], weights: Weights) -> Partition:
    return partition(load_model(model(nodes, {"x": (1, 4, 6, 6)}, {"y": (1, 4, 6, 6)}, weights)), isa=LEVEL)


def run(found: Partition, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Runs the segments one after the other, each cut out of the model."""
    values, cutter = dict(inputs), Extractor(found.model.to_proto())
    for segment in found.segments:
        cut = cutter.cut(segment.nodes, inputs=segment.inputs, outputs=segment.outputs)
        values.update(Unoptimized(cut)({name: values[name] for name in segment.inputs}))
    return values


def check(source: Model) -> Partition:
    found = partition(source, isa=LEVEL)
    nodes = [node for segment in found.segments for node in segment.nodes]
    assert sorted(nodes) == sorted(node.name for node in found.model.to_proto().graph.node)
    assert all(a.is_native != b.is_native for a, b in zip(found.segments, found.segments[1:], strict=False))
    inputs = make_inputs(source)
    values = run(found, inputs)
    for name, want in run_unoptimized(source, inputs).items():
        np.testing.assert_allclose(values[name], want, rtol=1e-4, atol=1e-5)
    return found


def test_a_native_model_is_one_segment() -> None:
    found = check(load_model(models.convolution_classifier(1)))
    (segment,) = found.segments
    assert segment.is_native
    assert found.native_share == 1
    assert found.reasons == {}


def test_a_node_without_kernel_parts_the_model() -> None:
    weights = Weights()
    nodes = [conv(weights, "x", "a"), sigmoid("a", "b"), conv(weights, "b", "y")]
    found = parts(nodes, weights)
    assert [segment.nodes for segment in found.segments] == [("a",), ("b",), ("y",)]
    assert [segment.is_native for segment in found.segments] == [True, False, True]
    assert found.reasons == {"b": "no kernel for Atan"}
    assert found.native_share == 2 / 3


def test_branches_share_segments() -> None:
    weights = Weights()
    nodes = [
        conv(weights, "x", "a"),
        sigmoid("a", "b"),
        conv(weights, "x", "c"),
        sigmoid("c", "d"),
        conv(weights, "b", "e"),
        conv(weights, "d", "f"),
        helper.make_node("Add", ["e", "f"], ["y"], "sum"),
    ]
    found = parts(nodes, weights)
    assert [set(segment.nodes) for segment in found.segments] == [{"a", "c"}, {"b", "d"}, {"e", "f", "sum"}]


def test_little_work_stays_with_the_other_engine() -> None:
    weights = Weights()
    nodes = [
        conv(weights, "x", "a"),
        sigmoid("a", "b"),
        helper.make_node("Relu", ["b"], ["c"], "relu"),
        sigmoid("c", "d"),
        conv(weights, "d", "y"),
    ]
    found = parts(nodes, weights)
    assert [segment.nodes for segment in found.segments] == [("a",), ("b", "relu", "d"), ("y",)]
    assert found.reasons["relu"] == TOO_LITTLE


def test_models_of_the_house_run_in_segments() -> None:
    check(load_model(models.transposed_convolution(1), shapes={"x": (1, 4, 5, 6)}))
    check(load_model(models.dynamic_width(1), shapes={"x": (1, 1, 8, 12)}))
    check(load_model(models.constant_batch_reshape()))
    check(load_model(models.lstm(1, constant_state=True), shapes={"x": (3, 1, 8)}))
    check(load_model(models.stateful(2)))
    check(load_model(models.embedding(1), shapes={"tokens": (1, 5)}))
    check(load_model(models.branching(), shapes={"x": (2, 4), "flag": ()}))
    check(load_model(models.quantized(), shapes={"x": (2, 8)}))


def test_shapes_that_lowering_learned_are_known_where_segments_meet() -> None:
    weights = Weights()
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], "shape"),
        conv(weights, "x", "a"),
        sigmoid("a", "b"),
        helper.make_node("Reshape", ["b", "s"], ["c"], "reshape"),
        conv(weights, "c", "y"),
    ]
    found = check(load_model(model(nodes, {"x": (1, 4, 6, 6)}, {"y": (1, 4, 6, 6)}, weights)))
    assert "shape" not in {node.name for node in found.model.to_proto().graph.node}
