"""Convolution of images with few channels, read as the user gives them: planes of rows (NCHW), without halo.

    y[n, o, i, j] = epilogue(sum over c, u, v of  w[o, c, u, v] * x[n, c, i*sh + u*dh - top, j*sw + v*dw - left])

With one to four channels a pixel is too short a run. Planes suit better: a filter's row is a run in a plane, its pixels
neighbours, and the sum is channels * height such runs. A unit is a band of output rows: the rows of all planes that it
needs are copied into the thread's workspace with the zeros around them, so that the register tiles need no borders;
they stay in L2 while all output channels pass, and as one run of rows are read without cache misses of aliased pixels.
The copy reads each row about (band * stride + height - stride) / (band * stride) times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Convolution, Cost, Needs, Problem, Split
from strop.compiler.kernels.convolution_geometry import Geometry, Steps, refuses_convolution, steps_of
from strop.compiler.kernels.matrix_nest import MatrixNest, Prefetch, Runs, tiles_of
from strop.compiler.kernels.packing import pack_channel_blocks, pack_panels
from strop.compiler.kernels.record import start_kernel

_CHANNELS: Final = 4
"""With more channels, a pixel of a channels-last image is run enough."""

_UNITS: Final = 16
"""Bands there should be at least, for threads to divide."""


@dataclass(frozen=True, slots=True)
class StemSchedule:
    """pixels: at most so many in a tile; vectors: of output channels in a tile; band: output rows of a unit."""

    pixels: int
    vectors: int
    band: int
    fetch: Prefetch

    def __str__(self) -> str:
        return f"t{self.pixels}x{self.vectors}r{self.band}{self.fetch}"


class StemConvolution:
    """Convolution of dense images with one to four channels."""

    family = "convolution_stem"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts float32 images of few channels whose rows are without gaps."""
        if not isinstance(problem, Convolution):
            return "not a convolution"
        image = problem.inputs[0]
        if problem.groups > 1 or problem.weights[1] > _CHANNELS:
            return f"more than {_CHANNELS} channels or one group"
        if image.dtype != "float32":
            return f"the input is {image.dtype}"
        if len(image.shape) != 4 or (image.strides[3] != image.itemsize and image.shape[3] > 1):
            return "the input's pixels are not neighbours in planes"
        return refuses_convolution(problem)

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for the input as the user's array."""
        return Needs(input_order="dense")

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[StemSchedule]:
        """Returns a schedule for each size of register tile that suits the ISA."""
        assert isinstance(problem, Convolution)
        rows = problem.output.shape[2]
        band = max(1, min(8, rows * problem.output.shape[0] // _UNITS))
        size = problem.output.size * problem.output.itemsize
        fetch = Prefetch(early=len(problem.inputs) > 1 or size > 2**20)
        return [StemSchedule(pixels, vectors, band, fetch) for pixels, vectors in tiles_of(isa)]

    def cost(self, problem: Problem, schedule: StemSchedule, isa: Isa) -> Cost:
        """Returns the multiply-adds, how busy whole tiles keep the units for them, and the images once each."""
        assert isinstance(problem, Convolution)
        plan = StemPlan(problem, schedule, isa)
        bands = -(-problem.output.shape[2] // schedule.band) * problem.output.shape[0]
        cycles = plan.nest.cycles(plan.nest.geometry.sizes()) * bands + plan.bytes / isa.vector_bytes * 2 * bands
        images = sum(layout.size * layout.itemsize for layout in (*problem.inputs, problem.output))
        return Cost(2.0 * problem.macs, problem.macs / plan.nest.macs_a_cycle / cycles, {"l2": float(images)})

    def split(self, problem: Problem, schedule: StemSchedule, isa: Isa) -> Split:
        """Divides the bands of all images."""
        return Split(problem.output.shape[0] * -(-problem.output.shape[2] // schedule.band))

    def workspace(self, problem: Problem, schedule: StemSchedule, isa: Isa) -> int:
        """Needs the rows of a band."""
        assert isinstance(problem, Convolution)
        return StemPlan(problem, schedule, isa).bytes

    def pack(
        self, problem: Problem, schedule: StemSchedule, isa: Isa, weights: np.ndarray, channels: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Returns the weights in panels of 16 output channels, and the per-channel vectors likewise."""
        assert isinstance(problem, Convolution)
        runs = StemPlan(problem, schedule, isa).nest.runs
        ordered = weights.reshape(weights.shape[0], len(runs.offsets), runs.steps)
        return [pack_panels(ordered, 1), pack_channel_blocks(problem, channels, weights)]

    def emit(self, problem: Problem, schedule: StemSchedule, isa: Isa) -> Code:
        """Returns its code: bands, each copied and then covered by tiles."""
        assert isinstance(problem, Convolution)
        symbol = f"{self.family}_f32_{isa.key}_{schedule}_{problem.digest}"
        extras = tuple(f"input{index}" for index in range(1, len(problem.inputs)))
        arguments = ("input0", "output", *extras, "weights0", "weights1", "workspace", "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments)
        plan = StemPlan(problem, schedule, isa)
        nest = plan.nest
        context = nest.context(f)
        rows, bands = problem.output.shape[2], -(-problem.output.shape[2] // schedule.band)
        begin = record["begin"]

        def unit(index: Number, _: list[Value]) -> None:
            number = f.add(begin, index)
            image, row = f.divide(number, bands), f.mul(f.remainder(number, bands), schedule.band)
            plane = f.offset(record["input0"], f.mul(image, problem.inputs[0].strides[0]))
            plan.copy(f, plane, record["workspace"], row)
            count = f.minimum(schedule.band, f.sub(rows, row)) if rows % schedule.band else schedule.band
            outputs = [
                f.offset(f.offset(record[name], f.mul(image, step.image)), f.mul(row, step.row))
                for name, step in zip(("output", *extras), steps_of(problem)[1:], strict=True)
            ]

            def column(number: Number, _: list[Value]) -> None:
                nest.run(
                    f,
                    number,
                    0,
                    f.mul(count, nest.geometry.across.count),
                    pixels=record["workspace"],
                    packed=(record["weights0"], record["weights1"]),
                    outputs=outputs,
                    context=context,
                )

            f.loop(nest.columns, column)

        f.loop(f.sub(record["end"], begin), unit, may_be_empty=True)
        f.ret()
        objects = {symbol: module.text()} | {tile.symbol(isa): tile.emit(isa) for tile in nest.used}
        return Code(symbol, arguments, objects)


class StemPlan:
    """Where the rows of a band lie in the workspace, and the tiles over them."""

    def __init__(self, problem: Convolution, schedule: StemSchedule, isa: Isa) -> None:
        self.problem, self.isa = problem, isa
        _, channels, height, width = problem.weights
        (down, across), (far_down, far_across) = problem.strides, problem.dilations
        columns = problem.output.shape[3]
        self.width = (columns - 1) * across + (width - 1) * far_across + 1  # columns that any output reads
        self.rows = (schedule.band - 1) * down + (height - 1) * far_down + 1
        self.pitch = -(-self.width // 16) * 64
        self.plane = self.rows * self.pitch
        self.bytes = channels * self.plane
        rows = [c * self.plane + u * far_down * self.pitch for c in range(channels) for u in range(height)]
        if far_across == 1:
            runs = Runs(tuple(rows), width)
        else:
            runs = Runs(tuple(row + v * far_across * 4 for row in rows for v in range(width)), 1)
        steps = steps_of(problem)
        steps[0] = Steps(0, down * self.pitch, across * 4)
        geometry = Geometry((1, 1, schedule.band, columns), steps, schedule.pixels, by_rows=True)
        tiles = geometry.tiles
        self.nest = MatrixNest(problem, isa, geometry, runs, schedule.vectors, tiles, schedule.fetch)

    def copy(self, f: Function, image: Value, workspace: Value, row: Number) -> None:
        """Emits the copy of the rows that the output rows from `row` on need, zeros where there is no image."""
        problem = self.problem
        _, channels, height, width = problem.inputs[0].shape
        _, plane_step, row_step, _ = problem.inputs[0].strides
        top, left = problem.pads[:2]
        first = f.sub(f.mul(row, problem.strides[0]), top)  # below zero above the image
        inside = max(0, min(width, self.width - left))

        def one(number: Number, _: list[Value]) -> None:
            channel, line = f.divide(number, self.rows), f.remainder(number, self.rows)
            target = f.offset(workspace, f.mul(number, self.pitch))
            place = f.number(f.add(first, line))
            is_inside = f.compare("ult", place, f.number(height))

            def copy() -> None:
                source = f.offset(f.offset(image, f.mul(channel, plane_step)), f.mul(place, row_step))
                _fill(f, target, 0, min(left, self.width))
                _move(f, f.offset(target, 4 * left), source, inside)
                _fill(f, target, left + inside, self.width - left - inside)

            f.when(is_inside, copy)
            f.when(f.op("i1", f"xor i1 {is_inside.text}, true"), lambda: _fill(f, target, 0, self.width))

        f.loop(channels * self.rows, one)


def _move(f: Function, target: Value, source: Value, count: int) -> None:
    """Copies `count` floats, not reading past the last."""
    lanes, kind = f.isa.lanes, f.isa.vector
    whole = count // lanes

    def one(index: Number, _: list[Value]) -> None:
        at = f.mul(index, 4 * lanes)
        f.store(f.load(kind, f.offset(source, at)), f.offset(target, at))

    f.loop(whole, one)
    if count % lanes:
        rest = f.load_lanes(kind, source, whole * lanes * 4, lanes=count % lanes)
        f.store_lanes(rest, target, whole * lanes * 4, lanes=count % lanes)


def _fill(f: Function, target: Value, first: int, count: int) -> None:
    """Writes `count` zeros from float `first` on."""
    lanes = f.isa.lanes
    if count <= 0:
        return
    begin, whole, zero = f.offset(target, 4 * first), count // lanes, f.zero(f.isa.vector)
    f.loop(whole, lambda index, _: f.store(zero, f.offset(begin, f.mul(index, 4 * lanes))))
    if count % lanes:
        f.store_lanes(zero, begin, whole * lanes * 4, lanes=count % lanes)
