"""The one form in which a model is handed round the house."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import onnx
import onnx_ir

from strop.errors import ModelError, NotSupportedError
from strop.model import save
from strop.model.specs import TensorSpec
from strop.model.walk import walk_nodes

DEFAULT_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, eq=False)
class Model:
    """A checked ONNX model at a working opset; never changed in place (a pass makes a new one).

    `name` is for people; `path` where it was read from, if from a file; `source_opset` what it was written in;
    `warnings` what loading could not put right.

    Example:
        >>> from strop.model.load import load_model
        >>> from strop.testing.models import multilayer_perceptron
        >>> load_model(multilayer_perceptron()).inputs[0].shape
        ('batch', 16)
    """

    proto: onnx.ModelProto
    name: str
    path: Path | None = None
    source_opset: int = 0
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_ir(cls, ir: onnx_ir.Model, *, like: Model) -> Model:
        """Returns the model that `ir` describes, with name, path and history of `like`."""
        return replace(like, proto=onnx_ir.to_proto(ir))

    def with_proto(self, proto: onnx.ModelProto) -> Model:
        """Returns the model that `proto` describes, with this one's name, path and history."""
        return replace(self, proto=proto)

    def to_proto(self) -> onnx.ModelProto:
        """Returns the model as a proto; it is shared, so copy it before changing it."""
        return self.proto

    @cached_property
    def ir(self) -> onnx_ir.Model:
        """The model as onnx-ir, shared: only to be read. `fresh_ir()` gives one to rewrite."""
        return onnx_ir.from_proto(self.proto)

    def fresh_ir(self) -> onnx_ir.Model:
        """Returns the model as onnx-ir that the caller may change."""
        return onnx_ir.from_proto(self.proto)

    @cached_property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What must be given to run it; initializers that old models list as graph inputs are not inputs."""
        initialized = {tensor.name for tensor in self.proto.graph.initializer}
        initialized.update(tensor.values.name for tensor in self.proto.graph.sparse_initializer)
        return tuple(_spec(value, "input") for value in self.proto.graph.input if value.name not in initialized)

    @cached_property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What it gives, in the model's order."""
        return tuple(_spec(value, "output") for value in self.proto.graph.output)

    def check_types(self) -> None:
        """Raises NotSupportedError `unsupported.model` where an input or output is no tensor."""
        _ = self.inputs, self.outputs

    @property
    def opset(self) -> int:
        """The version of the ONNX operator set it uses now."""
        return opset_of(self.proto)

    @cached_property
    def metadata(self) -> dict[str, str]:
        """What its author wrote beside the graph (a dictionary of characters, labels ...)."""
        return {entry.key: entry.value for entry in self.proto.metadata_props}

    @cached_property
    def sha256(self) -> str:
        """The hash of its content, weights included."""
        digest = hashlib.sha256()
        for part in save.content(self.proto):
            digest.update(part)
        return digest.hexdigest()

    @cached_property
    def is_quantized(self) -> bool:
        """Whether activations are quantized; weights stored in 8 bits behind a DequantizeLinear alone do not count."""
        return any(node.op_type in _QUANTIZING for node in walk_nodes(self.proto.graph))

    def to_bytes(self) -> bytes:
        """Returns the model as one ONNX file's bytes; raises ModelError `model.too-large` above 2 GB."""
        if save.weight_bytes(self.proto) > save.PROTO_LIMIT_BYTES:
            raise ModelError(
                "model.too-large",
                "a model above 2 GB does not fit one ONNX message",
                where=self.name,
                got=f"{save.weight_bytes(self.proto)} bytes of weights",
                hint="save it: Model.save keeps the weights in a second file",
            )
        return bytes(self.proto.SerializeToString(deterministic=True))

    def save(self, path: str | Path) -> Path:
        """Writes the model, whole or not at all (weights beside it above 2 GB), and returns the path."""
        return save.save_proto(self.proto, Path(path))


_QUANTIZING = frozenset(
    ["QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"]
)


def opset_of(proto: onnx.ModelProto) -> int:
    """Returns the version of the default ONNX domain that `proto` imports; 0 where it imports none."""
    return max((entry.version for entry in proto.opset_import if entry.domain in DEFAULT_DOMAINS), default=0)


def shape_of(tensor_type: onnx.TypeProto.Tensor) -> tuple[int | str | None, ...] | None:
    """Returns the shape: numbers, symbols, None where a size is unknown; None for an unknown rank."""
    if not tensor_type.HasField("shape"):
        return None
    # Exporters write an unknown size as nothing, as 0, as -1 or as "?"; none of these names a symbol.
    return tuple(
        size.dim_value
        if size.HasField("dim_value") and size.dim_value > 0
        else size.dim_param
        if size.dim_param not in ("", "?")
        else None
        for size in tensor_type.shape.dim
    )


def dtype_of(element_type: int) -> str:
    """Returns the numpy name of an ONNX element type ("float32")."""
    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(element_type))
    except KeyError as error:
        raise ModelError(
            "model.invalid",
            "the model breaks the rules of ONNX",
            got=f"element type {element_type}, which does not exist",
            hint="copy or download the model again, or export it again",
        ) from error


def _spec(value: onnx.ValueInfoProto, kind: str) -> TensorSpec:
    if value.type.WhichOneof("value") != "tensor_type":
        raise NotSupportedError(
            "unsupported.model",
            f"{kind} {value.name!r} is no tensor",
            got=value.type.WhichOneof("value") or "no type at all",
            expected="a tensor",
            hint="export the model with plain tensors (for scikit-learn models: zipmap=False)",
        )
    return TensorSpec(value.name, dtype_of(value.type.tensor_type.elem_type), shape_of(value.type.tensor_type) or ())
