"""Every pass keeps the oracle's outputs and, applied twice, equals once: on random graphs, and on real models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from strop.model.load import load_model
from strop.model.oracle import Unoptimized
from strop.model.random_inputs import runnable_inputs
from strop.passes.base import run_passes
from strop.passes.fold_batch_norm import FoldBatchNorm
from strop.passes.fold_scale_shift import FoldScaleShift
from strop.passes.pipeline import before_quantization
from strop.testing import models
from strop.testing.passes import check_pass

BUILT = [
    models.convolution_classifier,
    models.multilayer_perceptron,
    models.depthwise_network,
    models.unfused_batch_norm,
    models.transposed_convolution,
    models.dynamic_width,
    models.lstm,
    models.branching,
    models.embedding,
    models.initializers_as_inputs,
    models.half_precision,
]


@pytest.mark.parametrize("build", BUILT, ids=lambda build: build.__name__)
def test_every_pass_keeps_the_outputs_of_the_tiny_models(build: object) -> None:
    model = build()  # type: ignore[operator]
    for each in before_quantization():
        check_pass(each, model)


@given(
    kind=st.sampled_from(["Conv", "ConvTranspose", "Gemm", "MatMul"]),
    group=st.sampled_from([1, 2]),
    bias=st.booleans(),
    pads=st.sampled_from([0, 1]),
    around=st.lists(st.sampled_from(["bn", "mul", "add", "div", "sub", "from"]), min_size=1, max_size=3),
    before=st.booleans(),
    tiny=st.booleans(),
    seed=st.integers(0, 99),
)
def test_folding_into_a_linear_operator_keeps_its_outputs(
    kind: str, group: int, bias: bool, pads: int, around: list[str], before: bool, tiny: bool, seed: int
) -> None:
    model = _neighbours(kind, group, bias, pads, around, before, tiny, seed)
    for each in (FoldBatchNorm(), FoldScaleShift()):
        check_pass(each, model, tolerance=2e-5)


def _neighbours(
    kind: str, group: int, bias: bool, pads: int, around: Sequence[str], before: bool, tiny: bool, seed: int
) -> onnx.ModelProto:
    """A linear operator with normalizations, scales and shifts before or behind it; 4 channels in and out."""
    weights = models.Weights(seed)
    image = kind in ("Conv", "ConvTranspose")
    shape = (2, 4, 5, 5) if image else (2, 4)
    wide = (4, 4 // group, 3, 3) if image else (4, 4)
    attributes = {"group": group, "pads": [pads] * 4} if image else {"transB": group - 1} if kind == "Gemm" else {}
    linear_inputs = [weights.add("w", *wide)]
    if bias and kind != "MatMul":
        linear_inputs.append(weights.add("b", 4))
    steps: list[tuple[str, list[str], dict[str, object]]] = []
    for index, what in enumerate(around):
        values = weights.random.uniform(0.5, 2.0, (4, 1, 1) if image else (4,)).astype(np.float32)
        name = weights.constant(f"c{index}", values)
        if what == "bn":
            names = weights.batch_norm(f"bn{index}", 4)
            if tiny:
                weights.tensors[-1].raw_data = np.array([1e-12, 1, 1, 1], np.float32).tobytes()
            steps.append(("BatchNormalization", names, {}))
        elif what == "from":
            steps.append(("Sub reversed", [name], {}))
        else:
            steps.append((what.capitalize(), [name], {}))
    position = len(steps) if before else 0
    steps.insert(position, (kind, linear_inputs, attributes))
    nodes, value = [], "x"
    for index, (operator, names, options) in enumerate(steps):
        output = "y" if index == len(steps) - 1 else f"v{index}"
        inputs = [*names, value] if operator == "Sub reversed" else [value, *names]
        nodes.append(helper.make_node(operator.split()[0], inputs, [output], f"n{index}", **options))
        value = output
    grow = {"Conv": 2 * pads - 2, "ConvTranspose": 2 - 2 * pads}.get(kind, 0)
    end = (2, 4, 5 + grow, 5 + grow) if image else shape
    return models.model(nodes, {"x": shape}, {"y": end}, weights)


@pytest.mark.long
def test_the_passes_before_quantization_keep_the_outputs_of_every_model_of_the_zoo(zoo: Path) -> None:
    for path in sorted((zoo / "models").glob("*.onnx")):
        before = load_model(path)
        after, _ = run_passes(before, before_quantization())
        inputs = runnable_inputs(before)
        expected, got = Unoptimized(before.to_proto())(inputs), Unoptimized(after.to_proto())(inputs)
        for name, wanted in expected.items():
            allowed = 1e-4 * float(np.abs(wanted).max(initial=0.0)) + 1e-6
            assert float(np.abs(wanted.astype(np.float64) - got[name]).max(initial=0.0)) <= allowed, (path.name, name)
