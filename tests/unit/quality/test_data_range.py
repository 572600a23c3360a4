"""Data for models that normalize their input themselves."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from strop.model.load import load_model
from strop.model.model import Model
from strop.model.own_normalization import own_normalization
from strop.quality.data import open_data
from strop.quality.data_range import check_range
from strop.testing.models import convolution_classifier

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def _model(*steps: tuple[str, np.ndarray], first: str | None = None) -> Model:
    """[1, 3, 8, 8] -> the same, through `steps` and then a ReLU."""
    nodes, weights, value = [], [], "x"
    for number, (operator, constant) in enumerate(steps):
        weights.append(numpy_helper.from_array(constant.astype(np.float32), f"c{number}"))
        nodes.append(helper.make_node(operator, [value, f"c{number}"], [f"v{number}"], f"step{number}"))
        value = f"v{number}"
    if first == "BatchNormalization":
        for name, array in zip("sbmv", (np.full(3, 9.0), np.ones(3), MEAN, DEVIATION**2), strict=True):
            weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        nodes.append(helper.make_node(first, [value, "s", "b", "m", "v"], ["n"], "bn"))
        value = "n"
    nodes.append(helper.make_node("Relu", [value], ["y"], "relu"))
    inputs, outputs = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8])] for name in ("x", "y"))
    graph = helper.make_graph(nodes, "own", inputs, outputs, weights)
    return load_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def _column(values: np.ndarray) -> np.ndarray:
    return values.reshape(1, 3, 1, 1)


OWN = {
    "subtracted and divided": _model(("Sub", _column(255 * MEAN)), ("Div", _column(255 * DEVIATION))),
    "multiplied and added": _model(("Mul", _column(1 / (255 * DEVIATION))), ("Add", _column(-MEAN / DEVIATION))),
    "from 0..1": _model(("Sub", _column(MEAN)), ("Mul", _column(1 / DEVIATION))),
    "a batch normalization": _model(first="BatchNormalization"),
    "scaled only": _model(("Mul", np.array(1 / 255))),
    "to -1..1": _model(("Mul", np.array(2.0)), ("Sub", np.array(1.0))),
}
FROM_255 = ("subtracted and divided", "multiplied and added", "scaled only")


def _images(kind: str) -> np.ndarray:
    """Eight pictures: smooth, bright and dark, as 0..255, 0..1 or normalized."""
    generator = np.random.default_rng(0)
    pixels = np.clip(generator.normal(115, 60, size=(8, 3, 8, 8)), 0, 255)
    if kind == "0..255":
        return pixels.astype(np.float32)
    if kind == "0..1":
        return (pixels / 255).astype(np.float32)
    return ((pixels / 255 - _column(MEAN)) / _column(DEVIATION)).astype(np.float32)


@pytest.mark.parametrize("name", OWN)
def test_what_the_model_does_first_is_read_off(name: str) -> None:
    (found,) = own_normalization(OWN[name])
    factor = 255 if name in FROM_255 else 1
    if name in ("subtracted and divided", "multiplied and added", "from 0..1", "a batch normalization"):
        assert found.mean == pytest.approx(tuple(factor * MEAN), rel=1e-4)
        assert found.deviation == pytest.approx(tuple(factor * DEVIATION), rel=1e-4)
    elif name == "scaled only":
        assert found.mean == (0.0,) and found.deviation == pytest.approx((255.0,))
    else:
        assert found.mean == pytest.approx((0.5,)) and found.deviation == pytest.approx((0.5,))


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("kind", ["0..255", "0..1", "normalized"])
def test_only_data_of_the_range_the_model_wants_pass(name: str, kind: str) -> None:
    model = OWN[name]
    warnings = check_range(model, open_data({"x": _images(kind)}, inputs=model.inputs))
    right = "0..255" if name in FROM_255 else "0..1"
    if kind == right:
        assert warnings == []
    else:
        assert len(warnings) == 1 and "'x'" in warnings[0] and "--preprocess" in warnings[0]
    if kind == "normalized":
        assert "normalized twice?" in warnings[0]


def test_a_model_that_begins_with_its_work_is_given_anything() -> None:
    plain = load_model(convolution_classifier())
    assert own_normalization(plain) == []
    assert check_range(plain, open_data({"x": np.full((2, 3, 16, 16), 1e3, np.float32)}, inputs=plain.inputs)) == []
    # two users of the input: nothing can be said
    proto = onnx.ModelProto()
    proto.CopyFrom(OWN["to -1..1"].proto)
    proto.graph.node.append(helper.make_node("Relu", ["x"], ["z"], "other"))
    proto.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3, 8, 8]))
    assert own_normalization(load_model(proto)) == []
