"""From an onnx-ir graph with static shapes to operations on values; what cannot be lowered is named with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
import onnx_ir

from strop.compiler.layouts import Shape
from strop.compiler.levels import Graph, Value
from strop.compiler.lowering.convolution import lower_batch_norm, lower_convolution, lower_gemm, lower_matmul
from strop.compiler.lowering.movement import (
    lower_constant_of_shape,
    lower_depth_to_space,
    lower_expand,
    lower_gather,
    lower_gather_elements,
    lower_gather_nd,
    lower_one_hot,
    lower_space_to_depth,
    lower_tile,
    lower_trilu,
)
from strop.compiler.lowering.pointwise import (
    BINARY,
    UNARY,
    lower_binary,
    lower_cast,
    lower_clip,
    lower_power,
    lower_prelu,
    lower_unary,
    lower_where,
)
from strop.compiler.lowering.pooling import lower_global_pool, lower_pool
from strop.compiler.lowering.quantized import (
    lower_dequantize,
    lower_quantize,
    lower_quantized_convolution,
    lower_quantized_product,
)
from strop.compiler.lowering.recurrent import lower_recurrent
from strop.compiler.lowering.resizing import lower_resize
from strop.compiler.lowering.scope import NotCovered, Scope
from strop.compiler.lowering.shapes import (
    lower_alias,
    lower_concatenate,
    lower_flatten,
    lower_pad,
    lower_reshape,
    lower_shape,
    lower_slice,
    lower_split,
    lower_squeeze,
    lower_transpose,
    lower_unsqueeze,
)
from strop.compiler.lowering.statistics import (
    lower_group_normalization,
    lower_instance_normalization,
    lower_layer_normalization,
    lower_lp_normalization,
    lower_mean_variance_normalization,
    lower_place,
    lower_reduction,
    lower_softmax,
)
from strop.compiler.lowering.transposed import lower_transposed_convolution
from strop.compiler.patterns.find import Found, find_patterns
from strop.compiler.statistics import REDUCTIONS
from strop.errors import NotSupportedError
from strop.model.infer import inferred_types
from strop.model.model import Model
from strop.passes.evaluate import evaluate_node
from strop.passes.fold_dequantized_weights import FoldDequantizedWeights
from strop.passes.graph import all_nodes
from strop.passes.pipeline import before_quantization

Rule = Callable[[onnx_ir.Node, Scope], None]


def _lower_any_convolution(node: onnx_ir.Node, scope: Scope) -> None:
    if not lower_quantized_convolution(node, scope):
        lower_convolution(node, scope)


def _lower_any_gemm(node: onnx_ir.Node, scope: Scope) -> None:
    if not lower_quantized_product(node, scope):
        lower_gemm(node, scope)


def _lower_any_matmul(node: onnx_ir.Node, scope: Scope) -> None:
    if not lower_quantized_product(node, scope):
        lower_matmul(node, scope)


RULES: Final[Mapping[str, Rule]] = {
    "Conv": _lower_any_convolution,
    "ConvTranspose": lower_transposed_convolution,
    "Resize": lower_resize,
    "Upsample": lower_resize,
    "Gemm": _lower_any_gemm,
    "MatMul": _lower_any_matmul,
    "BatchNormalization": lower_batch_norm,
    "MaxPool": lower_pool,
    "AveragePool": lower_pool,
    "GlobalAveragePool": lower_global_pool,
    "GlobalMaxPool": lower_global_pool,
    **dict.fromkeys((f"Reduce{name}" for name in REDUCTIONS), lower_reduction),
    "Softmax": lower_softmax,
    "LogSoftmax": lower_softmax,
    "LayerNormalization": lower_layer_normalization,
    "RMSNormalization": lower_layer_normalization,
    "SimplifiedLayerNormalization": lower_layer_normalization,
    "InstanceNormalization": lower_instance_normalization,
    "GroupNormalization": lower_group_normalization,
    "MeanVarianceNormalization": lower_mean_variance_normalization,
    "LpNormalization": lower_lp_normalization,
    "ArgMax": lower_place,
    "ArgMin": lower_place,
    "Clip": lower_clip,
    "Pow": lower_power,
    "Where": lower_where,
    "Cast": lower_cast,
    "CastLike": lower_cast,
    "PRelu": lower_prelu,
    **dict.fromkeys(BINARY, lower_binary),
    **dict.fromkeys(UNARY, lower_unary),
    "Identity": lower_alias,
    "Dropout": lower_alias,
    "Reshape": lower_reshape,
    "Flatten": lower_flatten,
    "Squeeze": lower_squeeze,
    "Unsqueeze": lower_unsqueeze,
    "Transpose": lower_transpose,
    "Slice": lower_slice,
    "Split": lower_split,
    "Concat": lower_concatenate,
    "Pad": lower_pad,
    "Expand": lower_expand,
    "Tile": lower_tile,
    "Gather": lower_gather,
    "GatherElements": lower_gather_elements,
    "GatherND": lower_gather_nd,
    "DepthToSpace": lower_depth_to_space,
    "SpaceToDepth": lower_space_to_depth,
    "Trilu": lower_trilu,
    "OneHot": lower_one_hot,
    **dict.fromkeys(("LSTM", "GRU", "RNN"), lower_recurrent),
    "ConstantOfShape": lower_constant_of_shape,
    "Shape": lower_shape,
    "Size": lower_shape,
    "QuantizeLinear": lower_quantize,
    "DequantizeLinear": lower_dequantize,
}
"""How each ONNX operator is lowered."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """The operations, and for each node that has none why. A node may also need none: a constant, another name.

    values: the type of every value of the model that is known; known: those that never change.
    """

    graph: Graph
    reasons: Mapping[str, str]
    values: Mapping[str, Value]
    known: Mapping[str, np.ndarray]


def prepare(model: Model) -> onnx_ir.Model:
    """Returns a copy of the model, cleaned and folded: the graph that is lowered and partitioned."""
    graph = model.fresh_ir()
    for each in before_quantization():
        # The weights of a quantized model stay integers, for the convolutions that compute on them.
        if not (model.is_quantized and isinstance(each, FoldDequantizedWeights)):
            each(graph)
    return graph


def lower(model: onnx_ir.Model, *, name: str = "model", shapes: Mapping[str, Shape] | None = None) -> Lowered:
    """Returns the operations of a prepared model; raises NotSupportedError where an input's shape is not static.

    shapes: of inputs whose sizes the model leaves open; parts of constants are then views of the whole constants, which
    are the same for all sizes.
    """
    scope, reasons = Scope(), {}
    for value in model.graph.inputs:
        if value.is_initializer():
            continue
        known = _typed(value)
        if shapes and value.name and value.name in shapes and value.dtype is not None:
            known = Value(value.name, shapes[value.name], str(value.dtype.numpy().name))
        if known is None:
            raise NotSupportedError(
                "unsupported.model",
                f"input {value.name!r} has a size that is not fixed",
                where=name,
                got=str(value.shape),
                expected="a number for every size",
                hint="give shapes: --shape NAME=1,3,224,224 on the command line, shapes= in Python",
            )
        scope.values[known.name] = known
    for initializer in model.graph.initializers.values():
        if initializer.const_value is not None and initializer.name is not None:
            scope.constants[initializer.name] = initializer.const_value.numpy()
    found = find_patterns(model.graph, scope.constant)
    for node in all_nodes(model.graph):
        is_part = shapes is not None and node.op_type in ("Gather", "Slice")
        reason = _lower_node(node, scope, model, found.get(node.name or ""), is_part=is_part)
        if reason:
            reasons[node.name or ""] = reason
            _note_types(node, scope, model)
    made = {output.name for node in model.graph for output in node.outputs}
    for value in model.graph.outputs:
        if value.name not in made:
            reasons[f"output {value.name}"] = "an output that no node makes"
    return Lowered(_finish(model, scope, name, reasons), reasons, *_known(model, scope))


def _lower_node(node: onnx_ir.Node, scope: Scope, model: onnx_ir.Model, found: Found | None, *, is_part: bool) -> str:
    """Adds what does the node's work and returns "", or the reason why nothing does."""
    if scope.is_taken_over(node) or (found is not None and _lower_found(found, scope)):
        return ""
    count = len(scope.operations)
    scope.start(node)
    try:
        if node.domain not in ("", "ai.onnx"):
            raise NotCovered(f"an operator of {node.domain}")
        if not (is_part and _is_table(scope.constant(node.inputs[0]))) and _evaluate(node, scope, model):
            return ""
        rule = RULES.get(node.op_type)
        if rule is None:
            raise NotCovered(f"no kernel for {node.op_type}")
        rule(node, scope)
    except NotCovered as answer:
        scope.take_back(count)
        return str(answer)
    return ""


