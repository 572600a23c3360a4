"""Where the pixels of a convolution lie and how tiles cover them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from strop.compiler.emit import Function, Number, Value
from strop.compiler.kernels.contract import Convolution
from strop.compiler.kernels.cover import Cover, cover
from strop.compiler.kernels.epilogue import refuses_epilogue
from strop.compiler.layouts import Halo


def refuses_convolution(problem: Convolution) -> str:
    """Returns "" for types and operands that convolutions of any family can compute, else why not."""
    image = problem.inputs[0]
    if len(image.shape) != 4:
        return "the input is no image"
    if image.shape[1] != problem.weights[1] * problem.groups or problem.weights[0] % problem.groups:
        return "the channels do not divide into the groups"
    types = (image.dtype, problem.weight_dtype, problem.accumulator)
    if types not in (("float32", "float32", "float32"), ("uint8", "int8", "int32")):
        return f"no arithmetic for {image.dtype} x {problem.weight_dtype} in {problem.accumulator}"
    return refuses_epilogue(problem)


def halo_of(problem: Convolution) -> Halo:
    """Returns the rows and columns outside the image that the filter reaches."""
    top, left = problem.pads[:2]
    ends = []
    for axis, before in ((0, top), (1, left)):
        reach = (problem.output.shape[2 + axis] - 1) * problem.strides[axis]
        reach += (problem.weights[2 + axis] - 1) * problem.dilations[axis] + 1
        ends.append(max(0, reach - before - problem.inputs[0].shape[2 + axis]))
    return Halo(top, left, ends[0], ends[1])


def runs_of(problem: Convolution) -> tuple[list[int], int]:
    """Returns the filter as runs of channels: the byte offset of each from the pixel at (0, 0), and their length.

    A filter's row is one run where its pixels lie without gaps.
    """
    image = problem.inputs[0]
    _, channels, height, width = problem.weights
    rows = [(u * problem.dilations[0] - problem.pads[0]) * image.strides[2] for u in range(height)]
    left = -problem.pads[1] * image.strides[3]
    if width == 1 or (problem.dilations[1] == 1 and image.strides[3] == channels * image.itemsize):
        return [row + left for row in rows], width * channels
    step = problem.dilations[1] * image.strides[3]
    return [row + left + v * step for row in rows for v in range(width)], channels


@dataclass(frozen=True, slots=True)
class Steps:
    """Bytes from image to image, row to row, pixel to pixel."""

    image: int
    row: int
    pixel: int


def steps_of(problem: Convolution) -> list[Steps]:
    """Returns the steps between output pixels in the input, the output and the extra inputs."""
    image = problem.inputs[0]
    down, across = problem.strides
    own = Steps(image.strides[0], image.strides[2] * down, image.strides[3] * across)
    others = (problem.output, *problem.inputs[1:])
    return [own, *(Steps(layout.strides[0], layout.strides[2], layout.strides[3]) for layout in others)]


class Geometry:
    """Images, rows and columns of an output after merging, covered by tiles of at most `pixels` pixels.

    shape: N x C x H x W; steps: between its pixels, in the input, the output and the extra inputs; by_rows: each row
    is covered by itself.
    """

    def __init__(self, shape: tuple[int, ...], steps: Sequence[Steps], pixels: int, *, by_rows: bool = False) -> None:
        images, _, rows, columns = shape
        if not by_rows and (rows == 1 or all(step.row == columns * step.pixel for step in steps)):
            rows, columns = 1, rows * columns
            if images == 1 or all(step.image == columns * step.pixel for step in steps):
                images, columns = 1, images * columns
        is_tall = not by_rows and rows > 1 and columns * 2 <= pixels
        self.down = cover(rows, min(rows, pixels // columns)) if is_tall else Cover(1, rows)
        self.across = Cover(columns, 1) if is_tall else cover(columns, pixels)
        self.images = images
        self.tiles = images * self.down.count * self.across.count
        self.input, self.output, *extras = steps
        self.extras = extras

    def sizes(self) -> list[tuple[int, int]]:
        """Returns the pixels of each size of tile and how many there are."""
        return [
            (rows * columns, self.images * down * across)
            for down, rows in ((self.down.many, self.down.size), (self.down.rest, self.down.size - 1))
            for across, columns in ((self.across.many, self.across.size), (self.across.rest, self.across.size - 1))
        ]

    def place(self, f: Function, tile: Number) -> Place:
        """Returns where the tile of that number lies."""
        across, lines = f.remainder(tile, self.across.count), f.divide(tile, self.across.count)
        down, image = f.remainder(lines, self.down.count), f.divide(lines, self.down.count)
        return Place(image, _position(f, self.down, down), _position(f, self.across, across), down, across)

    def move(self, f: Function, pointer: Value, steps: Steps, place: Place) -> Value:
        """Returns the pointer to the tile's first pixel."""
        pointer = f.offset(pointer, f.mul(place.image, steps.image))
        pointer = f.offset(pointer, f.mul(place.row, steps.row))
        return f.offset(pointer, f.mul(place.column, steps.pixel))

    def by_size(self, f: Function, place: Place, body: Callable[[int, int], None]) -> None:
        """Emits `body(rows, columns)` for each size of tile that occurs, run where it is this tile's."""
        is_down = bool(self.down.rest)
        two, index = (self.down, place.down) if is_down else (self.across, place.across)

        def run(size: int) -> None:
            body(size, self.across.size) if is_down else body(self.down.size, size)

        if not two.rest:
            run(two.size)
            return
        for predicate, size in (("ult", two.size), ("uge", two.size - 1)):
            f.when(f.compare(predicate, f.number(index), f.number(two.many)), lambda size=size: run(size))  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Place:
    """A tile's image, first row and first column; its numbers down and across."""

    image: Number
    row: Number
    column: Number
    down: Number
    across: Number


def _position(f: Function, cover: Cover, index: Number) -> Number:
    """Returns where the tile of that number begins."""
    start = f.mul(index, cover.size)
    if not cover.rest:
        return start
    smaller = f.call("i64", "llvm.usub.sat.i64", f.number(index), f.number(cover.many))
    return f.sub(start, smaller)
