"""Finds the forms in a graph; each is lowered where its first node stands, and takes over the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import onnx_ir

from strop.compiler.lowering.pointwise import lower_activation
from strop.compiler.lowering.scope import Scope
from strop.compiler.patterns.activations import ACTIVATIONS
from strop.compiler.patterns.match import Constants, Form, Match, find
from strop.compiler.patterns.normalization import (
    ROOT_MEAN_SQUARE,
    STANDARDIZATION,
    lower_root_mean_square,
    lower_standardization,
)
from strop.passes.graph import all_nodes

Lower = Callable[[Match, onnx_ir.Value, Scope], None]
"""Adds the operation of a form that was found, which makes the given output; raises NotCovered where it cannot."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A form and how it is lowered."""

    name: str
    form: Form
    lower: Lower


@dataclass(frozen=True, slots=True)
class Found:
    """A pattern found in the graph: its nodes in the graph's order; the last makes its output."""

    pattern: Pattern
    match: Match
    nodes: tuple[onnx_ir.Node, ...]

    def lower(self, scope: Scope) -> None:
        """Adds its operation."""
        self.pattern.lower(self.match, self.match.nodes[0].outputs[0], scope)


def _activation(name: str, match: Match, output: onnx_ir.Value, scope: Scope) -> None:
    lower_activation(name, match.values["x"], output, scope)


PATTERNS: Final[tuple[Pattern, ...]] = (
    Pattern("standardization", STANDARDIZATION, lower_standardization),
    Pattern("root mean square", ROOT_MEAN_SQUARE, lower_root_mean_square),
    *(Pattern(name, form, partial(_activation, name)) for name, form in ACTIVATIONS.items()),
)
"""All of them; where two fit, the first is taken."""


def find_patterns(graph: onnx_ir.Graph, constants: Constants) -> Mapping[str, Found]:
    """Returns the patterns of a graph by the name of the first of their nodes; no node belongs to two."""
    order = {node: index for index, node in enumerate(graph)}
    taken: set[onnx_ir.Node] = set()
    found: dict[str, Found] = {}
    for node in reversed(all_nodes(graph)):
        if node in taken or not node.outputs:
            continue
        for pattern in PATTERNS:
            match = find(pattern.form, node.outputs[0], constants)
            if match is None or taken & set(match.nodes) or any(each not in order for each in match.nodes):
                continue
            nodes = tuple(sorted(match.nodes, key=order.__getitem__))
            # What it reads must be there where its first node stands.
            made = [value.producer() for value in match.values.values()]
            if any(each is not None and order.get(each, -1) > order[nodes[0]] for each in made):
                continue
            taken.update(nodes)
            found[nodes[0].name or ""] = Found(pattern, match, nodes)
            break
    return found
