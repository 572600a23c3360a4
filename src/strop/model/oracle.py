"""What a model's outputs ought to be: the ONNX project's reference evaluator, and ONNX Runtime with nothing optimized.

Does: run single operators and tiny models by their definition, whole networks slowly but faithfully, and show every
value on the way. Does not: measure, or run anything fast. Start reading at: `run_unoptimized`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter

from strop.errors import EngineError, ModelError
from strop.model.model import DEFAULT_DOMAINS, Model
from strop.model.save import PROTO_LIMIT_BYTES, save_proto, weight_bytes
from strop.model.walk import walk_nodes

KNOWN_DOMAINS = frozenset([*DEFAULT_DOMAINS, "ai.onnx.ml", "com.microsoft"])


class Unoptimized:
    """A model in ONNX Runtime with graph optimizations off and one thread; call it with inputs by name.

    values: further values inside the graph that are to be given beside the outputs.
    """

    def __init__(self, proto: onnx.ModelProto, *, values: Sequence[str] = (), where: str = "the model") -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self.where = where
        self.proto = with_values(proto, values) if values else proto
        try:
            if weight_bytes(self.proto) > PROTO_LIMIT_BYTES:
                with tempfile.TemporaryDirectory() as folder:
                    path = str(save_proto(self.proto, Path(folder) / "model.onnx"))
                    self.session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            else:
                content = self.proto.SerializeToString()
                self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no common base but Exception
            raise self._failure(error, "engine.compile", "ONNX Runtime cannot compile the model") from error
        self.names = [output.name for output in self.session.get_outputs()]

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns outputs (and the further values) by name."""
        try:
            return dict(zip(self.names, self.session.run(None, dict(inputs)), strict=True))
        except Exception as error:  # as above
            raise self._failure(error, "engine.run", "ONNX Runtime cannot run the model on these inputs") from error

    def _failure(self, error: Exception, code: str, what: str) -> EngineError | ModelError:
        foreign = custom_operators(self.proto)
        if foreign:
            return ModelError(
                "model.custom-operator",
                "the model uses operators from outside ONNX, so that its outputs cannot be computed",
                where=self.where,
                got=", ".join(foreign),
                hint="export the model with standard operators, or give the operator as an ONNX function in the model",
            )
        return EngineError(code, what, where=self.where, got=str(error).strip(), hint="check the model and its shapes")


def run_unoptimized(model: Model, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the outputs that ONNX Runtime gives with its optimizations off, on one thread: the oracle of networks."""
    return Unoptimized(model.to_proto(), where=model.name)(inputs)


def run_reference(model: Model, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the outputs by the ONNX project's reference evaluator: numpy, slow, the oracle of operators."""
    from onnx.reference import ReferenceEvaluator

    foreign = custom_operators(model.to_proto(), known=frozenset([*DEFAULT_DOMAINS, "ai.onnx.ml"]))
    if foreign:
        raise ModelError(
            "model.custom-operator",
            "the model uses operators from outside ONNX, which the reference evaluator does not know",
            where=model.name,
            got=", ".join(foreign),
            hint="use run_unoptimized, or an engine that has the operator",
        )
    proto = model.to_proto()
    try:
        if model.opset < 14:
            # The evaluator takes a BatchNormalization from before opset 14 for one in training.
            proto = onnx.version_converter.convert_version(proto, 17)
        outputs = ReferenceEvaluator(proto).run(None, dict(inputs))
    except Exception as error:  # the evaluator raises whatever numpy raises
        raise EngineError(
            "engine.run",
            "the reference evaluator cannot run the model on these inputs",
            where=model.name,
            got=f"{type(error).__name__}: {error}",
            hint="check the inputs' names, types and shapes",
        ) from error
    return {spec.name: np.asarray(value) for spec, value in zip(model.outputs, outputs, strict=True)}


def custom_operators(proto: onnx.ModelProto, *, known: frozenset[str] = KNOWN_DOMAINS) -> tuple[str, ...]:
    """Returns `domain.Operator` of each operator outside the known domains that the model does not define."""
    defined = {(function.domain, function.name) for function in proto.functions}
    found = {
        f"{node.domain}.{node.op_type}"
        for node in walk_nodes(proto.graph)
        if node.domain not in known and (node.domain, node.op_type) not in defined
    }
    return tuple(sorted(found))


def with_values(proto: onnx.ModelProto, values: Sequence[str]) -> onnx.ModelProto:
    """Returns a copy of `proto` that gives `values` too, beside its outputs; ONNX Runtime finds their types itself."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    present = {output.name for output in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in values if name not in present)
    return copy
