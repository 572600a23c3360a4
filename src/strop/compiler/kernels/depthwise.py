"""Depthwise convolution of channels-last images: every channel has its own filter.

    y[n, c, i, j] = epilogue(sum over u, v of  w[c, 0, u, v] * x[n, c, i*sh + u*dh - top, j*sw + v*dw - left])

Vectors run over channels; a register tile is a few neighbouring pixels times one vector of channels, and runs over the
filter's places. Zeros around the image are the input's halo. A unit is a row of the output. Intensity: height * width
multiply-adds for stride * stride elements read and one written, so loads bound it in L1 and the caches beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from strop.compiler.emit import Module, Number, Value
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Convolution, Cost, Needs, Problem, Split
from strop.compiler.kernels.convolution_geometry import halo_of, refuses_convolution
from strop.compiler.kernels.cover import cover
from strop.compiler.kernels.epilogue import Epilogue, each_channel_block
from strop.compiler.kernels.record import epilogue_arguments, pack_channels, start_kernel


@dataclass(frozen=True, slots=True)
class DepthwiseSchedule:
    """pixels: at most so many held at once."""

    pixels: int

    def __str__(self) -> str:
        return f"p{self.pixels}"


class DepthwiseConvolution:
    """Convolution with as many groups as channels."""

    family = "convolution_depthwise"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts channels-last float32 images with one filter a channel."""
        if not isinstance(problem, Convolution):
            return "not a convolution"
        if problem.weights[1] != 1 or problem.weights[0] != problem.groups:
            return "not one filter a channel"
        if problem.inputs[0].dtype != "float32":
            return f"the input is {problem.inputs[0].dtype}"
        if not problem.inputs[0].is_channels_last:
            return "the input's channels are not neighbours"
        return refuses_convolution(problem)

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for zeros around the image wherever the filter reaches."""
        assert isinstance(problem, Convolution)
        return Needs(halo_of(problem))

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[DepthwiseSchedule]:
        """Returns the one schedule: enough pixels at once to hide the latency of a multiply-add."""
        return [DepthwiseSchedule(8)]

    def cost(self, problem: Problem, schedule: DepthwiseSchedule, isa: Isa) -> Cost:
        """Returns the multiply-adds, bound by loads, and the images from the L3 cache."""
        assert isinstance(problem, Convolution)
        images = sum(layout.size * layout.itemsize for layout in (*problem.inputs, problem.output))
        return Cost(2.0 * problem.macs, 0.3, {"l3": float(images)})

    def split(self, problem: Problem, schedule: DepthwiseSchedule, isa: Isa) -> Split:
        """Divides the rows of all output images."""
        return Split(problem.output.shape[0] * problem.output.shape[2])

    def workspace(self, problem: Problem, schedule: DepthwiseSchedule, isa: Isa) -> int:
        """Needs none."""
        return 0

    def pack(
        self,
        problem: Problem,
        schedule: DepthwiseSchedule,
        isa: Isa,
        weights: np.ndarray,
        channels: Sequence[np.ndarray],
    ) -> list[np.ndarray]:
        """Returns the filters as [place][channel], zeros up to whole vectors, then the per-channel vectors."""
        count = problem.output.shape[1]
        places = weights.reshape(count, -1).T
        packed = np.zeros((places.shape[0], _whole(count)), np.float32)
        packed[:, :count] = places
        return [packed.reshape(-1), *pack_channels(problem, channels)]

    def emit(self, problem: Problem, schedule: DepthwiseSchedule, isa: Isa) -> Code:
        """Returns its code: for every row of the output, tiles of pixels, then blocks of channels."""
        assert isinstance(problem, Convolution)
        if not problem.inputs[0].halo.covers(halo_of(problem)):
            raise ValueError(f"the input's halo {problem.inputs[0].halo} is less than {halo_of(problem)}")
        symbol = f"{self.family}_f32_{isa.key}_{schedule}_{problem.digest}"
        arguments = ("input0", "weights0", *epilogue_arguments(problem, 1), "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments)
        epilogue = Epilogue(f, problem, record, 1)
        image = problem.inputs[0]
        _, channels, rows, columns = problem.output.shape
        (down, across), (far_down, far_across) = problem.strides, problem.dilations
        top, left = problem.pads[:2]
        tiles = cover(columns, schedule.pixels)
        corner = f.offset(record["input0"], -top * image.strides[2] - left * image.strides[3])
        begin = record["begin"]

        def unit(index: Number, _: list[Value]) -> None:
            number = f.add(begin, index)
            picture, row = f.divide(number, rows), f.remainder(number, rows)
            source = f.offset(corner, f.mul(picture, image.strides[0]))
            source = f.offset(source, f.mul(row, down * image.strides[2]))
            line = epilogue.move(epilogue.move(epilogue.start, 0, picture), 2, row)

            def tile(column: Number, pixels: int) -> None:
                window = f.offset(source, f.mul(column, across * image.strides[3]))

                def block(channel: Number, lanes: list[int]) -> None:
                    at = f.mul(channel, 4)
                    inside, filters = f.offset(window, at), f.offset(record["weights0"], at)
                    filter_row = problem.weights[3] * _whole(channels) * 4

                    def row_of_filter(_: Number, carried: list[Value]) -> list[Value]:
                        sums, (here, taps) = carried[:-2], carried[-2:]
                        for v in range(problem.weights[3]):
                            weight = f.load(isa.vector, taps, v * _whole(channels) * 4)
                            for p in range(pixels):
                                step = (v * far_across + p * across) * image.strides[3]
                                value = f.load_lanes(isa.vector, here, step, lanes=lanes[0])
                                sums[p] = f.fma(value, weight, sums[p])
                        return [*sums, f.offset(here, far_down * image.strides[2]), f.offset(taps, filter_row)]

                    zeros = [f.zero(isa.vector)] * pixels
                    sums = f.loop(problem.weights[2], row_of_filter, [*zeros, inside, filters])[:-2]
                    for p, total in enumerate(sums):
                        cursor = epilogue.move(epilogue.move(line, 3, column), 3, p)
                        epilogue.store(cursor, channel, [total], lanes)

                each_channel_block(f, channels, 1, block)

            f.loop(tiles.many, lambda i, _: tile(f.mul(i, tiles.size), tiles.size))
            done = tiles.many * tiles.size
            f.loop(tiles.rest, lambda i, _: tile(f.add(done, f.mul(i, tiles.size - 1)), tiles.size - 1))

        f.loop(f.sub(record["end"], begin), unit, may_be_empty=True)
        f.ret()
        return Code(symbol, arguments, {symbol: module.text()})


def _whole(channels: int) -> int:
    """Returns the channels with those that fill a panel."""
    return -(-channels // 16) * 16
