"""What a model is: operators, inputs and outputs, size and cost, and what one should know before optimizing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from strop import __version__
from strop.errors import StropError
from strop.model.cost import NodeCost, node_costs, parameter_count, total_macs
from strop.model.model import DEFAULT_DOMAINS, Model
from strop.model.oracle import custom_operators
from strop.model.random_inputs import runnable_inputs
from strop.model.save import weight_bytes
from strop.model.specs import TensorSpec
from strop.model.walk import walk_nodes

SCHEMA = "strop.inspect/1"


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing to know: `code` is stable, `text` a sentence, `nodes` whom it concerns (at most ten)."""

    code: str
    text: str
    nodes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Returns the fields as a JSON object."""
        return {"code": self.code, "text": self.text, "nodes": list(self.nodes)}


@dataclass(frozen=True, slots=True)
class ModelReport:
    """The facts of one model; `macs` at batch 1 and None where they cannot be counted; `bytes` of its weights."""

    name: str
    path: str | None
    sha256: str
    opset: int
    source_opset: int
    domains: Mapping[str, int]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: Mapping[str, int]
    parameters: int
    bytes: int
    macs: int | None
    macs_at: Mapping[str, tuple[int, ...]]
    costs: tuple[NodeCost, ...]
    is_quantized: bool
    free_sizes: tuple[str, ...]
    metadata: Mapping[str, str]
    remarks: tuple[Remark, ...]

    def to_json(self) -> dict[str, object]:
        """Returns the report as a JSON object."""
        return {
            "schema": SCHEMA,
            "strop": __version__,
            "name": self.name,
            "path": self.path,
            "sha256": self.sha256,
            "opset": self.opset,
            "source_opset": self.source_opset,
            "domains": dict(self.domains),
            "inputs": [spec.to_json() for spec in self.inputs],
            "outputs": [spec.to_json() for spec in self.outputs],
            "operators": dict(self.operators),
            "parameters": self.parameters,
            "bytes": self.bytes,
            "macs": self.macs,
            "macs_at": {name: list(shape) for name, shape in self.macs_at.items()},
            "costs": [cost.to_json() for cost in self.costs],
            "is_quantized": self.is_quantized,
            "free_sizes": list(self.free_sizes),
            "metadata": dict(self.metadata),
            "remarks": [remark.to_json() for remark in self.remarks],
        }


def inspect_model(model: Model, inputs: Mapping[str, np.ndarray] | None = None) -> ModelReport:
    """Returns the report of `model`; costs are counted at `inputs`, or else at batch 1 and sizes that it runs at."""
    proto = model.to_proto()
    given = _runnable(model) if inputs is None else inputs
    costs = node_costs(model, given)
    return ModelReport(
        name=model.name,
        path=str(model.path) if model.path else None,
        sha256=model.sha256,
        opset=model.opset,
        source_opset=model.source_opset,
        domains={entry.domain or "ai.onnx": entry.version for entry in proto.opset_import},
        inputs=model.inputs,
        outputs=model.outputs,
        operators=dict(Counter(_operator(node) for node in walk_nodes(proto.graph)).most_common()),
        parameters=parameter_count(model),
        bytes=weight_bytes(proto),
        macs=total_macs(costs),
        macs_at={name: tuple(array.shape) for name, array in (given or {}).items()},
        costs=tuple(costs),
        is_quantized=model.is_quantized,
        free_sizes=free_sizes(model.inputs),
        metadata=model.metadata,
        remarks=remarks(model),
    )


def free_sizes(inputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Returns the inputs' free sizes: symbols by name, others as `input[axis]`."""
    found = [
        size if isinstance(size, str) else f"{spec.name}[{axis}]"
        for spec in inputs
        for axis, size in enumerate(spec.shape)
        if not isinstance(size, int)
    ]
    return tuple(dict.fromkeys(found))


def remarks(model: Model) -> tuple[Remark, ...]:
    """Returns what one should know before optimizing the model."""
    nodes = list(walk_nodes(model.to_proto().graph))
    found = [Remark("opset", warning) for warning in model.warnings]
    custom = set(custom_operators(model.to_proto()))
    if custom:
        text = f"operators from outside ONNX ({', '.join(sorted(custom))}): engines without them refuse the model"
        found.append(Remark("custom-operator", text, _names(n for n in nodes if _operator(n) in custom)))
    if model.is_quantized:
        text = "activations are quantized already: it can be run and measured, not quantized again"
        found.append(Remark("already-quantized", text, _names(n for n in nodes if "Quantize" in n.op_type)))
    elif any(n.op_type == "DequantizeLinear" for n in nodes):
        text = "weights are stored in 8 bits, activations are float: quantizing turns the weights into floats first"
        found.append(Remark("weights-quantized", text, _names(n for n in nodes if n.op_type == "DequantizeLinear")))
    if _uses_half_precision(model):
        text = "it computes in 16-bit floats, which most CPUs widen: export it in float32"
        found.append(Remark("half-precision", text))
    control = [node for node in nodes if node.op_type in ("If", "Loop", "Scan")]
    if control:
        text = f"control flow ({', '.join(sorted({n.op_type for n in control}))}): its bodies stay float and uncounted"
        found.append(Remark("control-flow", text, _names(control)))
    state = state_pairs(model)
    if state:
        pairs = ", ".join(f"{name} <- {output}" for name, output in state.items())
        found.append(Remark("state", f"the caller seems to carry state from call to call ({pairs})"))
    return tuple(found)


def state_pairs(model: Model) -> dict[str, str]:
    """Returns output names by the inputs that seem to carry them on: same type and rank, related names."""
    pairs: dict[str, str] = {}
    for spec in model.inputs:
        for output in model.outputs:
            related = spec.name.lower() in output.name.lower() or output.name.lower().startswith(spec.name.lower())
            alike = output.dtype == spec.dtype and (len(output.shape) == len(spec.shape) or not output.shape)
            is_last = spec.name not in pairs and output.name not in pairs.values()
            if related and alike and is_last and len(spec.name) > 1 and len(model.inputs) > 1:
                pairs[spec.name] = output.name
    return pairs


def _runnable(model: Model) -> dict[str, np.ndarray] | None:
    try:
        return runnable_inputs(model)
    except StropError:
        return None


def _operator(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in DEFAULT_DOMAINS else f"{node.domain}.{node.op_type}"


def _names(nodes: Iterable[onnx.NodeProto]) -> tuple[str, ...]:
    return tuple(node.name for node in nodes)[:10]


def _uses_half_precision(model: Model) -> bool:
    halves = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    graph = model.to_proto().graph
    return any(t.data_type in halves for t in graph.initializer) or any(
        value.type.tensor_type.elem_type in halves for value in [*graph.input, *graph.output]
    )
