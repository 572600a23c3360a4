"""Takes out what hands its input through: Identity, and Dropout at inference.

(onnx-ir's own elimination fails on models whose branches give Identity of a value from outside: silero's do.)
"""

from __future__ import annotations

import onnx_ir

from strop.passes.base import Pass, Rewrites
from strop.passes.graph import all_nodes, constant_of, input_at, replace_output, standard


class RemoveIdentity(Pass):
    """Lets the readers of an Identity, or of a Dropout that is not in training mode, read its input.

    It stays where an output of the model would become an input, a constant or a second output.
    """

    def _rewrite(self, model: onnx_ir.Model, rewrites: Rewrites) -> None:
        for node in all_nodes(model.graph):
            source = node.inputs[0] if node.inputs else None
            if source is None or not (standard(node, "Identity") or _is_idle_dropout(node)):
                continue
            output = node.outputs[0]
            if output.is_graph_output() and (source.producer() is None or source.is_graph_output()):
                continue
            replace_output(output, source)
            model.graph.remove(node, safe=True)
            rewrites.add(None, node)


def _is_idle_dropout(node: onnx_ir.Node) -> bool:
    if not standard(node, "Dropout") or any(mask.uses() or mask.is_graph_output() for mask in node.outputs[1:]):
        return False
    training = input_at(node, 2)
    flag = constant_of(training)
    return training is None or (flag is not None and not bool(flag))
