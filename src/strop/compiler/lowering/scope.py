"""What lowering knows while it goes through a graph, and how a rule adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_ir

from strop.compiler.expressions import IDENTITY, Expression, operand
from strop.compiler.layouts import Shape
from strop.compiler.levels import Compute, Core, Operation, Reshape, Value


class NotCovered(Exception):  # noqa: N818  it is an answer, not an error
    """A rule's answer where a node cannot be lowered: the reason, in words for users."""


class Scope:
    """The values and operations so far. Names are ONNX's; `alias` lets one stand for another."""

    def __init__(self) -> None:
        self.values: dict[str, Value] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.operations: list[Operation] = []
        self._aliases: dict[str, str] = {}
        self._node: onnx_ir.Node | None = None
        self._made = 0
        self._taken_over: set[str] = set()

    def start(self, node: onnx_ir.Node) -> None:
        """Notes the node that what is added from now on belongs to."""
        self._node = node

    # -- looking up

    def resolve(self, name: str) -> str:
        """Returns the name under which the value is known here."""
        return self._aliases.get(name, name)

    def constant(self, value: onnx_ir.Value | None) -> np.ndarray | None:
        """Returns the array of a value that never changes, else None."""
        return None if value is None else self.constants.get(self.resolve(value.name or ""))

    def need_constant(self, value: onnx_ir.Value | None, what: str) -> np.ndarray:
        """Returns the array; raises NotCovered ("`what` must be constant") where the value changes."""
        array = self.constant(value)
        if array is None:
            raise NotCovered(f"{what} must be constant")
        return array

    def value(self, value: onnx_ir.Value | None) -> Value:
        """Returns a value that operations may read: a computed one, or a constant put in memory."""
        if value is None:
            raise NotCovered("an input that is needed was left out")
        name = self.resolve(value.name or "")
        if name in self.constants:
            array = self.constants[name]
            return self.values.setdefault(name, Value(name, array.shape, str(array.dtype)))
        if name not in self.values:
            raise NotCovered(f"the shape of {value.name!r} is not known")
        return self.values[name]

    def floats(self, value: onnx_ir.Value | None, *, rank: int | None = None) -> Value:
        """Returns a value of float32 (and of `rank` axes); raises NotCovered for others."""
        found = self.value(value)
        if found.dtype != "float32":
            raise NotCovered(f"values of {found.dtype}")
        if rank is not None and len(found.shape) != rank:
            raise NotCovered(f"a value of {len(found.shape)} axes")
        return found

    # -- adding

    def alias(self, output: onnx_ir.Value, source: str) -> None:
        """Lets `output` be another name of `source`; an output of the graph becomes a copy, which has its name."""
        if output.is_graph_output():
            value = self.values.get(source)
            if value is None:
                value = self.values.setdefault(source, _value_of(source, self.constants[source]))
            same = operand(0, value.dtype)
            self.add(Compute(), [source], value.shape, output=output, dtype=value.dtype, epilogue=same)
        else:
            self._aliases[output.name or ""] = source

    def set_constant(self, output: onnx_ir.Value, array: np.ndarray) -> None:
        """Notes that `output` never changes."""
        if output.is_graph_output():
            source = f"{output.name} (constant)"
            self.constants[source] = array
            self.alias(output, source)
        else:
            self.constants[output.name or ""] = array

    def make_constant(self, array: np.ndarray) -> str:
        """Adds a constant of this scope's own, to be read from memory, and returns its name."""
        self._made += 1
        name = f"constant {self._made}"
        self.constants[name] = array
        self.values[name] = _value_of(name, array)
        return name

    def add(
        self,
        core: Core,
        inputs: Sequence[str],
        shape: Shape,
        *,
        output: onnx_ir.Value | None = None,
        dtype: str = "float32",
        epilogue: Expression = IDENTITY,
        channels: Sequence[np.ndarray] = (),
        axis: int = 1,
    ) -> str:
        """Adds an operation and returns the name of its value: that of `output`, or one of its own."""
        node = self._node
        assert node is not None
        if 0 in shape:
            raise NotCovered("a value without elements")
        if output is None:
            self._made += 1
        name = f"{node.name} ({self._made})" if output is None else output.name or ""
        self.values[name] = Value(name, shape, dtype)
        vectors = tuple(np.ascontiguousarray(vector, np.float32) for vector in channels)
        self.operations.append(
            Operation(
                name=node.name or node.op_type,
                core=core,
                inputs=tuple(inputs),
                output=name,
                epilogue=epilogue,
                channels=vectors,
                axis=axis % max(1, len(shape)),
                origin=(node.name or "",),
            )
        )
        return name

    def reshape(self, source: str, shape: Shape, *, output: onnx_ir.Value | None = None) -> str:
        """Returns the name of `source` under another shape."""
        value = self.values[source]
        if value.shape != shape:
            return self.add(Reshape(), [source], shape, output=output, dtype=value.dtype)
        if output is not None:
            self.alias(output, source)
        return source

    def take_over(self, node: onnx_ir.Node) -> None:
        """Notes that the last operation does the work of `node` too, which is not lowered any more."""
        last = self.operations[-1]
        self.operations[-1] = replace(last, origin=(*last.origin, node.name or ""))
        self._taken_over.add(node.name or "")

    def is_taken_over(self, node: onnx_ir.Node) -> bool:
        """Whether another node's operation does its work."""
        return (node.name or "") in self._taken_over

    # -- taking back

    def take_back(self, count: int) -> None:
        """Takes back all operations but the first `count`: a rule that gives up half way leaves nothing behind."""
        for operation in self.operations[count:]:
            self.values.pop(operation.output, None)
        del self.operations[count:]


def _value_of(name: str, array: np.ndarray) -> Value:
    return Value(name, array.shape, str(array.dtype))
