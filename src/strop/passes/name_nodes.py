"""Gives every node a name of its own, so that reports, --ignore and origins can speak of it."""

from __future__ import annotations

import onnx_ir

from strop.passes.base import Origin, Pass, Rewrites
from strop.passes.graph import all_nodes


class NameNodes(Pass):
    """Names unnamed nodes after what they compute (the first output), and tells nodes of one name apart by a number.

    Names depend on the graph alone, so a name quoted from one run is good in the next.
    """

    def _rewrite(self, model: onnx_ir.Model, rewrites: Rewrites) -> None:
        taken: set[str] = {node.name for node in model.graph if node.name}
        seen: set[str] = set()
        for node in all_nodes(model.graph):
            old = node.name or ""
            if old and old not in seen:
                seen.add(old)
                continue
            name = base = old or f"{node.op_type}:{node.outputs[0].name}"
            count = 1
            while name in taken or name in seen:
                count += 1
                name = f"{base}_{count}"
            node.name = name
            seen.add(name)
            rewrites.origins.append(Origin(name, (old,)))

    def ensures(self, model: onnx_ir.Model) -> None:
        """Every node has a name of its own."""
        names = [node.name for node in model.graph]
        assert all(names) and len(set(names)) == len(names), "two nodes share a name"
