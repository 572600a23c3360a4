"""What each folding pass takes out, what it must leave, and what it says about it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import helper

from strop.model.load import load_model
from strop.passes.base import Pass, run_passes
from strop.passes.fold_batch_norm import FoldBatchNorm
from strop.passes.fold_constants import FoldConstants
from strop.passes.fold_dequantized_weights import FoldDequantizedWeights
from strop.passes.fold_scale_shift import FoldScaleShift
from strop.passes.from_onnx_ir import infer_shapes
from strop.passes.pipeline import clean
from strop.passes.remove_identity import RemoveIdentity
from strop.testing import models


def _operators(model: onnx.ModelProto, *passes: Pass) -> Counter[str]:
    after, _ = run_passes(load_model(model), passes)
    return Counter(node.op_type for node in after.to_proto().graph.node)


def _before_convolution(pads: int, *, shift: bool) -> onnx.ModelProto:
    weights = models.Weights()
    names = weights.batch_norm("bn", 4)
    if not shift:
        weights.tensors[1].raw_data = weights.tensors[2].raw_data = np.zeros(4, np.float32).tobytes()
    nodes = [
        helper.make_node("BatchNormalization", ["x", *names], ["n"], "bn"),
        helper.make_node("Conv", ["n", weights.add("w", 6, 4, 3, 3)], ["y"], "conv", pads=[pads] * 4),
    ]
    size = 6 + 2 * pads
    return models.model(nodes, {"x": (1, 4, 8, 8)}, {"y": (1, 6, size, size)}, weights)


def test_batch_norm_behind_a_convolution_goes_and_its_origin_is_told() -> None:
    _, (done,) = run_passes(load_model(models.convolution_classifier()), [FoldBatchNorm()])
    assert [(origin.node, origin.sources) for origin in done.origins] == [("conv1", ("conv1", "bn1"))]


@pytest.mark.parametrize(("pads", "shift", "left"), [(0, True, 0), (1, True, 1), (1, False, 0)])
def test_batch_norm_before_a_padded_convolution_goes_only_without_shift(pads: int, shift: bool, left: int) -> None:
    assert _operators(_before_convolution(pads, shift=shift), FoldBatchNorm())["BatchNormalization"] == left


def test_batch_norm_stays_where_others_read_the_convolution() -> None:
    weights = models.Weights()
    nodes = [
        helper.make_node("Conv", ["x", weights.add("w", 4, 4, 1, 1)], ["c"], "conv"),
        helper.make_node("BatchNormalization", ["c", *weights.batch_norm("bn", 4)], ["n"], "bn"),
        helper.make_node("Add", ["c", "n"], ["y"], "add"),
    ]
    model = models.model(nodes, {"x": (1, 4, 2, 2)}, {"y": (1, 4, 2, 2)}, weights)
    assert _operators(model, FoldBatchNorm())["BatchNormalization"] == 1


def test_a_scale_that_varies_along_the_width_stays() -> None:
    weights = models.Weights()
    nodes = [
        helper.make_node("Conv", ["x", weights.add("w", 4, 4, 1, 1)], ["c"], "conv"),
        helper.make_node("Mul", ["c", weights.add("columns", 4)], ["y"], "mul"),
    ]
    model = models.model(nodes, {"x": (1, 4, 4, 4)}, {"y": (1, 4, 4, 4)}, weights)
    assert _operators(model, FoldScaleShift())["Mul"] == 1


def test_shape_arithmetic_on_known_sizes_becomes_a_constant() -> None:
    weights = models.Weights()
    index = weights.constant("index", np.array([1], np.int64))
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], "shape"),
        helper.make_node("Gather", ["shape", index], ["channels"], "gather"),
        helper.make_node("Concat", [weights.constant("all", np.array([-1], np.int64)), "channels"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"], "reshape"),
    ]
    model = models.model(nodes, {"x": ("batch", 6)}, {"y": ("rows", 6)}, weights)
    assert _operators(model, *clean()) == Counter(["Reshape"])
    free = models.model(nodes, {"x": ("batch", "free")}, {"y": ("rows", "columns")}, weights)
    assert _operators(free, infer_shapes(), FoldConstants())["Gather"] == 1


def test_stored_weights_become_float_and_quantized_activations_stay() -> None:
    assert _operators(models.quantized(weights_only=True), FoldDequantizedWeights())["DequantizeLinear"] == 0
    kept = _operators(models.quantized(), FoldDequantizedWeights())
    assert kept["QuantizeLinear"] >= 1 and kept["DequantizeLinear"] >= 1


def test_identity_and_idle_dropout_go_but_never_an_input_that_is_an_output() -> None:
    nodes = [
        helper.make_node("Dropout", ["x"], ["d"], "dropout"),
        helper.make_node("Relu", ["d"], ["r"], "relu"),
        helper.make_node("Identity", ["r"], ["y"], "identity"),
        helper.make_node("Identity", ["x"], ["z"], "through"),
    ]
    model = models.model(nodes, {"x": (3,)}, {"y": (3,), "z": (3,)})
    assert _operators(model, RemoveIdentity()) == Counter(["Relu", "Identity"])


def test_a_mask_that_is_read_keeps_its_dropout() -> None:
    nodes = [helper.make_node("Dropout", ["x"], ["y", "mask"], "dropout")]
    model = models.model(nodes, {"x": (3,)}, {"y": (3,), "mask": (3,)}, types={"mask": onnx.TensorProto.BOOL})
    assert _operators(model, RemoveIdentity()) == Counter(["Dropout"])
