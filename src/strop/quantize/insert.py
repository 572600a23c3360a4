"""Writes a placement and its scales into the graph: QuantizeLinear and DequantizeLinear, int8 weights, int32 biases."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir

from strop.passes.graph import add_initializer, float_attribute
from strop.quantize.affine import ActivationScale
from strop.quantize.operators import Heavy, changing_inputs
from strop.quantize.placement import Activation, Placement
from strop.quantize.weights import INT7_LIMIT, INT8_LIMIT, quantize_bias, quantize_weights, weight_scales


def insert_pairs(
    model: onnx_ir.Model,
    placement: Placement,
    scales: Mapping[str, ActivationScale],
    *,
    per_channel: bool,
    seven_bits: frozenset[str],
    kept: frozenset[str],
) -> None:
    """Changes `model` in place into its QDQ form.

    scales: by the name of the activation; seven_bits: names of heavy nodes; kept: names of nodes that must read floats.
    """
    stored: dict[tuple[str, object], onnx_ir.Value] = {}
    for name, heavy in placement.heavy.items():
        source = heavy.node.inputs[0]
        assert source is not None
        _quantize_heavy(
            model.graph,
            heavy,
            scales[str(source.name)],
            axis=heavy.axis if per_channel else None,
            limit=INT7_LIMIT if name in seven_bits else INT8_LIMIT,
            stored=stored,
        )
    quantized = {*placement.heavy, *placement.followers}
    for name, activation in placement.activations.items():
        _quantize_activation(model.graph, name, activation, scales[name], quantized, kept)


def _quantize_heavy(
    graph: onnx_ir.Graph,
    heavy: Heavy,
    source: ActivationScale,
    *,
    axis: int | None,
    limit: int,
    stored: dict[tuple[str, object], onnx_ir.Value],
) -> None:
    node, weights, bias = heavy.node, heavy.weights, heavy.bias
    if node.op_type == "Gemm":
        # Integer kernels know no alpha and beta.
        weights = weights * np.float32(float_attribute(node, "alpha", 1.0))
        columns = weights.shape[heavy.axis or 0]
        if bias is not None:
            beta = np.float32(float_attribute(node, "beta", 1.0))
            bias = np.broadcast_to(bias.reshape(-1) * beta, (columns,))
        node.attributes["alpha"] = onnx_ir.AttrFloat32("alpha", 1.0)
        node.attributes["beta"] = onnx_ir.AttrFloat32("beta", 1.0)
    scale = weight_scales(weights, axis=axis, limit=limit, bias=bias, input_scale=float(source.scale))
    name = str(node.inputs[1] and node.inputs[1].name)
    key = (name, (axis, limit, weights.tobytes() if node.op_type == "Gemm" else b"", scale.tobytes()))
    if key not in stored:
        codes = quantize_weights(weights, scale, axis=axis, limit=limit)
        stored[key] = _dequantized(graph, node, name, codes, scale, axis=axis)
    node.replace_input_with(1, stored[key])
    if bias is not None:
        bias_name = str(node.inputs[2] and node.inputs[2].name)
        codes, unit = quantize_bias(bias, input_scale=source.scale, weight_scale=scale)
        node.replace_input_with(
            2, _dequantized(graph, node, bias_name, codes, unit if axis is not None else unit[0], axis=0)
        )


def _dequantized(
    graph: onnx_ir.Graph, before: onnx_ir.Node, name: str, codes: np.ndarray, scale: np.ndarray, *, axis: int | None
) -> onnx_ir.Value:
    scale = np.asarray(scale, np.float32)
    inputs = [
        add_initializer(graph, codes, f"{name}_quantized"),
        add_initializer(graph, scale, f"{name}_scale"),
        add_initializer(graph, np.zeros(scale.shape, codes.dtype), f"{name}_zero_point"),
    ]
    attributes = {"axis": axis} if axis is not None and scale.ndim else {}
    node = onnx_ir.node(
        "DequantizeLinear", inputs, attributes, num_outputs=1, name=f"{inputs[0].name}_DequantizeLinear"
    )
    _describe(node.outputs[0], f"{inputs[0].name}_dequantized", onnx_ir.DataType.FLOAT, onnx_ir.Shape(codes.shape))
    graph.insert_before(before, node)
    return node.outputs[0]


def _quantize_activation(
    graph: onnx_ir.Graph,
    name: str,
    activation: Activation,
    scale: ActivationScale,
    quantized: set[str],
    kept: frozenset[str],
) -> None:
    value = activation.value
    uses = [
        use
        for use in value.uses()
        if use.node.graph is graph
        and (
            (use.node.name in quantized and value in changing_inputs(use.node))
            if not activation.by_all
            else use.node.name not in kept
        )
    ]
    is_output = value.is_graph_output() and activation.by_all
    if not uses and not is_output:
        return
    scale_value = add_initializer(graph, np.asarray(scale.scale), f"{name}_scale")
    zero_point = add_initializer(graph, np.asarray(scale.zero_point, np.uint8), f"{name}_zero_point")
    quantize = onnx_ir.node(
        "QuantizeLinear", [value, scale_value, zero_point], num_outputs=1, name=f"{name}_QuantizeLinear"
    )
    _describe(quantize.outputs[0], f"{name}_quantized", onnx_ir.DataType.UINT8, value.shape)
    dequantize = onnx_ir.node(
        "DequantizeLinear",
        [quantize.outputs[0], scale_value, zero_point],
        num_outputs=1,
        name=f"{name}_DequantizeLinear",
    )
    _describe(dequantize.outputs[0], f"{name}_dequantized", onnx_ir.DataType.FLOAT, value.shape)
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], [quantize, dequantize])
    else:
        graph.insert_after(producer, [quantize, dequantize])
    for use in uses:
        use.node.replace_input_with(use.idx, dequantize.outputs[0])
    if is_output:
        position = list(graph.outputs).index(value)
        graph.outputs[position] = dequantize.outputs[0]
        value.name, dequantize.outputs[0].name = f"{name}_float", name


def _describe(value: onnx_ir.Value, name: str, dtype: onnx_ir.DataType, shape: onnx_ir.Shape | None) -> None:
    value.name, value.type, value.shape = name, onnx_ir.TensorType(dtype), shape
