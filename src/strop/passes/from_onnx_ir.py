"""The passes that onnx-ir ships, under this house's contract."""

from __future__ import annotations

from onnx_ir import Model
from onnx_ir.passes import InPlacePass
from onnx_ir.passes.common import (
    LiftConstantsToInitializersPass,
    RemoveInitializersFromInputsPass,
    RemoveUnusedNodesPass,
    ShapeInferencePass,
)

from strop.passes.base import Origin, Pass, Rewrites


class FromOnnxIr(Pass):
    """Runs a pass of onnx-ir; nodes that it took out are noted as gone."""

    def __init__(self, inner: InPlacePass):
        self.inner = inner

    @property
    def name(self) -> str:
        """The inner pass's name."""
        return type(self.inner).__name__.removesuffix("Pass")

    def _rewrite(self, model: Model, rewrites: Rewrites) -> None:
        before = [node.name or "" for node in model.graph]
        shapes = [value.shape for value in model.graph.outputs]
        self.inner(model)
        for value, shape in zip(model.graph.outputs, shapes, strict=True):
            value.shape = shape  # what the author promises stays, whatever was inferred
        after = {node.name or "" for node in model.graph}
        rewrites.origins.extend(Origin(None, (name,)) for name in before if name not in after)


def lift_constants() -> Pass:
    """Returns the pass that turns Constant nodes into initializers."""
    return FromOnnxIr(LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0))


def close_inputs() -> Pass:
    """Returns the pass after which initializers are no longer listed as inputs (files before 2019)."""
    return FromOnnxIr(RemoveInitializersFromInputsPass())


def remove_unused() -> Pass:
    """Returns the pass that takes out nodes and constants which no output needs."""
    return FromOnnxIr(RemoveUnusedNodesPass())


def infer_shapes() -> Pass:
    """Returns the pass that writes the shapes ONNX can infer to the values."""
    return FromOnnxIr(ShapeInferencePass())
