"""Cuts a segment out of a model: some of its nodes as a model of their own, for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import onnx

from strop.model.infer import without_weights


class Extractor:
    """Cuts segments out of one model, whose value types are worked out once.

    Args:
        proto: the whole model, its weights inside; every node has a name of its own.
    """

    def __init__(self, proto: onnx.ModelProto):
        self._proto = proto
        self._weights = {tensor.name: tensor for tensor in proto.graph.initializer}
        self._sparse = {tensor.values.name: tensor for tensor in proto.graph.sparse_initializer}
        self._types = _types(proto)

    def cut(self, nodes: Collection[str], *, inputs: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:
        """Returns the model of the nodes of these names, from the values `inputs` to the values `outputs`.

        Raises KeyError where the type of an input is not known.
        """
        wanted = set(nodes)
        chosen = [node for node in self._proto.graph.node if node.name in wanted]
        used = {name for node in chosen for name in names_used(node)} | set(outputs)
        graph = onnx.GraphProto(name=self._proto.graph.name)
        graph.node.extend(chosen)
        graph.initializer.extend(tensor for name, tensor in self._weights.items() if name in used)
        graph.sparse_initializer.extend(tensor for name, tensor in self._sparse.items() if name in used)
        graph.input.extend(self._types[name] for name in inputs)
        graph.output.extend(self._types.get(name, onnx.ValueInfoProto(name=name)) for name in outputs)
        made = onnx.ModelProto(ir_version=self._proto.ir_version, producer_name="strop", graph=graph)
        made.opset_import.extend(self._proto.opset_import)
        made.functions.extend(self._proto.functions)
        return made


def names_used(node: onnx.NodeProto) -> Iterator[str]:
    """Yields the names of the values that a node reads, those that graphs inside it take from outside included."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in [*([attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else []), *attribute.graphs]:
            own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
            own |= {tensor.values.name for tensor in graph.sparse_initializer}
            own |= {name for inner in graph.node for name in inner.output}
            read = {name for inner in graph.node for name in names_used(inner)}
            read |= {value.name for value in graph.output}
            yield from sorted(read - own)


def _types(proto: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """Returns what is known of the type of every value: as the model says, else as shape inference finds."""
    try:
        inferred = onnx.shape_inference.infer_shapes(without_weights(proto), data_prop=True)
    except Exception:  # it raises its C++ errors as they come; the model may be fine all the same
        inferred = proto
    known: dict[str, onnx.ValueInfoProto] = {}
    for graph in (inferred.graph, proto.graph):
        for value in [*graph.value_info, *graph.output, *graph.input]:
            if value.type.WhichOneof("value") is not None:
                known[value.name] = value
    return known
