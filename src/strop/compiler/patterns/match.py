"""A small language for forms of nodes: what a value may be made of, and what is found where it is.

    half_erf = op("Mul", op("Add", op("Erf", op("Div", this("x"), number(math.sqrt(2)))), number(1)), this("x"))

Operands of Add and Mul are tried in both orders. A form matches only if nobody else reads what lies inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir

from strop.passes.graph import standard

_COMMUTATIVE = ("Add", "Mul")


@dataclass(frozen=True, slots=True)
class Match:
    """What a form was found to consist of: values by the names it gives them, and its nodes."""

    values: dict[str, onnx_ir.Value] = field(default_factory=dict)
    nodes: tuple[onnx_ir.Node, ...] = ()

    def bind(self, name: str, value: onnx_ir.Value) -> Match | None:
        """Returns the match with `value` called `name`; None where that is another value already."""
        if name in self.values:
            return self if self.values[name] is value else None
        return Match({**self.values, name: value}, self.nodes)


Constants = Callable[[onnx_ir.Value | None], np.ndarray | None]
"""Gives the array of a value that never changes."""

Form = Callable[[onnx_ir.Value, Match, Constants], Iterator[Match]]
"""Yields the ways in which a value has the form."""


def this(name: str) -> Form:
    """Returns the form of any value, which gets a name; the same name means the same value."""

    def form(value: onnx_ir.Value, match: Match, constants: Constants) -> Iterator[Match]:
        bound = match.bind(name, value)
        if bound is not None:
            yield bound

    return form


def constant(name: str) -> Form:
    """Returns the form of a value that never changes."""

    def form(value: onnx_ir.Value, match: Match, constants: Constants) -> Iterator[Match]:
        if constants(value) is not None:
            yield from this(name)(value, match, constants)

    return form


def number(wanted: float, *, tolerance: float = 1e-4) -> Form:
    """Returns the form of a constant number, to a relative tolerance."""

    def form(value: onnx_ir.Value, match: Match, constants: Constants) -> Iterator[Match]:
        array = constants(value)
        if array is not None and array.size == 1 and abs(float(array.item()) - wanted) <= tolerance * abs(wanted):
            yield match

    return form


def either(*forms: Form) -> Form:
    """Returns the form of a value that has one of these."""

    def form(value: onnx_ir.Value, match: Match, constants: Constants) -> Iterator[Match]:
        for each in forms:
            yield from each(value, match, constants)

    return form


def op(
    op_type: str, *operands: Form, where: Callable[[onnx_ir.Node, Constants], bool] = lambda node, constants: True
) -> Form:
    """Returns the form of what the operator makes of operands of these forms; `where` looks at the node."""

    def form(value: onnx_ir.Value, match: Match, constants: Constants) -> Iterator[Match]:
        node = value.producer()
        if node is None or not standard(node, op_type) or value is not node.outputs[0] or not where(node, constants):
            return
        given = list(node.inputs)
        if len(given) < len(operands):
            return
        orders = [given[: len(operands)]]
        if op_type in _COMMUTATIVE and len(operands) == 2:
            orders.append([given[1], given[0]])
        nodes = match.nodes if node in match.nodes else (*match.nodes, node)
        for order in orders:
            yield from _all(operands, order, Match(match.values, nodes), constants)

    return form


def _all(
    forms: Sequence[Form], values: Sequence[onnx_ir.Value | None], match: Match, constants: Constants
) -> Iterator[Match]:
    if not forms:
        yield match
    elif values[0] is not None:
        for each in forms[0](values[0], match, constants):
            yield from _all(forms[1:], values[1:], each, constants)


def find(form: Form, root: onnx_ir.Value, constants: Constants) -> Match | None:
    """Returns the first way in which `root` has the form and nobody else reads what lies inside; None where none is."""
    for match in form(root, Match(), constants):
        nodes = set(match.nodes)
        inner = [output for node in match.nodes for output in node.outputs if output is not root]
        if all(not value.is_graph_output() and {use.node for use in value.uses()} <= nodes for value in inner):
            return match
    return None
