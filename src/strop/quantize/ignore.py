"""Which nodes a user wants to stay float: rules to nodes, and the proof afterwards that they did."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir

from strop.errors import UsageError
from strop.passes.base import Rewrites
from strop.quantize.config import QuantizeConfig


@dataclass(frozen=True, slots=True)
class Ignored:
    """rules: each rule -> the names of the nodes it matched; reasons: node name -> why it stays float."""

    rules: Mapping[str, tuple[str, ...]]
    reasons: Mapping[str, str]

    @property
    def warnings(self) -> list[str]:
        """One sentence for each rule that matched nothing."""
        return [f"{rule} matched no node, so it has no effect" for rule, names in self.rules.items() if not names]


def find_ignored(model: onnx_ir.Model, config: QuantizeConfig, rewrites: Sequence[Rewrites]) -> Ignored:
    """Returns what the rules of `config` match in a prepared model.

    A name may be a node's, that of a value it computes, or that of a node which was folded into it: users know their
    own model, not ours.
    """
    aliases = _aliases(model, rewrites)
    rules: dict[str, tuple[str, ...]] = {}
    for name in config.ignored_names:
        rules[f"ignored name {name!r}"] = tuple(node for node, known in aliases.items() if name in known)
    for op_type in config.ignored_types:
        matched = (str(node.name) for node in model.graph if node.op_type == op_type)
        rules[f"ignored operator {op_type!r}"] = tuple(matched)
    for text in config.ignored_patterns:
        try:
            pattern = re.compile(text)
        except re.error as error:
            raise UsageError(
                "usage.bad-option",
                f"the ignored pattern {text!r} is no regular expression",
                got=error,
                hint="to ignore a node by its exact name use ignored_names; in a pattern, write \\( for a bracket",
            ) from error
        rules[f"ignored pattern {text!r}"] = tuple(
            node for node, known in aliases.items() if any(pattern.fullmatch(alias) for alias in known)
        )
    reasons = {node: rule for rule, nodes in rules.items() for node in nodes}
    return Ignored(rules, reasons)


def verify_ignored(model: onnx_ir.Model, ignored: Ignored) -> None:
    """Raises AssertionError where a node that was to stay float reads something in 8 bits."""
    for node in model.graph:
        if node.name not in ignored.reasons:
            continue
        for value in node.inputs:
            producer = None if value is None else value.producer()
            if producer is not None and producer.op_type == "DequantizeLinear":
                raise AssertionError(f"{node.name} was to stay float but reads {value and value.name}")


def _aliases(model: onnx_ir.Model, rewrites: Sequence[Rewrites]) -> dict[str, set[str]]:
    aliases = {str(node.name): {str(node.name), *(str(value.name) for value in node.outputs)} for node in model.graph}
    for rewrite in reversed(rewrites):
        for origin in rewrite.origins:
            for known in aliases.values():
                if origin.node in known:
                    known.update(source for source in origin.sources if source)
    return aliases
