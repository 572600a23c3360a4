"""The data of the first two levels: values, operations with what is fused behind them, and the graph they form.

An operation is a core (a convolution, a pool, a view of other data ...) and an epilogue, which says what becomes of the
core's result before it is stored. Lowering gives epilogues that do nothing (a bias apart); fusing fills them. No value
has a place in memory yet; axes are ONNX's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from strop.compiler.cells import Cell
from strop.compiler.expressions import IDENTITY, Expression
from strop.compiler.layouts import Shape
from strop.compiler.statistics import Program


@dataclass(frozen=True, slots=True)
class Value:
    """What one operation computes and others read: `name`, static `shape`, numpy `dtype` name."""

    name: str
    shape: Shape
    dtype: str = "float32"

    @property
    def bytes(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{'x'.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True, eq=False)
class Convolve:
    """A convolution by constant `weights` (output channels, input channels / groups, height, width).

    rows: the operand is rows x channels of any rank, channels last: a product with a 1 x 1 kernel's matrix. pads: top,
    left, bottom, right, where input_zero stands. The accumulator is int32 where weights are int8, else float32; `bias`
    is what an int32 one starts with.
    """

    weights: np.ndarray
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    input_zero: int = 0
    rows: bool = False
    bias: np.ndarray | None = None

    @property
    def accumulator(self) -> str:
        """The dtype of operand 0 of the epilogue."""
        return "float32" if self.weights.dtype == np.float32 else "int32"

    def __str__(self) -> str:
        if self.rows:
            return f"matrix {self.weights.shape[1]}x{self.weights.shape[0]}"
        text = f"convolution {'x'.join(map(str, self.weights.shape[2:]))}"
        extras = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0), "groups": 1}
        changed = {name: getattr(self, name) for name, usual in extras.items() if getattr(self, name) != usual}
        return text + "".join(f" {name} {_text(value)}" for name, value in changed.items())


@dataclass(frozen=True, slots=True)
class PoolWindow:
    """Max or average pooling of images, as ONNX defines it; pads: top, left, bottom, right."""

    kind: str
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    count_pads: bool = False

    def __str__(self) -> str:
        text = f"{self.kind} pool {_text(self.kernel)} strides {_text(self.strides)}"
        return text + (f" pads {_text(self.pads)}" if any(self.pads) else "")


@dataclass(frozen=True, slots=True)
class Compute:
    """The epilogue alone, element by element: operand i is input i, broadcast to the output's shape."""

    def __str__(self) -> str:
        return "compute"


@dataclass(frozen=True, slots=True)
class Reshape:
    """The same elements in the same (C) order under the output's shape."""

    def __str__(self) -> str:
        return "reshape"


@dataclass(frozen=True, slots=True)
class Transpose:
    """Axis i of the output is axis permutation[i] of the input."""

    permutation: tuple[int, ...]

    def __str__(self) -> str:
        return f"transpose {_text(self.permutation)}"


@dataclass(frozen=True, slots=True)
class Slice:
    """Every steps[i]-th element from starts[i] on, along each axis, as many as the output has."""

    starts: tuple[int, ...]
    steps: tuple[int, ...]

    def __str__(self) -> str:
        return f"slice from {_text(self.starts)} step {_text(self.steps)}"


@dataclass(frozen=True, slots=True)
class Concatenate:
    """Its inputs one behind the other along `axis`."""

    axis: int

    def __str__(self) -> str:
        return f"concatenate axis {self.axis}"


@dataclass(frozen=True, slots=True)
class Interleave:
    """Its inputs between each other: input k holds every steps[i]-th element along axis i from where its phase begins.

    Phases are counted in C order; along an axis of fewer elements than steps, as many as there are elements.
    """

    steps: tuple[int, ...]

    def starts(self, shape: Shape) -> list[Shape]:
        """Returns where the phases of an output of this shape begin."""
        return list(np.ndindex(*(min(pair) for pair in zip(self.steps, shape, strict=True))))

    def __str__(self) -> str:
        return f"interleave by {_text(self.steps)}"


