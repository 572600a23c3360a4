"""Which passes run in what order: the lists are the table of contents."""

from __future__ import annotations

from collections.abc import Sequence

from strop.passes.base import Pass
from strop.passes.fold_batch_norm import FoldBatchNorm
from strop.passes.fold_constants import FoldConstants
from strop.passes.fold_dequantized_weights import FoldDequantizedWeights
from strop.passes.fold_scale_shift import FoldScaleShift
from strop.passes.from_onnx_ir import close_inputs, infer_shapes, lift_constants, remove_unused
from strop.passes.remove_identity import RemoveIdentity


def clean() -> Sequence[Pass]:
    """Returns what only takes away: constants computed, nodes without effect removed."""
    return (
        close_inputs(),
        lift_constants(),
        RemoveIdentity(),
        infer_shapes(),
        FoldConstants(),
        remove_unused(),
    )


def fold_linear() -> Sequence[Pass]:
    """Returns what moves normalization, scales and biases into the convolutions and matrix products."""
    return (
        FoldBatchNorm(),
        FoldScaleShift(),
        # An Add between convolution and normalization may have hidden it.
        FoldBatchNorm(),
        remove_unused(),
    )


def before_quantization() -> Sequence[Pass]:
    """Returns what a float model goes through before its activations are observed."""
    return (*clean(), FoldDequantizedWeights(), *fold_linear())
