"""The conformance check of graph rewrites: a pass keeps what the model computes, and has nothing left to do."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from strop.model.load import Source, load_model
from strop.model.oracle import run_unoptimized
from strop.model.random_inputs import make_inputs
from strop.passes.base import Pass, Rewrites, run_passes


def check_pass(
    rewrite: Pass, model: Source, inputs: Mapping[str, np.ndarray] | None = None, *, tolerance: float = 1e-5
) -> Rewrites:
    """Returns what `rewrite` did to `model`; raises AssertionError where it breaks the contract of a pass.

    The rewritten model must be valid ONNX, compute the oracle's outputs (relative L2 distance of each output at most
    `tolerance`; without `inputs`, on random ones), have the same inputs and outputs, and not change in a second run.

    Example:
        >>> from strop.passes.fold_batch_norm import FoldBatchNorm
        >>> from strop.testing.models import convolution_classifier
        >>> [origin.sources for origin in check_pass(FoldBatchNorm(), convolution_classifier()).origins]
        [('conv1', 'bn1')]
    """
    before = load_model(model)
    after, (done,) = run_passes(before, [rewrite])
    onnx.checker.check_model(after.to_proto(), full_check=True)
    assert after.inputs == before.inputs, f"{rewrite.name} changed the inputs: {before.inputs} -> {after.inputs}"
    assert after.outputs == before.outputs, f"{rewrite.name} changed the outputs: {before.outputs} -> {after.outputs}"
    given = make_inputs(before) if inputs is None else inputs
    expected, got = run_unoptimized(before, given), run_unoptimized(after, given)
    for name, wanted in expected.items():
        _check_close(wanted, got[name], tolerance, f"{rewrite.name}: output {name!r}")
    again, _ = run_passes(after, [rewrite])
    assert again.to_bytes() == after.to_bytes(), f"{rewrite.name} changes a model that it has rewritten already"
    return done


def _check_close(wanted: np.ndarray, got: np.ndarray, tolerance: float, where: str) -> None:
    assert got.shape == wanted.shape and got.dtype == wanted.dtype, (
        f"{where} is {got.dtype} {got.shape}, not {wanted.dtype} {wanted.shape}"
    )
    if wanted.dtype.kind != "f":
        assert np.array_equal(wanted, got), f"{where} changed"
        return
    length = max(float(np.linalg.norm(wanted.astype(np.float64))), 1e-30)
    distance = float(np.linalg.norm(wanted.astype(np.float64) - got.astype(np.float64))) / length
    assert distance <= tolerance, f"{where} changed by {distance:.1e}"
