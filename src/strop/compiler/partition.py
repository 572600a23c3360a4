"""Divides a model between machine code and another engine: maximal segments, in as few changes as possible.

Nodes get stages in the order in which they can run: a node that is run as its operand's node is stays in its stage, one
that is run otherwise begins the next. All nodes of a stage are one segment, so segments alternate and no cycle arises.
Stages are counted from the inputs, and again from the outputs; the way with fewer segments, then with fewer values
between them, is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir

from strop.compiler.asking import asking, usual_layouts
from strop.compiler.choose import NoKernelError
from strop.compiler.isa.table import Isa, get_isa
from strop.compiler.levels import Convolve, Graph, Operation, Value
from strop.compiler.lower import Lowered, lower, prepare, values_read
from strop.model.model import Model
from strop.passes.graph import add_initializer, all_nodes, replace_output

TOO_LITTLE = "too little work to leave the other engine for it"


@dataclass(frozen=True, slots=True)
class Segment:
    """Nodes that run together, by name, and the values that they read and make for others.

    is_native: whether machine code runs them; reasons: why not, by node.
    """

    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    is_native: bool
    reasons: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """A model's segments in an order in which they can run. `model` is the model, cleaned; its nodes are meant."""

    model: Model
    segments: tuple[Segment, ...]

    @property
    def model_inputs(self) -> tuple[str, ...]:
        """The names of the model's inputs, also of those that no node reads."""
        return tuple(spec.name for spec in self.model.inputs)

    @property
    def reasons(self) -> dict[str, str]:
        """Why each node is not native, by name."""
        return {node: reason for segment in self.segments for node, reason in segment.reasons.items()}

    @property
    def native_share(self) -> float:
        """The share of nodes that are native."""
        total = sum(len(segment.nodes) for segment in self.segments)
        native = sum(len(segment.nodes) for segment in self.segments if segment.is_native)
        return native / total if total else 1.0


def partition(model: Model, *, isa: str, winograd: Literal["auto", "off"] = "auto") -> Partition:
    """Returns the segments of a model with static shapes; raises NotSupportedError where shapes are not."""
    graph = prepare(model)
    lowered = lower(graph, name=model.name)
    _fold_known(graph, lowered)
    _write_types(graph, lowered.values)
    reasons = {**lowered.reasons, **_without_kernel(lowered.graph, get_isa(isa), winograd)}
    nodes = [_Node.of(node) for node in all_nodes(graph.graph)]
    reasons = {node.name: reasons[node.name] for node in nodes if node.name in reasons}
    outputs = [value.name or "" for value in graph.graph.outputs]
    worthwhile = {n for operation in lowered.graph.operations if _is_work(operation) for n in operation.origin}
    while True:
        stages = _best_stages(nodes, reasons, outputs)
        busy = {stages[name] for name in worthwhile if name in stages}
        little = [node.name for node in nodes if node.name not in reasons and stages[node.name] not in busy]
        if not reasons or not little:
            break
        reasons.update(dict.fromkeys(little, TOO_LITTLE))
    return Partition(Model.from_ir(graph, like=model), _segments(nodes, stages, reasons, outputs))


def _is_work(operation: Operation) -> bool:
    return isinstance(operation.core, Convolve)


def _fold_known(graph: onnx_ir.Model, lowered: Lowered) -> None:
    """Replaces nodes whose outputs lowering worked out by constants, so that no segment has to give them to another."""
    for node in reversed(all_nodes(graph.graph)):
        known = [lowered.known.get(output.name or "") for output in node.outputs]
        if any(array is None for array in known) or any(output.is_graph_output() for output in node.outputs):
            continue
        for output, array in zip(node.outputs, known, strict=True):
            if array is not None and output.uses():
                replace_output(output, add_initializer(graph.graph, array, output.name or "constant"))
        graph.graph.remove(node, safe=True)


def _write_types(graph: onnx_ir.Model, values: Mapping[str, Value]) -> None:
    """Writes down what lowering learned of shapes: a segment's inputs need them."""
    for node in graph.graph:
        for output in node.outputs:
            known = values.get(output.name or "")
            if known is not None and not output.is_graph_output():
                output.shape = onnx_ir.Shape(known.shape)
                output.dtype = onnx_ir.DataType.from_numpy(np.dtype(known.dtype))


