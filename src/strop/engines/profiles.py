"""Turns an engine's own profile into rows that speak the names of the user's model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from strop.engines.contract import ModelSource, OperationTime


class Origins:
    """Which nodes of the model an engine's operation came from, by name.

    Engines keep the name of a node or of its output and add to it (`Conv_7_nchwc`, `fused Gemm_2`,
    `Conv_7/WithoutBiases`), so the origin is the longest name of the model that the operation's name begins with.
    """

    def __init__(self, model: ModelSource):
        import onnx

        graph = onnx.load_model_from_string(model.to_bytes()).graph
        nodes = [(node.name or node.output[0], node) for node in graph.node if node.op_type != "Constant"]
        self._kinds = {name: node.op_type for name, node in nodes}
        self._nodes = {output: name for name, node in nodes for output in node.output if output}
        self._nodes |= {name: name for name in self._kinds}
        self._longest_first = sorted(self._nodes, key=len, reverse=True)

    def of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Returns the model's nodes that the engine's `names` came from, without repeats."""
        plain = (name.removeprefix("fused ") for name in names)
        found = (next((known for known in self._longest_first if name.startswith(known)), None) for name in plain)
        return tuple(dict.fromkeys(self._nodes[name] for name in found if name is not None))

    def completed(self, rows: Iterable[OperationTime]) -> list[OperationTime]:
        """Returns the rows with the origin of each by its name, where it has none yet, and the rest behind them."""
        return self.with_rest([row if row.origin else replace(row, origin=self.of([row.name])) for row in rows])

    def with_rest(self, rows: list[OperationTime]) -> list[OperationTime]:
        """Returns `rows` and, after them, the nodes no row came from: fused into another or computed beforehand."""
        seen = {name for row in rows for name in row.origin}
        gone = (name for name in self._kinds if name not in seen)
        return rows + [OperationTime(name, self._kinds[name], "NOT_RUN", "", 0.0, origin=(name,)) for name in gone]
