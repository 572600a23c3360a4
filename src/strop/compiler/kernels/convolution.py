"""Direct convolution of channels-last images, any kernel, stride, dilation and group; matrix products as 1x1.

    y[n, o, i, j] = epilogue(sum over c, u, v of  w[o, c, u, v] * x[n, c, i*sh + u*dh - top, j*sw + v*dw - left])

An implicit matrix product: a register tile holds some pixels times some vectors of output channels (`matrix_tile.py`)
and runs over the filter's taps and the channels; a filter row whose pixels lie without gaps is one long run. Zeros
around the image are the input's halo. Where pixels of input and output (and everything the epilogue reads) lie at one
stride, rows and images are one long row: a 1x1 convolution is a plain matrix product.

The nest: a unit of work is a block of tiles times one group of output channels (some panels of weights). Small weights
pass through again and again, block by block, a block's pixels staying in L1 or nearly. Large weights are read once:
group by group, all blocks with one group before the next, whose panels are pulled into L2 meanwhile. Threads divide the
units, and so share out the pixels or the weights, whatever is more. With a tile of R pixels and V vectors a panel is
read from L2 once a tile: 64 * V bytes for 16 * R * V multiply-adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from strop.compiler.emit import Module, Number, Value
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Convolution, Cost, Needs, Problem, Split
from strop.compiler.kernels.convolution_geometry import Geometry, halo_of, refuses_convolution, runs_of, steps_of
from strop.compiler.kernels.matrix_nest import MatrixNest, Prefetch, Runs, tiles_of
from strop.compiler.kernels.matrix_tile import step_count
from strop.compiler.kernels.packing import pack_channel_blocks, pack_panels
from strop.compiler.kernels.record import start_kernel

_L2: Final = 2**20
"""Bytes of L2 that schedules count on."""

_BLOCK: Final = 4
"""Tiles of a block where weights fit L2."""

_UNITS: Final = 5
"""Units there should be at least, for threads to divide; more make blocks short, which read weights more often."""


@dataclass(frozen=True, slots=True)
class DirectSchedule:
    """How a direct convolution is scheduled.

    pixels: at most so many in a tile; vectors: of output channels in a tile; block: tiles of a unit; panels_first: all
    blocks with a group of output channels before the next group, so that threads share out the weights.
    """

    pixels: int
    vectors: int
    block: int
    panels_first: bool
    fetch: Prefetch

    def __str__(self) -> str:
        return f"t{self.pixels}x{self.vectors}b{self.block}{'p' * self.panels_first}{self.fetch}"


class DirectConvolution:
    """Convolution as an implicit matrix product over channels-last images."""

    family = "convolution_direct"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts channels-last float32 images, and uint8 ones with int8 weights."""
        if not isinstance(problem, Convolution):
            return "not a convolution"
        if not problem.inputs[0].is_channels_last:
            return "the input's channels are not neighbours"
        return refuses_convolution(problem)

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for zeros around the image wherever the filter reaches."""
        assert isinstance(problem, Convolution)
        return Needs(halo_of(problem))

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[DirectSchedule]:
        """Returns a schedule for each size of register tile that suits the ISA; with few pixels, wide tiles first."""
        assert isinstance(problem, Convolution)
        images, _, rows, columns = problem.output.shape
        tiles = sorted(tiles_of(isa), key=lambda tile: -tile[1]) if images * rows * columns < 8 else tiles_of(isa)
        return [_scheduled(problem, pixels, vectors, isa) for pixels, vectors in tiles]

    def cost(self, problem: Problem, schedule: DirectSchedule, isa: Isa) -> Cost:
        """Returns the multiply-adds, how busy whole tiles keep the units for them, and weights and images once each."""
        assert isinstance(problem, Convolution)
        nest = _nest(problem, schedule, isa)
        cycles = nest.cycles(nest.geometry.sizes())
        ideal = problem.macs / nest.macs_a_cycle
        images = sum(layout.size * layout.itemsize for layout in (*problem.inputs, problem.output))
        weights = problem.weights[0] * problem.weights[1] * problem.weights[2] * problem.weights[3]
        moved = float(weights * np.dtype(problem.weight_dtype).itemsize)
        if images > _L2:
            return Cost(2.0 * problem.macs, ideal / cycles, {"l3": moved + images})
        return Cost(2.0 * problem.macs, ideal / cycles, {"l3": moved, "l2": float(images)})

    def split(self, problem: Problem, schedule: DirectSchedule, isa: Isa) -> Split:
        """Divides blocks of pixels times panels of output channels."""
        assert isinstance(problem, Convolution)
        nest = _nest(problem, schedule, isa)
        return Split(-(-nest.geometry.tiles // nest.block) * nest.columns * problem.groups)

    def workspace(self, problem: Problem, schedule: DirectSchedule, isa: Isa) -> int:
        """Needs none."""
        return 0

    def pack(
        self, problem: Problem, schedule: DirectSchedule, isa: Isa, weights: np.ndarray, channels: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Returns the weights in panels of 16 output channels, and the per-channel vectors likewise."""
        assert isinstance(problem, Convolution)
        taps, run = runs_of(problem)
        ordered = np.ascontiguousarray(weights.transpose(0, 2, 3, 1)).reshape(weights.shape[0], len(taps), run)
        return [pack_panels(ordered, problem.groups), pack_channel_blocks(problem, channels, weights)]

    def emit(self, problem: Problem, schedule: DirectSchedule, isa: Isa) -> Code:
        """Returns its code: the nest, and one tile for each size that occurs."""
        assert isinstance(problem, Convolution)
        if not problem.inputs[0].halo.covers(halo_of(problem)):
            raise ValueError(f"the input's halo {problem.inputs[0].halo} is less than {halo_of(problem)}")
        kind = "f32" if problem.accumulator == "float32" else "u8s8"
        symbol = f"{self.family}_{kind}_{isa.key}_{schedule}_{problem.digest}"
        extras = tuple(f"input{index}" for index in range(1, len(problem.inputs)))
        arguments = ("input0", "output", *extras, "weights0", "weights1", "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments)
        nest = _nest(problem, schedule, isa)
        begin, groups = record["begin"], nest.columns * problem.groups
        blocks = -(-nest.geometry.tiles // nest.block)
        context = nest.context(f)
        outputs = [record[name] for name in ("output", *extras)]

        def unit(index: Number, _: list[Value]) -> None:
            number = f.add(begin, index)
            inner = blocks if schedule.panels_first else groups
            pair = f.divide(number, inner), f.remainder(number, inner)
            column, block = pair if schedule.panels_first else pair[::-1]
            first = f.mul(block, nest.block)
            count = f.minimum(nest.block, f.sub(nest.geometry.tiles, first))
            nest.run(
                f,
                column,
                first,
                count if nest.geometry.tiles % nest.block else nest.block,
                pixels=record["input0"],
                packed=(record["weights0"], record["weights1"]),
                outputs=outputs,
                context=context,
            )

        f.loop(f.sub(record["end"], begin), unit, may_be_empty=True)
        f.ret()
        objects = {symbol: module.text()} | {tile.symbol(isa): tile.emit(isa) for tile in nest.used}
        return Code(symbol, arguments, objects)


def _nest(problem: Convolution, schedule: DirectSchedule, isa: Isa) -> MatrixNest:
    """Returns the loops over tiles and output channels."""
    geometry = Geometry(problem.output.shape, steps_of(problem), schedule.pixels)
    offsets, run = runs_of(problem)
    runs = Runs(tuple(offsets), step_count(run, problem.inputs[0].itemsize))
    block = min(schedule.block, geometry.tiles)
    return MatrixNest(problem, isa, geometry, runs, schedule.vectors, block, schedule.fetch)


def _scheduled(problem: Convolution, pixels: int, vectors: int, isa: Isa) -> DirectSchedule:
    """Returns the schedule for a register tile.

    Blocks are short, so that a block's pixels stay in L1 or nearly, unless the weights are too many to pass through L2
    again and again; and there are enough units to divide among threads.
    """
    geometry = Geometry(problem.output.shape, steps_of(problem), pixels)
    image, output = problem.inputs[0], problem.output
    columns = -(-problem.weights[0] // problem.groups // (vectors * isa.lanes)) * problem.groups
    weights = problem.weights[0] * problem.weights[1] * problem.weights[2] * problem.weights[3]
    has_large_weights = weights * np.dtype(problem.weight_dtype).itemsize > _L2 // 2
    block = _BLOCK
    if has_large_weights:
        block = max(block, _L2 // 4 // max(1, image.size * image.itemsize // geometry.tiles))
    block = min(block, geometry.tiles)
    while block > 1 and -(-geometry.tiles // block) * columns < _UNITS:
        block = -(-block // 2)
    block = -(-geometry.tiles // -(-geometry.tiles // block))  # as many blocks, but of like size
    fetch = Prefetch(
        near=512,
        far=geometry.tiles > 1,
        early=len(problem.inputs) > 1 or output.size * output.itemsize > _L2,
        soon=_is_one_run(problem, geometry),
    )
    panels_first = has_large_weights and image.size * image.itemsize <= _L2
    return DirectSchedule(pixels, vectors, block, panels_first, fetch)


def _is_one_run(problem: Convolution, geometry: Geometry) -> bool:
    """Whether the pixels of neighbouring tiles lie one after the other, without more than a cache line between."""
    if problem.weights[2:] != (1, 1) or problem.groups > 1 or geometry.across.count == 1:
        return False
    return geometry.input.pixel <= problem.weights[1] * problem.inputs[0].itemsize + 64