def _lower_found(found: Found, scope: Scope) -> bool:
    """Adds what does the work of several nodes; returns whether that could be."""
    count = len(scope.operations)
    scope.start(found.nodes[0])
    try:
        found.lower(scope)
    except NotCovered:
        scope.take_back(count)
        return False
    for node in found.nodes[1:]:
        scope.take_over(node)
    return True


def _is_table(array: np.ndarray | None) -> bool:
    """Whether a constant holds numbers to compute with, rather than sizes."""
    return array is not None and array.dtype == np.float32 and array.ndim > 1


def _evaluate(node: onnx_ir.Node, scope: Scope, model: onnx_ir.Model) -> bool:
    """Computes a node all of whose inputs are constant; returns whether it could."""
    arrays = [scope.constant(value) for value in node.inputs]
    if not arrays or any(a is None for a, v in zip(arrays, node.inputs, strict=True) if v is not None):
        return False
    results = evaluate_node(node, arrays, model)
    if results is None:
        return False
    for output, array in zip(node.outputs, results, strict=True):
        scope.set_constant(output, array)
    return True


def _note_types(node: onnx_ir.Node, scope: Scope, model: onnx_ir.Model) -> None:
    """Notes types and shapes of what a node gives that is left to another engine, for those who read it."""
    known = {value.name: value for value in map(_typed, node.outputs) if value is not None}
    if len(known) < sum(1 for output in node.outputs if output.name):
        known.update(_inferred(node, scope, model))
    scope.values.update(known)