def _without_kernel(graph: Graph, isa: Isa, winograd: Literal["auto", "off"]) -> dict[str, str]:
    """Returns why no kernel computes an operation, for each of its nodes."""
    ask = asking(isa, winograd)
    reasons: dict[str, str] = {}
    for operation in graph.operations:
        reason = _dtype_reason(graph, operation)
        if not reason and operation.has_code:
            try:
                ask(operation, *usual_layouts(graph, operation))
            except NoKernelError as error:
                reason = "; ".join(r for r in error.reasons.values() if not r.startswith("not ")) or "no kernel"
        if reason:
            reasons.update(dict.fromkeys(operation.origin, reason))
    return reasons


def _dtype_reason(graph: Graph, operation: Operation) -> str:
    dtypes = {graph.values[name].dtype for name in (*operation.inputs, operation.output)}
    strange = {dtype for dtype in dtypes if np.dtype(dtype).itemsize not in (1, 2, 4, 8)}
    return f"values of {', '.join(sorted(strange))}" if strange else ""


# -- stages


@dataclass(frozen=True, slots=True)
class _Node:
    """A node's name and the values it reads (those that graphs inside it take from outside included) and makes."""

    name: str
    reads: tuple[str, ...]
    makes: tuple[str, ...]

    @classmethod
    def of(cls, node: onnx_ir.Node) -> _Node:
        reads = dict.fromkeys(value.name or "" for value in values_read(node) if not value.is_initializer())
        return cls(node.name or "", tuple(reads), tuple(output.name or "" for output in node.outputs if output.name))


def _best_stages(nodes: Sequence[_Node], reasons: Mapping[str, str], outputs: Sequence[str]) -> dict[str, int]:
    """Returns the stage of each node by name: native ones on even stages, the others on odd ones."""
    makers = {value: node for node in nodes for value in node.makes}
    readers: dict[str, list[_Node]] = {node.name: [] for node in nodes}
    for node in nodes:
        for value in node.reads:
            if value in makers:
                readers[makers[value].name].append(node)
    kinds = {node.name: node.name in reasons for node in nodes}
    early: dict[str, int] = {}
    for node in nodes:
        before = [makers[value].name for value in node.reads if value in makers]
        early[node.name] = _stage([(early[name], kinds[name]) for name in before], kinds[node.name])
    late: dict[str, int] = {}
    for node in reversed(nodes):
        after = [(late[other.name], kinds[other.name]) for other in readers[node.name]]
        late[node.name] = _stage(after, kinds[node.name])
    # Counting from the end has to keep what is even: one more stage where the last one's parity is the other.
    top = max(late.values(), default=0)
    top += top % 2
    late = {name: top - stage for name, stage in late.items()}

    def cost(stages: Mapping[str, int]) -> tuple[int, int]:
        crossing = {
            value
            for node in nodes
            for value in node.reads
            if value in makers and stages[makers[value].name] != stages[node.name]
        }
        return len(set(stages.values())), len(crossing)

    return min((early, late), key=cost)


def _stage(neighbours: Sequence[tuple[int, bool]], kind: bool) -> int:
    stage = max((stage + (other != kind) for stage, other in neighbours), default=0)
    return stage + (stage % 2 != kind)


def _segments(
    nodes: Sequence[_Node], stages: Mapping[str, int], reasons: Mapping[str, str], outputs: Sequence[str]
) -> tuple[Segment, ...]:
    members: dict[int, list[_Node]] = {stage: [] for stage in sorted(set(stages.values()))}
    for node in nodes:
        members[stages[node.name]].append(node)
    readers: dict[str, set[int]] = {}
    for node in nodes:
        for value in node.reads:
            readers.setdefault(value, set()).add(stages[node.name])
    segments = []
    for stage, own in members.items():
        made = dict.fromkeys(value for node in own for value in node.makes)
        read = dict.fromkeys(value for node in own for value in node.reads if value not in made)
        segments.append(
            Segment(
                tuple(node.name for node in own),
                tuple(read),
                tuple(value for value in made if readers.get(value, set()) - {stage} or value in outputs),
                stage % 2 == 0,
                {node.name: reasons[node.name] for node in own if node.name in reasons},
            )
        )
    return tuple(segments)
