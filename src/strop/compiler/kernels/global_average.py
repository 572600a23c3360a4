"""The average of each channel over the whole image: average pooling with one window, as a sum in one pass.

    y[n, c] = sum over all pixels of x[n, c, i, j] / (height * width)

A block of channels is held in registers while all pixels pass by; a few pixels at a time have sums of their own, and
each row's sums are added up before they join the total, so that long sums round less. Blocks of channels of all images
are divided among threads. Intensity: one addition for four bytes, so the cache the image lies in bounds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value, constant
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Cost, Needs, Pool, Problem, Split
from strop.compiler.kernels.epilogue import Epilogue, lanes_of_rest, refuses_epilogue
from strop.compiler.kernels.record import epilogue_arguments, pack_channels, start_kernel


@dataclass(frozen=True, slots=True)
class GlobalAverageSchedule:
    """vectors: vectors of channels held at once; pixels: how many neighbours have sums of their own."""

    vectors: int
    pixels: int

    def __str__(self) -> str:
        return f"v{self.vectors}p{self.pixels}"


class GlobalAverageKernel:
    """The average over the whole image."""

    family = "global_average"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts average pooling of a channels-last float32 image with one window, the whole image."""
        if not isinstance(problem, Pool) or problem.kind != "average":
            return "not an average"
        image = problem.inputs[0]
        if len(image.shape) != 4 or not image.is_channels_last:
            return "the input is no channels-last image"
        if image.dtype != "float32":
            return f"the input is {image.dtype}"
        if problem.kernel != image.shape[2:] or any(problem.pads) or problem.output.shape[2:] != (1, 1):
            return "the window is not the whole image"
        if problem.dilations != (1, 1):
            return "the window is dilated"
        return refuses_epilogue(problem)

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for channels-last layouts."""
        return Needs()

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[GlobalAverageSchedule]:
        """Returns the one schedule: enough sums at once to hide the latency of an addition."""
        vectors = min(8, -(-problem.output.shape[1] // isa.lanes))
        return [GlobalAverageSchedule(vectors, max(1, min(8 // vectors, problem.inputs[0].shape[3])))]

    def cost(self, problem: Problem, schedule: GlobalAverageSchedule, isa: Isa) -> Cost:
        """Returns one addition an element; the image comes from the L3 cache."""
        image = problem.inputs[0]
        return Cost(float(image.size), 0.25, {"l3": float(image.size * image.itemsize)})

    def split(self, problem: Problem, schedule: GlobalAverageSchedule, isa: Isa) -> Split:
        """Divides the blocks of channels of all images."""
        return Split(problem.output.shape[0] * _blocks(problem, schedule, isa))

    def workspace(self, problem: Problem, schedule: GlobalAverageSchedule, isa: Isa) -> int:
        """Needs none."""
        return 0

    def pack(
        self,
        problem: Problem,
        schedule: GlobalAverageSchedule,
        isa: Isa,
        weights: np.ndarray,
        channels: Sequence[np.ndarray],
    ) -> list[np.ndarray]:
        """Returns the per-channel vectors."""
        return pack_channels(problem, channels)

    def emit(self, problem: Problem, schedule: GlobalAverageSchedule, isa: Isa) -> Code:
        """Returns its code."""
        symbol = f"global_average_f32_{isa.key}_{schedule}_{problem.digest}"
        arguments = ("input0", *epilogue_arguments(problem), "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments)
        epilogue = Epilogue(f, problem, record)
        image, begin = problem.inputs[0], record["begin"]
        blocks, width = _blocks(problem, schedule, isa), schedule.vectors * isa.lanes
        full, rest = divmod(problem.output.shape[1], width)

        def unit(index: Number, _: list[Value]) -> None:
            at = f.add(begin, index)
            number, block = f.divide(at, blocks), f.remainder(at, blocks)
            source = f.offset(record["input0"], f.mul(number, image.strides[0]))
            cursor = epilogue.move(epilogue.start, 0, number)

            def average(lanes: list[int]) -> None:
                channel = f.mul(block, width)
                sums = _sums(f, problem, schedule, f.offset(source, f.mul(channel, 4)), lanes)
                factor = constant(isa.vector, 1 / (image.shape[2] * image.shape[3]))
                epilogue.store(cursor, channel, [f.fmul(total, factor) for total in sums], lanes)

            whole = [isa.lanes] * schedule.vectors
            if not rest:
                average(whole)
            elif not full:
                average(lanes_of_rest(rest, isa))
            else:
                is_last = f.compare("eq", f.number(block), f.number(full))
                f.when(is_last, lambda: average(lanes_of_rest(rest, isa)))
                f.when(f.compare("ne", f.number(block), f.number(full)), lambda: average(whole))

        f.loop(f.sub(record["end"], begin), unit, may_be_empty=True)
        f.ret()
        return Code(symbol, arguments, {symbol: module.text()})


def _blocks(problem: Problem, schedule: GlobalAverageSchedule, isa: Isa) -> int:
    return -(-problem.output.shape[1] // (schedule.vectors * isa.lanes))


def _sums(
    f: Function, problem: Problem, schedule: GlobalAverageSchedule, source: Value, lanes: list[int]
) -> list[Value]:
    """Returns the sum over all pixels for a block of channels."""
    kind, vector = f.isa.vector, f.isa.vector_bytes
    (_, _, height, width), (_, _, line, pixel) = problem.inputs[0].shape, problem.inputs[0].strides
    steps, left = divmod(width, schedule.pixels)

    def load(pointer: Value, by: int) -> list[Value]:
        return [f.load_lanes(kind, pointer, by + n * vector, lanes=count) for n, count in enumerate(lanes)]

    def row(_: Number, carried: list[Value]) -> list[Value]:
        first, totals = carried[0], carried[1:]
        sums = [value for n in range(schedule.pixels) for value in load(first, n * pixel)]
        start = f.offset(first, schedule.pixels * pixel)

        def pixels(_: Number, inner: list[Value]) -> list[Value]:
            seen = [value for n in range(schedule.pixels) for value in load(inner[0], n * pixel)]
            after = [f.fadd(total, value) for total, value in zip(inner[1:], seen, strict=True)]
            return [f.offset(inner[0], schedule.pixels * pixel), *after]

        pointer, *sums = f.loop(steps - 1, pixels, [start, *sums])
        for n in range(left):
            for place, value in enumerate(load(pointer, n * pixel)):
                sums[n * len(lanes) + place] = f.fadd(sums[n * len(lanes) + place], value)
        after = []
        for place, total in enumerate(totals):
            own = sums[place :: len(lanes)]
            while len(own) > 1:
                own = [f.fadd(*own[i : i + 2]) if i + 1 < len(own) else own[i] for i in range(0, len(own), 2)]
            after.append(f.fadd(total, own[0]))
        return [f.offset(first, line), *after]

    return f.loop(height, row, [source, *(f.zero(kind) for _ in lanes)])[1:]
