"""Walks a model's graphs, those inside its nodes included."""

from __future__ import annotations

from collections.abc import Iterator

import onnx


def walk_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yields the graph and the graphs inside its nodes (branches, loop bodies)."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from walk_graphs(attribute.g)
            for inner in attribute.graphs:
                yield from walk_graphs(inner)


def walk_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yields the nodes of the graph and of the graphs inside it."""
    for inner in walk_graphs(graph):
        yield from inner.node