@dataclass(frozen=True, slots=True)
class Resample:
    """An image whose rows and columns are each a mix of two of the input's; images of one channel order as pools have.

    rows, columns: for each of the output's, (first, second, share of the second); shares are all 0 where nothing is
    mixed (nearest neighbours).
    """

    rows: tuple[tuple[int, int, float], ...]
    columns: tuple[tuple[int, int, float], ...]

    def __str__(self) -> str:
        return f"resample to {len(self.rows)}x{len(self.columns)}"


@dataclass(frozen=True, slots=True)
class Gather:
    """Elements of input 0 at places that input 1 names: int32 or int64 numbers, negative ones counted from the end.

    Output axis i is axis data[i] of input 0 (-1: none) and axis indices[i] of input 1 (-1: none). picks: the axes of
    input 0 whose places are named; `tuples`: by that many numbers along input 1's last axis.
    """

    data: tuple[int, ...]
    indices: tuple[int, ...]
    picks: tuple[int, ...]
    tuples: bool = False

    def __str__(self) -> str:
        return f"gather along {_text(self.picks)}"


@dataclass(frozen=True, slots=True)
class MatrixMultiply:
    """The product of the matrices (the last two axes) of inputs 0 and 1, both computed; their other axes broadcast."""

    def __str__(self) -> str:
        return "matrix product"


