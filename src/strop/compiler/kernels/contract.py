"""What a kernel is: problems (what is to be computed, on which layouts) and the protocol every family fulfils."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from strop.compiler.cells import EMPTY, Cell
from strop.compiler.expressions import IDENTITY, Expression
from strop.compiler.isa.table import Isa
from strop.compiler.layouts import NO_HALO, Halo, Layout, Shape
from strop.compiler.statistics import NOTHING, Program

Schedule = Any
"""The numbers that schedule a kernel (tile, blocks, unrolling): a frozen dataclass of its family, short as text."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What every problem has. inputs[0] is the operand of the core; inputs[1:] are operands 1, 2 ... of the epilogue.

    epilogue: what happens to the core's result (operand 0) before it is stored; channels: how many per-channel vectors
    (of the output's axis 1) it reads. An epilogue's inputs have the output's logical shape (or broadcast by stride 0),
    and may lie in the same buffer as the output with the same strides: an element is read before it is written.
    """

    inputs: tuple[Layout, ...]
    output: Layout
    epilogue: Expression = IDENTITY
    channels: int = 0

    @property
    def digest(self) -> str:
        """Eight letters that stand for everything in it."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Convolution(Problem):
    """A convolution of N x C x H x W images; rows x channels (M x K) are an image of one row with M pixels.

    A matrix product with constant weights (Gemm, MatMul) is a 1x1 convolution: weights (N, K, 1, 1), inputs and output
    given as 1 x K x 1 x M and 1 x N x 1 x M. pads: top, left, bottom, right; what lies there is zero (for integers:
    the zero point). The accumulator is float32, or int32 for uint8 x int8 operands.
    """

    weights: tuple[int, int, int, int] = (1, 1, 1, 1)  # output channels, input channels / groups, height, width
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    weight_dtype: str = "float32"
    accumulator: str = "float32"
    input_zero: int = 0

    @property
    def macs(self) -> int:
        """Multiply-adds that the definition asks for."""
        return self.output.size * self.weights[1] * self.weights[2] * self.weights[3]


@dataclass(frozen=True, slots=True)
class FusedBlock(Problem):
    """Convolutions one after the other; nobody sees what lies between them.

    inputs[0] is the first stage's image; the stages' own inputs after the first, and outputs before the last, say
    shapes and types only. operands: for each stage the inputs of the block that its epilogue reads as operands 1, 2 ...
    means: of how many rows the output's last row holds means (`levels.Block`), 0: it has no such row. gate: which input
    the first stage's image is multiplied by, one number an image and channel; 0: none. Its own
    epilogue does nothing; `channels` counts the vectors of all stages. Weights are those of all stages, flat,
    one after the other, and so are the vectors.
    """

    stages: tuple[Convolution, ...] = ()
    operands: tuple[tuple[int, ...], ...] = ()
    gate: int = 0
    means: int = 0

    def parts(
        self, weights: np.ndarray, channels: Sequence[np.ndarray]
    ) -> list[tuple[Convolution, np.ndarray, Sequence[np.ndarray]]]:
        """Returns each stage with its own weights and vectors."""
        found = []
        place = vectors = 0
        for stage in self.stages:
            size = int(np.prod(stage.weights))
            own = weights.reshape(-1)[place : place + size].reshape(stage.weights)
            found.append((stage, own, channels[vectors : vectors + stage.channels]))
            place, vectors = place + size, vectors + stage.channels
        return found


@dataclass(frozen=True, slots=True)
class Pool(Problem):
    """Max or average pooling; `kind` "max" or "average". Padding never wins a maximum; `count_pads` as ONNX says."""

    kind: str = "max"
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    count_pads: bool = False


@dataclass(frozen=True, slots=True)
class Pointwise(Problem):
    """The epilogue applied to the inputs, element by element: operand i is inputs[i]; with operand(0) alone, a copy.

    Layouts may differ in their order of axes: this is also how NCHW becomes NHWC and back.
    """


@dataclass(frozen=True, slots=True)
class Statistics(Problem):
    """A reduction or normalization of `prologue`(inputs), whose elements have the shape `extents`, over `axes`.

    groups: parts of axis 1 that are groups of their own where axis 1 is among `axes`. Of the output of a reduction the
    axes have one element. In the prologue operand i is inputs[i]; in the epilogue operand 0 is the result. Inputs
    broadcast to `extents`, those of a reduction's epilogue to the output's shape.
    """

    program: Program = NOTHING
    axes: tuple[int, ...] = ()
    extents: Shape = ()
    groups: int = 1
    prologue: Expression = IDENTITY


@dataclass(frozen=True, slots=True)
class Place(Problem):
    """Where along `axis` of the input the largest (or smallest) element is, an int64; the first (or `last`) of equals.

    The output has one element along the axis. There is no epilogue.
    """

    axis: int = 0
    largest: bool = True
    last: bool = False


@dataclass(frozen=True, slots=True)
class MatrixProduct(Problem):
    """Products of matrices, both computed: inputs A x B x M x K and A x B x K x N, output A x B x M x N.

    What repeats along A and B has strides of 0. There is no epilogue.
    """


@dataclass(frozen=True, slots=True)
class Attention(Problem):
    """softmax(scale * query key^T + mask) value, the softmax over the keys, for each of A x H heads.

    Inputs: queries A x H x L x D, keys A x H x S x D, values A x H x S x E, and perhaps a mask A x H x L x S, whose
    strides are 0 where it repeats. The output is A x L x H x E. There is no epilogue.
    """

    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Recurrence(Problem):
    """A cell (`cells.py`) over time, in one direction or two; `reverse` says of each whether it goes backwards.

    inputs[0]: T x B x W, the input's share of every gate, [direction][block of 16 units][gate][16]. More inputs as
    `given` names them: "hidden" and "cell", D x B x H, the states before the first step (else zeros), and "lengths",
    1 x B x 1, int32: how many steps each sequence has. output: (T + finals) x B x (D * H): the hidden state after each
    step, zeros behind a sequence's end; then, as `finals` names them, "hidden" and "cell" after the last step.
    There is no epilogue; the vectors of `pack` are the cell's, of all directions in a row.
    """

    cell: Cell = EMPTY
    reverse: tuple[bool, ...] = (False,)
    given: tuple[str, ...] = ()
    finals: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """T."""
        return self.inputs[0].shape[0]

    @property
    def batch(self) -> int:
        """B."""
        return self.inputs[0].shape[1]

    @property
    def units(self) -> int:
        """H."""
        return self.output.shape[2] // len(self.reverse)

    def operand(self, name: str) -> Layout | None:
        """Returns the layout of the "input" or of one of `given`; None where there is none."""
        names = ("input", *self.given)
        return self.inputs[names.index(name)] if name in names else None


@dataclass(frozen=True, slots=True)
class Resampling(Problem):
    """An image of another size: each output row and column a mix of two, (first, second, share of the second)."""

    rows: tuple[tuple[int, int, float], ...] = ()
    columns: tuple[tuple[int, int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Gathering(Problem):
    """Elements of inputs[0] at the places along its axes `picks` that inputs[1] names; nothing is computed on them.

    Output axis i is axis data[i] of inputs[0] (-1: none) and axis indices[i] of inputs[1] (-1: none); with `tuples` the
    last axis of inputs[1] holds one place for each pick.
    """

    data: tuple[int, ...] = ()
    indices: tuple[int, ...] = ()
    picks: tuple[int, ...] = ()
    tuples: bool = False


@dataclass(frozen=True, slots=True)
class Border(Problem):
    """Writes the fill of `output` into its halo (inputs is empty)."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a kernel asks of the layouts: zeros around input 0, its order of axes, and the output's.

    input_order, output_order: "channels_last", "dense" (as the user's arrays), or "any". in_place: whether the output
    may lie where an operand does.
    """

    halo: Halo = NO_HALO
    input_order: str = "channels_last"
    output_order: str = "channels_last"
    in_place: bool = True


@dataclass(frozen=True, slots=True)
class Split:
    """What a team may divide: `units`, in multiples of `grain`; the record's begin and end are such units."""

    units: int = 1
    grain: int = 1


@dataclass(frozen=True, slots=True)
class Cost:
    """What a schedule costs: flops it executes, the share of the machine's peak its inner loop reaches, bytes moved.

    bytes: by the level they come from ("l2", "l3", "memory"), as far as the family knows; overhead: seconds a call.
    """

    flops: float
    efficiency: float = 1.0
    bytes: Mapping[str, float] = field(default_factory=dict)
    overhead: float = 1e-6


@dataclass(frozen=True, slots=True)
class Code:
    """Emitted code: the entry's symbol, what its record's words hold, and every function it needs.

    arguments: "input0", "input1" ..., "output", "weights0" ..., "workspace", "begin", "end", in the record's order;
    objects: LLVM IR by symbol; equal symbols are equal code, so kernels share functions. numbers: those of the
    arguments that are numbers of the problem, so that the code serves other problems too.
    """

    symbol: str
    arguments: tuple[str, ...]
    objects: Mapping[str, str]
    numbers: Mapping[str, int] = field(default_factory=dict)


class Kernel(Protocol):
    """A kernel family. Stateless; everything it needs is in the problem, the schedule and the ISA table."""

    @property
    def family(self) -> str:
        """Its name, the first word of its symbols: "convolution_direct"."""

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Returns "" where it can compute the problem on this ISA, else why not, in words for `explain`."""

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Returns what it asks of the layouts; asked with dense channels-last layouts, before they are decided."""

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[Schedule]:
        """Returns at most ten schedules, the most promising first."""

    def cost(self, problem: Problem, schedule: Schedule, isa: Isa) -> Cost:
        """Returns what running it costs."""

    def split(self, problem: Problem, schedule: Schedule, isa: Isa) -> Split:
        """Returns how a team may divide it; no division may change a result."""

    def workspace(self, problem: Problem, schedule: Schedule, isa: Isa) -> int:
        """Returns the bytes of scratch memory each thread needs."""

    def pack(
        self, problem: Problem, schedule: Schedule, isa: Isa, weights: np.ndarray, channels: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Returns the arrays behind "weights0", "weights1" ...: weights in the kernel's order, per-channel vectors.

        channels: the vectors the epilogue reads, float32; for an int32 accumulator perhaps one more: an int32 bias,
        which the sum starts with.
        """

    def emit(self, problem: Problem, schedule: Schedule, isa: Isa) -> Code:
        """Returns its code."""


@runtime_checkable
class AnyLength(Protocol):
    """What a kernel also offers whose code serves problems of other lengths, which are numbers of its record."""

    def general(self, problem: Problem) -> Problem:
        """Returns a problem that has the same code: equal for all that share it."""

    def numbers(self, problem: Problem, schedule: Schedule, isa: Isa) -> Mapping[str, int]:
        """Returns the numbers that the code is given for this problem (`Code.numbers`)."""


@runtime_checkable
class WeightCheck(Protocol):
    """What an algorithm that is not safe for every weight also offers (Winograd)."""

    def suits(self, problem: Problem, weights: np.ndarray) -> str:
        """Returns "" where its error bound holds well enough for these weights, else why not."""
