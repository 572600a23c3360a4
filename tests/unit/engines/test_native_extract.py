"""A model cut in two gives what it gave whole, wherever it is cut."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from strop.engines.native.extract import Extractor, names_used
from strop.model.load import load_model
from strop.model.oracle import Unoptimized
from strop.model.random_inputs import make_inputs
from strop.testing import models


def _if_behind_a_node() -> onnx.ModelProto:
    """A Neg whose result, beside a weight, is only read inside an If."""
    proto = models.branching()
    (branch,) = proto.graph.node
    for attribute in branch.attribute:
        for node in attribute.g.node:
            node.input[:] = ["behind" if name == "x" else name for name in node.input]
    del proto.graph.node[:]
    proto.graph.node.extend([onnx.helper.make_node("Neg", ["x"], ["behind"], "neg"), branch])
    return proto


@pytest.mark.parametrize(
    "build",
    [models.convolution_classifier, models.multilayer_perceptron, models.lstm, models.embedding, _if_behind_a_node],
)
def test_two_halves_give_what_the_whole_gives(build: Callable[[], onnx.ModelProto]) -> None:
    model = load_model(build())
    proto, inputs = model.to_proto(), make_inputs(model)
    expected = Unoptimized(proto)(inputs)
    extractor = Extractor(proto)
    nodes = list(proto.graph.node)
    weights = {tensor.name for tensor in proto.graph.initializer}
    for cut in range(1, len(nodes)):
        values = dict(inputs)
        for half, rest in ((nodes[:cut], nodes[cut:]), (nodes[cut:], [])):
            made = {name for node in half for name in node.output if name}
            read = {name for node in half for name in names_used(node)} - made - weights
            later = {name for node in rest for name in names_used(node)} | set(expected)
            part = extractor.cut({node.name for node in half}, inputs=sorted(read), outputs=sorted(made & later))
            onnx.checker.check_model(part)
            values |= Unoptimized(part)({name: values[name] for name in read})
        for name, array in expected.items():
            assert np.allclose(values[name], array, rtol=1e-5, atol=1e-6)


def test_a_part_holds_only_the_weights_it_reads() -> None:
    proto = load_model(models.multilayer_perceptron()).to_proto()
    first = proto.graph.node[0]
    part = Extractor(proto).cut({first.name}, inputs=["x"], outputs=list(first.output))
    assert [tensor.name for tensor in part.graph.initializer] == [first.input[1]]
