"""Raises old opsets to a working one: per-channel quantization and some engines need at least 13.

The ONNX project's version converter does the work; what it gives is checked against the original on random inputs,
because it does not know everything (a Resize of opset 10 comes out with another rule for coordinates).
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import version_converter

from strop.errors import StropError
from strop.model.model import DEFAULT_DOMAINS, Model, opset_of
from strop.model.oracle import Unoptimized
from strop.model.random_inputs import runnable_inputs
from strop.model.walk import walk_nodes

LOWEST_OPSET = 13
TARGETS = (17, 13)
_TOLERANCE = 1e-4
_FLATTENING = ("Softmax", "LogSoftmax", "Hardmax")


def raise_opset(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Returns `proto` at opset 13 or above where that can be done, with warnings where it cannot or goes unchecked."""
    source = opset_of(proto)
    if source >= LOWEST_OPSET or source == 0:
        return proto, ()
    reasons: list[str] = []
    expected = _outputs(proto)
    plain = proto if isinstance(expected, str) else _with_plain_softmax(proto, expected[1])
    for target in TARGETS:
        try:
            raised = convert(plain, target)
        except Exception as error:  # the converter's C++ errors come as RuntimeError and others
            reasons.append(f"to {target}: {_first_line(error)}")
            continue
        if isinstance(expected, str):
            return raised, (f"raised from opset {source} to {target} unchecked: {expected}",)
        difference = _difference(raised, *expected)
        if difference is None:
            return raised, ()
        reasons.append(f"to {target}: {difference}")
    return proto, (f"kept at opset {source}, because raising it failed ({'; '.join(reasons)})",)


def convert(proto: onnx.ModelProto, target: int) -> onnx.ModelProto:
    """Returns `proto` at opset `target`, unchecked, with its metadata and node names."""
    raised: onnx.ModelProto = version_converter.convert_version(_without_unused_domains(proto), target)
    if opset_of(proto) < 11:
        _keep_resize_rule(raised)
    raised.ir_version = max(raised.ir_version, onnx.helper.find_min_ir_version_for(list(raised.opset_import)))
    if not raised.metadata_props:
        raised.metadata_props.extend(proto.metadata_props)
    return raised


def _without_unused_domains(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The converter refuses domains that are not ONNX's own; exporters import some that no node uses."""
    used = {node.domain for node in walk_nodes(proto.graph)}
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    del copy.opset_import[:]
    copy.opset_import.extend(o for o in proto.opset_import if o.domain in DEFAULT_DOMAINS or o.domain in used)
    return copy


def _keep_resize_rule(proto: onnx.ModelProto) -> None:
    """Upsample and Resize had one rule before opset 11, "asymmetric" and "floor"; it is not the default since."""
    for node in walk_nodes(proto.graph):
        if node.op_type == "Resize":
            kept = [a for a in node.attribute if a.name not in ("coordinate_transformation_mode", "nearest_mode")]
            del node.attribute[:]
            node.attribute.extend(kept)
            node.attribute.append(onnx.helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
            node.attribute.append(onnx.helper.make_attribute("nearest_mode", "floor"))


def _with_plain_softmax(proto: onnx.ModelProto, values: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Returns a copy where a Softmax over the last axis says so.

    Before opset 13 a Softmax flattened all axes from its own; where the rank is unknown the converter keeps that with
    three further nodes. The original's run has shown the ranks.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for node in copy.graph.node:
        if node.op_type in _FLATTENING and node.output[0] in values:
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
            if axis == values[node.output[0]].ndim - 1:
                del node.attribute[:]
                node.attribute.append(onnx.helper.make_attribute("axis", -1))
    return copy


def _outputs(proto: onnx.ModelProto) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]] | str:
    """Returns inputs and the original's outputs, flattening nodes' included; or the reason why there are none."""
    try:
        model = Model(proto, name="the original")
        run = Unoptimized(proto, values=[n.output[0] for n in proto.graph.node if n.op_type in _FLATTENING])
        inputs = runnable_inputs(model, run=run)
        return inputs, run(inputs)
    except StropError as error:
        return _first_line(error.got or error.what)


def _difference(proto: onnx.ModelProto, inputs: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> str | None:
    try:
        outputs = Unoptimized(proto, values=list(expected))(inputs)
    except StropError as error:
        return _first_line(error.got or error.what)
    for name, want in expected.items():
        have = outputs[name]
        if have.shape != want.shape or have.dtype != want.dtype:
            return f"output {name!r} changed from {want.dtype}{want.shape} to {have.dtype}{have.shape}"
        if not np.issubdtype(want.dtype, np.floating):
            if not np.array_equal(have, want):
                return f"output {name!r} changed"
            continue
        scale = float(np.max(np.abs(want), initial=0.0, where=np.isfinite(want)))
        if not np.allclose(have, want, rtol=_TOLERANCE, atol=_TOLERANCE * scale, equal_nan=True):
            return f"output {name!r} changed by up to {np.nanmax(np.abs(have - want)):.2g}"
    return None


def _first_line(error: object) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
