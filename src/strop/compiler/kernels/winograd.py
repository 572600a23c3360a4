"""Winograd convolution: 3x3, stride 1, with 2.25 (F(2x2)) or 4 (F(4x4)) times fewer multiplications.

    y[n, o, i, j] = epilogue(sum over c, u, v of  w[o, c, u, v] * x[n, c, i + u - top, j + v - left])

Tiles of m x m output pixels: each tile's (m + 2) x (m + 2) input pixels are transformed (V = B^T x B), multiplied for
each place of the tile by a matrix of transformed filters (M = V U, over the channels), and transformed back
(y = A^T M A), all of it vectors over channels (`winograd_transforms.py`).

Tiles of all images are numbered row by row and cut into groups of `rows`, the height of the register tile. A block is
some groups: V of a block lies in the workspace, [place][tile][channel], and so does M for one register tile's width of
output channels, [place][tile][lane]; both stay in L2. The filters are read once a block, [panel][place][channel][lane],
in the order in which they lie. The input transform goes down the columns first, into a strip that stays in L1, so that
the two columns that neighbours share are transformed once; what lies outside the image is zero there, so the input
needs no halo. Tiles that hang over the output's edge take a detour and store only what is inside.

Threads divide blocks times groups of output channels, or, where blocks divide unevenly, the groups of all blocks; a
thread transforms the tiles of each block it touches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Convolution, Cost, Needs, Problem, Split
from strop.compiler.kernels.cover import cover
from strop.compiler.kernels.epilogue import Epilogue, epilogue_strides, refuses_epilogue
from strop.compiler.kernels.record import Record, epilogue_arguments, pack_channels, start_kernel
from strop.compiler.kernels.winograd_accuracy import doubt
from strop.compiler.kernels.winograd_input import InputTransform
from strop.compiler.kernels.winograd_input import Word as In
from strop.compiler.kernels.winograd_output import OutputTransform
from strop.compiler.kernels.winograd_output import Word as Out
from strop.compiler.kernels.winograd_product import PANEL, UNROLL, Product
from strop.compiler.kernels.winograd_transforms import pack_filters

_STRIP = 4
"""Tiles of a strip at most: its transformed columns and a vector's share of V stay in L1 together."""

_LINE = 64
_FILTERS_IN_L2 = 2**20
_FILTERS_IN_L3 = 2**23
_SMALL_BLOCK = 3 * 2**17
_LARGE_BLOCK = 2**20


FEW_CHANNELS = 48
"""Input channels below which F(4x4) is left out: its transforms round more than the short sums of other algorithms do.

A network of nothing but such layers shows it: on the benchmark's U-Net the distance to ONNX Runtime (itself 6e-6 from
the exact result) is 11.8e-6 with F(4x4) everywhere, 9.1e-6 with this rule, 9.8e-6 without Winograd.
"""


_UNEVEN, _UNEVEN_LARGE = 1.03, 1.08
"""How much more than at best the slower of two threads may have to do, with filters that stay in L2, and with more."""

_INTO = (440.0, 250.0)
"""Multiply-adds in whose time a channel of a tile is transformed, for sizes 4 and 2: fitted with AVX-512."""


@dataclass(frozen=True, slots=True)
class WinogradSchedule:
    """size: output pixels of a tile's side; rows, vectors: the register tile; block: register tiles of a block.

    near: bytes of filters prefetched ahead into L1; far: whether the next place's filters are pulled into L2.
    """

    size: int
    rows: int
    vectors: int
    block: int
    near: int = 512
    far: bool = True

    def __str__(self) -> str:
        return f"{self.rows}x{self.vectors}b{self.block}n{self.near}{'f' * self.far}"