def _inferred(node: onnx_ir.Node, scope: Scope, model: onnx_ir.Model) -> dict[str, Value]:
    """Returns what ONNX infers for one node from what lowering knows of its inputs."""
    inputs, constants = [], []
    for value in node.inputs:
        name = "" if value is None else value.name or ""
        known = scope.values.get(scope.resolve(name))
        array = scope.constant(value)
        if array is not None:
            constants.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        elif known is not None:
            kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(known.dtype))
            inputs.append(onnx.helper.make_tensor_value_info(name, kind, known.shape))
    outputs = [onnx.ValueInfoProto(name=output.name) for output in node.outputs if output.name]
    graph = onnx.helper.make_graph([onnx_ir.to_proto(node)], "node", inputs, outputs, constants)
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
    try:
        types = inferred_types(onnx.helper.make_model(graph, opset_imports=opsets))
    except ValueError:  # protobuf's, where a node cannot be written alone
        return {}
    found = {}
    for output in node.outputs:
        dtype, shape = types.get(output.name or "", (None, None))
        if dtype is not None and shape is not None:
            sizes = tuple(size for size in shape if isinstance(size, int))
            if len(sizes) == len(shape) and output.name:
                found[output.name] = Value(output.name, sizes, dtype)
    return found


def values_read(node: onnx_ir.Node) -> Iterator[onnx_ir.Value]:
    """Yields the values a node reads, those that graphs inside it take from outside included."""
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        graphs: list[onnx_ir.Graph] = []
        if attribute.type == onnx_ir.AttributeType.GRAPH:
            graphs = [attribute.as_graph()]
        elif attribute.type == onnx_ir.AttributeType.GRAPHS:
            graphs = list(attribute.as_graphs())
        for graph in graphs:
            own = {id(value) for value in (*graph.inputs, *graph.initializers.values())}
            own |= {id(output) for inner in graph for output in inner.outputs}
            used = [*(value for inner in graph for value in values_read(inner)), *graph.outputs]
            yield from (value for value in used if id(value) not in own)


def _typed(value: onnx_ir.Value) -> Value | None:
    """Returns the value as ONNX knows it; None where its shape is not static or its type not known."""
    if value.shape is None or value.dtype is None or not value.name:
        return None
    sizes = [size for size in value.shape if isinstance(size, int)]
    if len(sizes) != len(value.shape):
        return None
    return Value(value.name, tuple(sizes), str(value.dtype.numpy().name))


def _known(model: onnx_ir.Model, scope: Scope) -> tuple[dict[str, Value], dict[str, np.ndarray]]:
    values, constants = {}, {}
    for node in model.graph:
        for output in node.outputs:
            name, own = scope.resolve(output.name or ""), output.name or ""
            if name in scope.constants:
                constants[own] = scope.constants[name]
            elif name in scope.values:
                values[own] = scope.values[name]
    return values, constants


def _finish(model: onnx_ir.Model, scope: Scope, name: str, foreign: Mapping[str, str]) -> Graph:
    """Leaves out what neither an output nor a node of another engine needs, and constants that were folded."""
    outputs = tuple(value.name or "" for value in model.graph.outputs)
    needed, kept = set(outputs), []
    for node in model.graph:
        if node.name in foreign:
            needed.update(scope.resolve(value.name or "") for value in values_read(node))
    for operation in reversed(scope.operations):
        if operation.output in needed:
            needed.update(operation.inputs)
            kept.append(operation)
    inputs = tuple(v.name or "" for v in model.graph.inputs if not v.is_initializer())
    needed.update(inputs)
    return Graph(
        name,
        inputs,
        outputs,
        {key: value for key, value in scope.values.items() if key in needed},
        tuple(reversed(kept)),
        {key: array for key, array in scope.constants.items() if key in needed},
    )