@dataclass(frozen=True, slots=True)
class Attend:
    """softmax(scale * query key^T + mask) value for each head, the softmax over the keys.

    Inputs: queries A x H x L x D, keys A x H x S x D, values A x H x S x E, perhaps a mask that broadcasts to
    A x H x L x S. The output has the heads side by side: A x L x H x E.
    """

    scale: float

    def __str__(self) -> str:
        return f"attention scale {self.scale:g}"


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Operations that one kernel computes together: a graph with one output, whose inner values nobody else sees.

    Its inputs are those of the operation that it is the core of, under the same names. means: the operation's output is
    the graph's with one row more, whose pixel i is the mean of rows i * means ... of it; pixels left over are zero. Who
    wants the mean of all pixels reads these few instead.
    """

    graph: Graph
    means: int = 0

    def __str__(self) -> str:
        stages = "; ".join(str(operation.core) for operation in self.graph.operations)
        return f"block [{stages}]" + (f" with means of {self.means} rows" if self.means else "")


@dataclass(frozen=True, slots=True, eq=False)
class Recur:
    """A cell over time, given the input's share of every gate: inputs, output, the other fields as `Recurrence` says.

    weights: the recurrent ones, directions x (gates * units) x units; vectors: the cell's, of all directions in a row.
    """

    cell: Cell
    weights: np.ndarray
    reverse: tuple[bool, ...]
    given: tuple[str, ...] = ()
    finals: tuple[str, ...] = ()
    vectors: tuple[np.ndarray, ...] = ()

    def __str__(self) -> str:
        ways = " and ".join("backward" if each else "forward" for each in self.reverse)
        return f"{self.cell} of {self.weights.shape[2]} {ways}"


@dataclass(frozen=True, slots=True)
class Reduce:
    """Statistics of groups of elements over `axes`, and where `program` has a result, new elements by them.

    shape: that of the elements, which `prologue` computes of the inputs (operand i is input i), broadcast to it. The
    output of a reduction has one element along each of the axes. groups: parts of axis 1 that are groups of their own.
    """

    program: Program
    axes: tuple[int, ...]
    shape: Shape
    groups: int = 1
    prologue: Expression = IDENTITY

    def __str__(self) -> str:
        within = f" in {self.groups} groups" if self.groups > 1 else ""
        of = "" if self.prologue == IDENTITY else f" of {self.prologue}"
        return f"{self.program} over axes {_text(self.axes)}{within}{of}"


@dataclass(frozen=True, slots=True)
class Extreme:
    """Where along `axis` the largest (or smallest) element is, the first (or `last`) of equals; the axis keeps one."""

    axis: int
    largest: bool = True
    last: bool = False

    def __str__(self) -> str:
        return f"place of the {'largest' if self.largest else 'smallest'} along axis {self.axis}"


Core = (
    Convolve
    | PoolWindow
    | Compute
    | Reshape
    | Transpose
    | Slice
    | Concatenate
    | Interleave
    | Resample
    | Gather
    | Block
    | MatrixMultiply
    | Attend
    | Recur
    | Reduce
    | Extreme
)
"""What an operation computes before its epilogue."""

VIEWS = (Reshape, Transpose, Slice)
"""Cores that need no code where strides can say them."""

JOINS = (Concatenate, Interleave)
"""Cores whose operands are written straight into parts of the output."""


def parts_of(core: Concatenate | Interleave, shapes: Sequence[Shape], output: Shape) -> list[tuple[Shape, Shape]]:
    """Returns where each operand of a join lies in the output: the places it begins at, and its steps."""
    if isinstance(core, Interleave):
        return [(start, core.steps) for start in core.starts(output)]
    ends = np.cumsum([shape[core.axis] for shape in shapes])
    ones = (1,) * len(output)
    return [
        (tuple(int(end) - shape[core.axis] if axis == core.axis else 0 for axis in range(len(output))), ones)
        for end, shape in zip(ends, shapes, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Turn:
    """One thread of the team runs it, number `thread` modulo the team's size, at the same time as others of `wave`."""

    wave: int
    thread: int


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation: `core` over `inputs` (names of values), then `epilogue`, stored as the value `output`.

    Operand 0 of the epilogue is the core's result, operand i is input i; in a Compute all operands are inputs.
    Channel i is the vector channels[i] along `axis` of the output. origin: the ONNX nodes whose work it does.
    turn: where it is for one thread, at the same time as other operations; None: for the whole team.
    """

    name: str
    core: Core
    inputs: tuple[str, ...]
    output: str
    epilogue: Expression = IDENTITY
    channels: tuple[np.ndarray, ...] = ()
    axis: int = 1
    origin: tuple[str, ...] = ()
    turn: Turn | None = None

    @property
    def is_view(self) -> bool:
        """Whether it only says how its input is to be looked at."""
        return isinstance(self.core, VIEWS)

    @property
    def first_operand(self) -> int:
        """The first of its inputs that the epilogue reads, or would: those before are the core's alone."""
        if isinstance(self.core, (MatrixMultiply, Gather)):
            return 2
        if isinstance(self.core, (Attend, Recur)):
            return len(self.inputs)
        if isinstance(self.core, Block) and isinstance(self.core.graph.operations[0].core, Compute):
            return 2
        return 0 if isinstance(self.core, Compute) else 1

    @property
    def has_code(self) -> bool:
        """Whether a kernel runs it: neither a view nor a place that others write into."""
        return not isinstance(self.core, (*VIEWS, *JOINS))


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Operations in an order in which they can run, on values each of which one operation computes.

    inputs and outputs: the model's, by name, in its order; constants: values that never change.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    values: Mapping[str, Value]
    operations: tuple[Operation, ...]
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)

    def consumers(self) -> dict[str, list[int]]:
        """Returns the indices of the operations that read each value, ascending; an operation counts once."""
        found: dict[str, list[int]] = {name: [] for name in self.values}
        for index, operation in enumerate(self.operations):
            for name in dict.fromkeys(operation.inputs):
                found[name].append(index)
        return found

    def producers(self) -> dict[str, int]:
        """Returns the index of the operation that computes each value."""
        return {operation.output: index for index, operation in enumerate(self.operations)}

    def lines(self) -> Iterator[str]:
        """Yields the graph as text, a line an operation."""
        yield f"graph {self.name}"
        for name in self.inputs:
            yield f"  input  {self.values[name]}"
        for operation in self.operations:
            reads = ", ".join(operation.inputs)
            behind = "" if operation.epilogue == IDENTITY else f" then {operation.epilogue}"
            yield f"  {self.values[operation.output]} = {operation.core} of ({reads}){behind}"
        for name in self.outputs:
            yield f"  output {self.values[name]}"

    def __str__(self) -> str:
        return "\n".join(self.lines())


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
