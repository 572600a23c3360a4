"""Small questions about an onnx-ir graph that most passes ask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir


def constant_of(value: onnx_ir.Value | None) -> np.ndarray | None:
    """Returns the array of a value that never changes; None where it does (or is missing)."""
    if value is None or not value.is_initializer() or value.const_value is None:
        return None
    return value.const_value.numpy()


def sole_consumer(value: onnx_ir.Value) -> onnx_ir.Node | None:
    """Returns the one node that reads `value` (once); None where others do too or it is an output of its graph."""
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return None
    return uses[0].node


def input_at(node: onnx_ir.Node, index: int) -> onnx_ir.Value | None:
    """Returns the node's input at `index`; None where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def standard(node: onnx_ir.Node, *op_types: str) -> bool:
    """Says whether the node is one of these operators of the ONNX standard."""
    return node.op_type in op_types and node.domain in ("", "ai.onnx")


def int_attribute(node: onnx_ir.Node, name: str, default: int) -> int:
    """Returns an integer attribute or its default."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def float_attribute(node: onnx_ir.Node, name: str, default: float) -> float:
    """Returns a float attribute or its default."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_float()


def ints_attribute(node: onnx_ir.Node, name: str) -> tuple[int, ...]:
    """Returns an attribute that is a list of integers; empty where it is not there."""
    attribute = node.attributes.get(name)
    return () if attribute is None else tuple(attribute.as_ints())


def add_initializer(graph: onnx_ir.Graph, array: np.ndarray, name: str) -> onnx_ir.Value:
    """Adds a constant to the graph under `name` (with a number behind it where that is taken) and returns its value."""
    unique = free_name(graph, name)
    tensor = onnx_ir.tensor(np.ascontiguousarray(array).reshape(array.shape), name=unique)
    value = onnx_ir.Value(
        name=unique, shape=onnx_ir.Shape(array.shape), type=onnx_ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def free_name(graph: onnx_ir.Graph, name: str) -> str:
    """Returns `name`, or `name_2`, `name_3` ... where a constant of that name is there already."""
    unique, count = name, 1
    while unique in graph.initializers:
        count += 1
        unique = f"{name}_{count}"
    return unique


def replace_output(old: onnx_ir.Value, new: onnx_ir.Value) -> None:
    """Lets all readers of `old` read `new`, which takes the place, name and shape of an output of the graph."""
    was_output, name = old.is_graph_output(), old.name
    onnx_ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    if was_output:
        old.name = f"{name}_before"
        new.name = name
        new.shape, new.type = old.shape, old.type


def all_nodes(graph: onnx_ir.Graph) -> Sequence[onnx_ir.Node]:
    """Returns the nodes of the graph itself as a list that survives changes (those of inner graphs are left out)."""
    return list(graph)
