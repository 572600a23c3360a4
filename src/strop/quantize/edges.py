"""The first and the last heavy operators of a graph, which some want to keep in float."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir

from strop.passes.graph import constant_of, input_at, standard
from strop.quantize.operators import HEAVY


def first_heavy(model: onnx_ir.Model) -> list[str]:
    """Returns the names of heavy operators that no other heavy operator leads to."""
    behind: set[onnx_ir.Value] = set()
    first = []
    for node in model.graph:
        inputs = [value for value in node.inputs if value is not None]
        reached = any(value in behind for value in inputs)
        heavy = _is_heavy(node)
        if heavy and not reached:
            first.append(str(node.name))
        if heavy or reached:
            behind.update(node.outputs)
    return first


def last_heavy(model: onnx_ir.Model) -> list[str]:
    """Returns the names of heavy operators that lead to no other heavy operator."""
    ahead: set[onnx_ir.Value] = set()
    last = []
    nodes: Iterable[onnx_ir.Node] = reversed(list(model.graph))
    for node in nodes:
        leads = any(value in ahead for value in node.outputs)
        heavy = _is_heavy(node)
        if heavy and not leads:
            last.append(str(node.name))
        if heavy or leads:
            ahead.update(value for value in node.inputs if value is not None)
    return last[::-1]


def _is_heavy(node: onnx_ir.Node) -> bool:
    return standard(node, *HEAVY) and constant_of(input_at(node, 1)) is not None