class WinogradConvolution:
    """3x3 convolution by minimal filtering, F(size x size, 3x3)."""

    def __init__(self, size: int) -> None:
        self.size = size

    @property
    def family(self) -> str:
        """Its name: "winograd_2x2" or "winograd_4x4"."""
        return f"winograd_{self.size}x{self.size}"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts 3x3 filters with stride 1 over channels-last float32 images."""
        if not isinstance(problem, Convolution):
            return "not a convolution"
        if problem.weights[2:] != (3, 3) or problem.strides != (1, 1) or problem.dilations != (1, 1):
            return "not a 3x3 filter with stride 1 and dilation 1"
        if problem.groups != 1:
            return "it has groups"
        image = problem.inputs[0]
        if len(image.shape) != 4 or not image.is_channels_last:
            return "the input is no channels-last image"
        if (image.dtype, problem.weight_dtype, problem.accumulator) != ("float32",) * 3:
            return "not float32"
        if max(problem.pads) > 2:
            return "it pads more than the filter reaches"
        return refuses_epilogue(problem)

    def suits(self, problem: Problem, weights: np.ndarray) -> str:
        """Refuses filters for which rounding errors could grow too much (`winograd_accuracy.py`)."""
        if self.size == 4 and weights.shape[1] < FEW_CHANNELS:
            return f"of fewer than {FEW_CHANNELS} channels a plain sum is far more accurate than the transforms"
        return doubt(weights, self.size)

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for channels-last images without a halo."""
        return Needs()

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[WinogradSchedule]:
        """Returns the schedule with the ISA's tile: blocks as large as the caches allow.

        Where the filters are too many for L2 they are read once, if V fits there; where not, blocks are small.
        """
        assert isinstance(problem, Convolution)
        rows, vectors = isa.tile
        vectors = min(vectors, -(-problem.weights[0] // isa.lanes))
        filters = (self.size + 2) ** 2 * problem.weights[0] * problem.weights[1] * 4
        is_large = filters > _FILTERS_IN_L2
        single = _Nest(problem, WinogradSchedule(self.size, rows, vectors, 1), isa)
        most = max(1, (_LARGE_BLOCK if is_large else _SMALL_BLOCK) // single.block_bytes)
        blocks = -(-single.cover.count // most)
        nests = [
            _Nest(
                problem, WinogradSchedule(self.size, rows, vectors, -(-single.cover.count // number), far=is_large), isa
            )
            for number in (blocks, blocks + 1)
            if number <= single.cover.count
        ]
        # One more block where two threads then have as much to do, though the filters are read once more.
        enough = min(nest.slowest for nest in nests) * (_UNEVEN_LARGE if is_large else _UNEVEN)
        return [next(nest.schedule for nest in nests if nest.slowest <= enough)]

    def cost(self, problem: Problem, schedule: WinogradSchedule, isa: Isa) -> Cost:
        """Returns the products' multiply-adds and how busy they and the transforms keep the units for them.

        Filters of some megabytes come from memory. Cycles were fitted on a core with AVX-512.
        """
        assert isinstance(problem, Convolution)
        nest = _Nest(problem, schedule, isa)
        cycles = nest.cycles()
        macs = float(nest.places * nest.tiles * nest.inputs * nest.outputs)
        filters = float(nest.panel * -(-nest.outputs // PANEL))
        images = float(sum(layout.size * layout.itemsize for layout in (*problem.inputs, problem.output)))
        level = "memory" if filters > _FILTERS_IN_L3 else "l3"
        moved = {level: filters, "l2": images} if images <= _LARGE_BLOCK else {level: filters + images}
        exposed = filters / 60e9  # of the filters' way into L2, what the products do not hide
        return Cost(2 * macs, macs / (2 * isa.lanes) / cycles, moved, 2e-6 + exposed)

    def split(self, problem: Problem, schedule: WinogradSchedule, isa: Isa) -> Split:
        """Divides blocks of tiles times groups of output channels."""
        assert isinstance(problem, Convolution)
        nest = _Nest(problem, schedule, isa)
        return Split(nest.groups if nest.by_groups else nest.blocks * nest.groups)

    def workspace(self, problem: Problem, schedule: WinogradSchedule, isa: Isa) -> int:
        """Returns the bytes of V, M, a strip of transformed columns and a tile of results."""
        assert isinstance(problem, Convolution)
        return _Nest(problem, schedule, isa).workspace

    def pack(
        self,
        problem: Problem,
        schedule: WinogradSchedule,
        isa: Isa,
        weights: np.ndarray,
        channels: Sequence[np.ndarray],
    ) -> list[np.ndarray]:
        """Returns the transformed filters, [panel][place][input channel][16 lanes], then the per-channel vectors."""
        return [pack_filters(weights, schedule.size, PANEL).reshape(-1), *pack_channels(problem, channels)]

    def emit(self, problem: Problem, schedule: WinogradSchedule, isa: Isa) -> Code:
        """Returns its code: the nest with the transforms, and a product for each height and width that occurs.

        Sizes and strides are numbers of the record, so that layers share the nest, which its content names.
        """
        assert isinstance(problem, Convolution)
        nest = _Nest(problem, schedule, isa)
        numbers = nest.numbers()
        arguments = ("input0", *epilogue_arguments(problem, 1), "weights0", "workspace", *numbers, "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, self.family, arguments, numbers)
        _Emitter(f, record, nest).run()
        f.ret()
        code = module.text()
        symbol = f"{self.family}_f32_{isa.key}_{hashlib.sha256(code.encode()).hexdigest()[:12]}"
        objects = {symbol: code.replace(f"@{self.family}(", f"@{symbol}(")}
        parts: list[InputTransform | OutputTransform | Product] = [nest.input_transform, nest.output_transform]
        for part in [*parts, *nest.used]:
            objects[part.symbol(isa)] = part.emit(isa)
        return Code(symbol, arguments, objects, numbers)


class _Nest:
    """The loops and where everything lies in the workspace."""

    def __init__(self, problem: Convolution, schedule: WinogradSchedule, isa: Isa) -> None:
        self.problem, self.schedule, self.isa = problem, schedule, isa
        self.size, self.side = schedule.size, schedule.size + 2
        self.places = self.side**2
        images, outputs, height, width = problem.output.shape
        self.inputs, self.outputs = problem.weights[1], outputs
        self.down, self.across = -(-height // self.size), -(-width // self.size)
        self.tiles = images * self.down * self.across
        self.cover = cover(self.tiles, schedule.rows)
        self.block = min(schedule.block, self.cover.count)
        self.blocks = -(-self.cover.count // self.block)
        self.width = schedule.vectors * isa.lanes  # output channels of a group
        self.groups = -(-outputs // self.width)
        self.by_groups = self.blocks > 1 and self._slowest(by_groups=True) < self._slowest(by_groups=False)
        self.v_place = -(-self.inputs // isa.lanes) * isa.vector_bytes
        self.v_row = _odd_lines(self.places * self.v_place)
        self.m_row = self.width * 4
        most = self.block * self.cover.size
        self.m_place = _odd_lines(most * self.m_row)
        self.panel = self.places * self.inputs * PANEL * 4
        self.strip = min(self.across, _STRIP, most)
        self.strips = -(-self.across // self.strip)
        self.m_start = most * self.v_row
        self.buffer_start = self.m_start + self.places * self.m_place
        self.spare_start = self.buffer_start + (self.strip * self.size + 2) * self.side * isa.vector_bytes
        self.workspace = self.spare_start + (self.side + self.size) * self.size * isa.vector_bytes
        self.input_transform = InputTransform(self.size, self.inputs % isa.lanes)
        self.output_transform = OutputTransform.of(problem, self.size, self.m_row, isa)
        self.used: list[Product] = []

    def numbers(self) -> dict[str, int]:
        """Returns the sizes and strides that the code is given when it runs."""
        problem, image = self.problem, self.problem.inputs[0]
        numbers = {
            "blocks": self.blocks,
            "block": self.block,
            "groups": self.groups,
            "covers": self.cover.count,
            "tall": self.cover.many,
            "down": self.down,
            "across": self.across,
            "strip": self.strip,
            "strips": self.strips,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "panel": self.panel,
            "v_place": self.v_place,
            "v_row": self.v_row,
            "m_place": self.m_place,
            "m_start": self.m_start,
            "buffer_start": self.buffer_start,
            "spare_start": self.spare_start,
            "top": problem.pads[0],
            "left": problem.pads[1],
            "input_height": image.shape[2],
            "input_width": image.shape[3],
            "input_image": image.strides[0],
            "input_row": image.strides[2],
            "input_pixel": image.strides[3],
            "height": problem.output.shape[2],
            "width": problem.output.shape[3],
        }
        for index, strides in enumerate(epilogue_strides(problem)):
            numbers |= {f"image{index}": strides[0], f"row{index}": strides[2], f"pixel{index}": strides[3]}
        return numbers

    @property
    def slowest(self) -> float:
        """Returns what the slower of two threads has to do."""
        return self._slowest(by_groups=self.by_groups)

    @property
    def block_bytes(self) -> int:
        """Bytes of V and M of a block."""
        return self.buffer_start

    def tile_of(self, group: int) -> int:
        """Returns the first tile of a group of the register tile's height."""
        return group * self.cover.size - max(0, group - self.cover.many)

    def _slowest(self, *, by_groups: bool) -> float:
        """Returns what the slower of two threads does: multiply-adds, and transforms counted as such."""
        units = self.groups if by_groups else self.blocks * self.groups
        middle, slowest = -(-units // 2), 0.0
        for begin, end in ((0, middle), (middle, units)):
            work = 0.0
            for block in range(self.blocks):
                first, last = self.block * block, min(self.block * (block + 1), self.cover.count)
                tiles = self.tile_of(last) - self.tile_of(first)
                unit = 0 if by_groups else block * self.groups
                groups = min(end - unit, self.groups) - max(begin - unit, 0)
                if groups > 0:
                    into = _INTO[self.size == 2] * tiles * self.inputs
                    work += into + tiles * groups * self.places * self.inputs * self.width
            slowest = max(slowest, work)
        return slowest

    def cycles(self) -> float:
        """Returns about how many cycles it takes with everything in L2: two multiply-adds of a vector each."""
        cover_, isa = self.cover, self.isa
        calls = [(cover_.many, cover_.size), (cover_.rest, cover_.size - 1)]
        widths = [(self.groups - 1, self.schedule.vectors)]
        widths.append((1, -(-(self.outputs - (self.groups - 1) * self.width) // isa.lanes)))
        products = 0.0
        for many, rows in calls:
            for groups, vectors in widths:
                step = max(rows * vectors, rows + vectors) / 2  # multiply-adds, or loads
                products += many * groups * (1.04 * step * self.inputs + rows * vectors + 30)
        lines = isa.vector_bytes / _LINE
        into, out = ((105 + 115 * lines, 80 + 60 * lines), (45 + 80 * lines, 20 + 25 * lines))[self.size == 2]
        transforms = into * -(-self.inputs // isa.lanes) + out * -(-self.outputs // isa.lanes)
        return self.places * products + self.tiles * transforms

    def product(self, rows: int, vectors: int) -> Product:
        """Returns the product of a register tile."""
        far = -(-UNROLL // self.block) if self.schedule.far else 0
        product = Product(rows, vectors, self.m_row, self.schedule.near, far)
        if product not in self.used:
            self.used.append(product)
        return product


def _odd_lines(size: int) -> int:
    """Returns a number of bytes that is an odd number of cache lines, so that places do not share sets of the cache."""
    lines = -(-size // _LINE)
    return (lines | 1) * _LINE


@dataclass(frozen=True, slots=True)
class _Strip:
    """Neighbouring tiles of one row: `image`, `down` (row of tiles in it), `first` to `last` across."""

    image: Number
    down: Number
    first: Number
    last: Number
    row: Number
    """The first tile's number within the block."""


class _Emitter:
    """Writes the nest and the transforms."""

    def __init__(self, f: Function, record: Record, nest: _Nest) -> None:
        self.f, self.record, self.nest, self.isa = f, record, nest, f.isa
        self.numbers = {name: record[name] for name in nest.numbers()}
        strides: list[list[Number]] = [
            [record[f"image{index}"], own[1], record[f"row{index}"], record[f"pixel{index}"]]
            for index, own in enumerate(epilogue_strides(nest.problem))
        ]
        self.epilogue = Epilogue(f, nest.problem, record, weights=1, strides=strides)
        workspace = record["workspace"]
        self.v = workspace
        self.m = f.offset(workspace, self.numbers["m_start"])
        self.buffer = f.offset(workspace, self.numbers["buffer_start"])
        self.spare = f.offset(workspace, self.numbers["spare_start"])

    def run(self) -> None:
        """Writes the loops over blocks, and in each over groups of output channels."""
        f, nest, n = self.f, self.nest, self.numbers
        begin, end = self.record["begin"], self.record["end"]
        first: Number = 0 if nest.by_groups else f.divide(begin, n["groups"])
        whole = f.divide(f.add(end, f.sub(n["groups"], 1)), n["groups"])
        count: Number = n["blocks"] if nest.by_groups else f.sub(whole, first)

        def block(index: Number, _: list[Value]) -> None:
            number = f.add(first, index)
            lower: Number = begin
            upper: Number = end
            if not nest.by_groups:
                unit = f.mul(number, n["groups"])
                lower = self.less(begin, unit)
                upper = f.minimum(n["groups"], f.sub(end, unit))
            group = f.mul(number, n["block"])
            groups = f.minimum(n["block"], f.sub(n["covers"], group))
            start = self.tile_of(group)
            stop = self.tile_of(f.add(group, groups))
            self.each_strip(start, stop, self.transform_input)

            def outputs(place: Number, _: list[Value]) -> None:
                self.outputs(f.add(lower, place), group, groups, start, stop)

            f.loop(f.sub(upper, lower), outputs, may_be_empty=True)

        f.loop(count, block, may_be_empty=True)

    def less(self, a: Number, b: Number) -> Number:
        """Returns a - b, or 0 where b is larger."""
        if isinstance(a, int) and isinstance(b, int):
            return max(0, a - b)
        return self.f.call("i64", "llvm.usub.sat.i64", self.f.number(a), self.f.number(b))

    def tile_of(self, group: Number) -> Number:
        """Returns the first tile of a group of the register tile's height."""
        f, cover_ = self.f, self.nest.cover
        tile = f.mul(group, cover_.size)
        return f.sub(tile, self.less(group, self.numbers["tall"])) if cover_.rest else tile

    def each_strip(self, start: Number, stop: Number, body: Callable[[_Strip], None]) -> None:
        """Writes the loop over the strips of neighbours in a row between two tiles."""
        f, n = self.f, self.numbers

        def strip_of(tile: Number) -> Number:
            row, across = f.divide(tile, n["across"]), f.remainder(tile, n["across"])
            return f.add(f.mul(row, n["strips"]), f.divide(across, n["strip"]))

        begin = strip_of(start)
        count = f.add(f.sub(strip_of(f.sub(stop, 1)), begin), 1)

        def one(index: Number, _: list[Value]) -> None:
            number = f.add(begin, index)
            row, strip = f.divide(number, n["strips"]), f.remainder(number, n["strips"])
            tile = f.mul(row, n["across"])
            left = f.mul(strip, n["strip"])
            first = self.larger(self.less(start, tile), left)
            last = f.minimum(f.minimum(f.sub(stop, tile), f.add(left, n["strip"])), n["across"])
            image, down = f.divide(row, n["down"]), f.remainder(row, n["down"])
            body(_Strip(image, down, first, last, f.sub(f.add(tile, first), start)))

        f.loop(count, one)

    def larger(self, a: Number, b: Number) -> Number:
        """Returns the larger of two numbers."""
        if isinstance(a, int) and isinstance(b, int):
            return max(a, b)
        return self.f.call("i64", "llvm.umax.i64", self.f.number(a), self.f.number(b))

    # -- input

    def transform_input(self, strip: _Strip) -> None:
        """Writes V for a strip of tiles."""
        f, nest, n = self.f, self.nest, self.numbers
        left = n["left"]
        place = f.mul(strip.first, nest.size)  # the strip's first column, counted from the padding's
        zeros = self.less(left, place)
        first = f.sub(f.add(place, zeros), left)
        end = f.minimum(n["input_width"], f.sub(f.add(f.mul(strip.last, nest.size), 2), left))
        inside = f.sub(end, first)
        tiles = f.sub(strip.last, strip.first)
        words = {
            In.SOURCE: f.offset(self.record["input0"], f.mul(strip.image, n["input_image"])),
            In.V: f.offset(self.v, f.mul(strip.row, n["v_row"])),
            In.BUFFER: self.buffer,
            In.TOP: f.sub(f.mul(strip.down, nest.size), n["top"]),
            In.ZEROS: zeros,
            In.FIRST: first,
            In.INSIDE: inside,
            In.BEHIND: f.sub(f.add(f.mul(tiles, nest.size), 2), f.add(zeros, inside)),
            In.TILES: tiles,
            In.HEIGHT: n["input_height"],
            In.ROW: n["input_row"],
            In.PIXEL: n["input_pixel"],
            In.VECTORS: f.divide(n["inputs"], self.isa.lanes),
            In.PLACE: n["v_place"],
            In.TILE: n["v_row"],
        }
        nest.input_transform.call(f, words)

    # -- products and output

    def outputs(self, group: Number, first: Number, count: Number, start: Number, stop: Number) -> None:
        """Writes one group of output channels of a block: the products, then the output transform."""
        f, nest, n = self.f, self.nest, self.numbers
        channel = f.mul(group, nest.width)
        rest = nest.outputs - (nest.groups - 1) * nest.width  # channels of the last group
        some = -(-rest // self.isa.lanes)
        if some == nest.schedule.vectors:
            self.products(channel, some, first, count, start)
        else:
            is_whole = f.compare("ult", f.number(group), f.number(f.sub(n["groups"], 1)))
            f.when(is_whole, lambda: self.products(channel, nest.schedule.vectors, first, count, start))
            is_last = f.op("i1", f"xor i1 {is_whole.text}, true")
            f.when(is_last, lambda: self.products(channel, some, first, count, start))
        here = f.minimum(nest.width, f.sub(n["outputs"], channel))
        vectors = f.divide(here, self.isa.lanes)
        left = f.minimum(1, f.remainder(here, self.isa.lanes))
        self.each_strip(start, stop, lambda strip: self.transform_output(strip, channel, vectors, left))

    def products(self, channel: Number, vectors: int, first: Number, count: Number, start: Number) -> None:
        """Writes M for all places and register tiles of a block."""
        f, nest, n = self.f, self.nest, self.numbers
        panel, lane = f.divide(channel, PANEL), f.remainder(channel, PANEL)
        place = f.mul(lane, 4) if nest.width % PANEL else 0
        filters = f.offset(f.offset(self.record["weights0"], f.mul(panel, n["panel"])), place)
        slab = f.mul(n["inputs"], PANEL * 4)
        passes = f.divide(n["inputs"], UNROLL)

        def one(_: Number, carried: list[Value]) -> list[Value]:
            v, u, m = carried
            following = f.offset(u, slab)

            def tile(index: Number, _: list[Value]) -> None:
                group = f.add(first, index)
                row = f.sub(self.tile_of(group), start)

                def call(rows: int) -> None:
                    product = nest.product(rows, vectors)
                    share = f.mul(passes, product.far * _LINE)
                    arguments = [
                        f.offset(v, f.mul(row, n["v_row"])),
                        u,
                        f.offset(m, f.mul(row, nest.m_row)),
                        f.number(passes),
                        f.number(f.remainder(n["inputs"], UNROLL)),
                        f.offset(following, f.minimum(f.mul(index, share), slab)),
                        n["v_row"],
                        n["panel"],
                    ]
                    f.call("void", product.symbol(self.isa), *arguments)

                if not nest.cover.rest:
                    call(nest.cover.size)
                    return
                is_tall = f.compare("ult", f.number(group), n["tall"])
                f.when(is_tall, lambda: call(nest.cover.size))
                f.when(f.op("i1", f"xor i1 {is_tall.text}, true"), lambda: call(nest.cover.size - 1))

            f.loop(count, tile)
            return [f.offset(v, n["v_place"]), following, f.offset(m, n["m_place"])]

        f.loop(nest.places, one, [self.v, filters, self.m])

    def transform_output(self, strip: _Strip, channel: Number, vectors: Number, rest: Number) -> None:
        """Writes the results of a strip for some output channels: whole tiles, then those that hang over."""
        f, nest, n, size = self.f, self.nest, self.numbers, self.nest.size
        height, width = n["height"], n["width"]
        cursor = self.epilogue.move(self.epilogue.start, 0, strip.image)
        cursor = self.epilogue.move(cursor, 2, f.mul(strip.down, size))
        cursor = self.epilogue.move(cursor, 3, f.mul(strip.first, size))
        is_inside = f.compare("ult", f.number(strip.down), f.number(f.divide(height, size)))
        whole = self.larger(strip.first, f.minimum(strip.last, f.divide(width, size)))
        middle = f.select(is_inside, f.number(whole), f.number(strip.first))
        words = {
            Out.M: f.offset(self.m, f.mul(strip.row, nest.m_row)),
            Out.SPARE: self.spare,
            Out.WHOLE: f.sub(middle, strip.first),
            Out.PARTIAL: f.sub(strip.last, middle),
            Out.ROWS: f.minimum(size, f.sub(height, f.mul(strip.down, size))),
            Out.COLUMNS: f.minimum(size, f.sub(width, f.mul(f.sub(strip.last, 1), size))),
            Out.CHANNEL: channel,
            Out.VECTORS: vectors,
            Out.PLACE: n["m_place"],
            Out.REST: rest,
        }
        channels = [self.record[f"weights{1 + index}"] for index in range(nest.problem.channels)]
        nest.output_transform.call(f, words, self.epilogue.steps, cursor, channels)
