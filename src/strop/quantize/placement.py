"""Which nodes compute in 8 bits and which values are quantized: a decision about the graph alone, before any data.

The rule: a heavy operator reads quantized input. Joining and moving operators follow where everything they read can be
quantized and somebody behind them wants it quantized. What a heavy operator computes is quantized, behind the
activation that engines fuse onto it, where such a reader follows; where only float operators read it (HardSwish, SiLU,
the end of the network) it stays float: rounding before a SiLU costs accuracy, and OpenVINO its fusion (1.4x on PP-OCR).
So nothing behind the last heavy operator is touched (softmax, boxes, decoding), nothing inside If, Loop or Scan, no
recurrent operator, no integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir

from strop.passes.graph import constant_of, standard
from strop.quantize.operators import FLOAT_ONLY, HEAVY, JOINING, Heavy, changing_inputs, fused_output, moves, read_heavy


@dataclass(slots=True)
class Placement:
    """What is to be quantized.

    heavy: operators with weights by node name; followers: names of joining and moving nodes that compute in 8 bits too;
    activations: the values that get QuantizeLinear and DequantizeLinear, in the graph's order, each with its readers;
    moved: values that have the scale of another value (name -> name); joined: values that should share one scale;
    ends: values that a quantized node computes (behind what is fused onto it) -> that node; skipped: why a node that
    might have been quantized stays float.
    """

    heavy: dict[str, Heavy] = field(default_factory=dict)
    followers: set[str] = field(default_factory=set)
    activations: dict[str, Activation] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    joined: list[tuple[str, ...]] = field(default_factory=list)
    ends: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def observed(self) -> list[str]:
        """The values whose numbers must be seen to choose their ranges."""
        return [name for name in self.activations if name not in self.moved]


@dataclass(frozen=True, slots=True)
class Activation:
    """A value to quantize. by_all: whether every reader gets the 8-bit form (but nodes that must stay float)."""

    value: onnx_ir.Value
    by_all: bool


def place(model: onnx_ir.Model, excluded: Mapping[str, str], *, every_convolution: bool = False) -> Placement:
    """Returns the placement for a prepared model; `excluded` nodes (name -> reason) stay float.

    every_convolution: quantize also those outputs of convolutions that only float operators read.
    """
    nodes = list(model.graph)
    keep = frozenset(excluded)
    result = Placement(skipped=dict(excluded))
    for node in nodes:
        if node.op_type in FLOAT_ONLY:
            result.skipped.setdefault(str(node.name), FLOAT_ONLY[node.op_type])
        if standard(node, *HEAVY) and node.name not in excluded:
            read = read_heavy(node)
            if isinstance(read, Heavy):
                result.heavy[str(node.name)] = read
            else:
                result.skipped[str(node.name)] = read
    outputs = {str(node.name): fused_output(node, keep)[0] for node in nodes if _could_quantize(node, keep)}
    computed = {outputs[name] for name in result.heavy}
    wanted = {value for heavy in result.heavy.values() for value in heavy.node.inputs[:1] if value is not None}
    _spread(nodes, outputs, computed, wanted, result)
    if every_convolution:
        convolutions = (name for name, heavy in result.heavy.items() if standard(heavy.node, "Conv", "ConvTranspose"))
        wanted.update(outputs[name] for name in convolutions)
    _collect(nodes, outputs, wanted, result)
    return result


def _could_quantize(node: onnx_ir.Node, keep: frozenset[str]) -> bool:
    return (standard(node, *HEAVY, *JOINING) or moves(node)) and node.name not in keep and bool(node.outputs)


def _follows(node: onnx_ir.Node) -> bool:
    if standard(node, *JOINING):
        return all(value is not None and constant_of(value) is None for value in node.inputs)
    return moves(node) and constant_of(node.inputs[0]) is None


def _spread(
    nodes: Sequence[onnx_ir.Node],
    outputs: Mapping[str, onnx_ir.Value],
    computed: set[onnx_ir.Value],
    wanted: set[onnx_ir.Value],
    result: Placement,
) -> None:
    """Lets followers join until nothing changes: forward, what could be quantized; backward, what should be."""
    followers = [node for node in nodes if str(node.name) in outputs and _follows(node)]
    while True:
        possible = computed | wanted
        for node in followers:
            if all(value in possible for value in changing_inputs(node)):
                possible.add(outputs[str(node.name)])
                possible.update(node.outputs[1:])
        before = len(result.followers)
        for node in reversed(followers):
            if node.name in result.followers:
                continue
            inputs = changing_inputs(node)
            ends = {outputs[str(node.name)], *node.outputs[1:]}
            alone = moves(node) and all(len(end.uses()) == 1 for end in ends)
            if ends & wanted and (alone or all(value in possible for value in inputs)):
                result.followers.add(str(node.name))
                wanted.update(inputs)
        if len(result.followers) == before:
            return


def _collect(
    nodes: Sequence[onnx_ir.Node],
    outputs: Mapping[str, onnx_ir.Value],
    wanted: set[onnx_ir.Value],
    result: Placement,
) -> None:
    """Writes down which values are quantized, for whom, and which of them have a scale in common."""
    graph_inputs = [value for node in nodes for value in node.inputs if value is not None and value.producer() is None]
    for value in graph_inputs:
        if value in wanted and value.is_graph_input():
            result.activations[str(value.name)] = Activation(value, by_all=False)
    ends = {outputs[name] for name in (*result.heavy, *result.followers)}
    result.ends = {str(outputs[name].name): name for name in (*result.heavy, *result.followers)}
    for node in nodes:
        all_outputs = node.name in result.followers and moves(node)
        for value in node.outputs:
            if value in wanted or all_outputs:
                result.activations[str(value.name)] = Activation(value, by_all=value in ends or all_outputs)
        if node.name not in result.followers:
            continue
        if moves(node):
            for value in node.outputs:
                result.moved[str(value.name)] = str(node.inputs[0] and node.inputs[0].name)
        elif standard(node, "Concat"):
            result.joined.append(tuple(str(value and value.name) for value in (*node.inputs, node.outputs[0])))
