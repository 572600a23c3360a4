"""Attention of every head, the scores of a block of query rows at a time, which never leave the caches.

    y[a, l, h] = softmax over s of (scale * q[a, h, l] . k[a, h, s] + mask[a, h, l, s])  times  v[a, h, s]

Scores are computed transposed, [key][query]. So the register tile (`matrix_tile.py`) takes the keys as its pixels from
where they lie, and a block of 32 queries (16 where no more are left) as its vectors, packed transposed. In the softmax
a lane is a query: maximum, exp and sum run down the keys without a shuffle and without a tail. And the product with the
values takes queries as pixels 4 bytes apart and keys as steps; a head's values are packed in panels once. What comes of
it is divided by the sums while it is copied to where it belongs; what was computed for queries that are none is not.

A unit is a block of one head; threads divide them. Every length, and every stride that depends on one, is a number of
the record, so that the code is the same for all batches and sequences; but for the height of the tile over the keys,
whose last one overlaps the one before it. Per key and query the tiles do 2 (D + E) flops and the softmax some 20.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value, constant
from strop.compiler.expressions import IDENTITY, apply, emit_expression, operand
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Attention, Code, Cost, Needs, Problem, Split
from strop.compiler.kernels.cover import cover
from strop.compiler.kernels.matrix_nest import passes_of, tiles_of
from strop.compiler.kernels.matrix_tile import PANEL, STEP, Context, Tile
from strop.compiler.kernels.operand_panels import copy_into_panels, transpose_into_panels
from strop.compiler.kernels.record import start_kernel
from strop.compiler.layouts import Layout

BLOCK: Final = 2 * PANEL
"""Queries of a block; a last one of at most half as many is computed with half the vectors."""

_NAMES: Final = ("query", "key", "value", "mask")
_FEW: Final = (8, 4, 2, 1)  # heights of tiles for fewer keys than the usual ones have
_UNROLL: Final = 4  # keys of one pass of the softmax's loops, and of the steps over them


@dataclass(frozen=True, slots=True)
class AttentionSchedule:
    """keys: of a register tile of the scores; several where the code is to serve every number of keys."""

    keys: tuple[int, ...]

    def __str__(self) -> str:
        return "k" + ".".join(map(str, self.keys))

    def tiles(self, keys: int) -> tuple[int, int]:
        """Returns the height of the tiles that cover so many keys at the least cost, and how many it takes."""
        fitting = [height for height in self.keys if height <= keys]
        return min(((h, -(-keys // h)) for h in fitting), key=lambda tiles: tiles[1] * (tiles[0] + 1))


class AttentionKernel:
    """Scores, softmax and the product with the values."""

    family = "attention"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts float32 whose channels are neighbours in keys and in the output."""
        if not isinstance(problem, Attention):
            return "not attention"
        if any(layout.dtype != "float32" for layout in (*problem.inputs, problem.output)):
            return "an operand is not float32"
        for what, layout in (("the keys", problem.inputs[1]), ("the output", problem.output)):
            if layout.shape[3] > 1 and layout.strides[3] != STEP:
                return f"{what} have channels that are not neighbours"
        return "" if problem.epilogue == IDENTITY else "an epilogue"

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for channels that are neighbours."""
        return Needs()

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[AttentionSchedule]:
        """Returns two schedules: the height of tile that suits these keys, and heights for any."""
        keys, most = problem.inputs[1].shape[2], tiles_of(isa)[0][0]
        usual = [height for height in (most, most - 1, most - 2) if height > 0]
        every = (*usual, *(height for height in _FEW if height < usual[-1]))
        return [AttentionSchedule((-(-keys // -(-keys // most)),)), AttentionSchedule(every)]

    def cost(self, problem: Problem, schedule: AttentionSchedule, isa: Isa) -> Cost:
        """Returns both products and the softmax; keys and values come from L2 for every block."""
        sizes = _Sizes.of(problem)
        pairs = sizes.batch * sizes.heads * sizes.rows * sizes.keys
        blocks = sizes.batch * sizes.heads * sizes.blocks
        moved = 4.0 * blocks * sizes.keys * (sizes.depth + sizes.width)
        height, tiles = schedule.tiles(sizes.keys)
        share = sizes.keys / (height * tiles)
        return Cost(pairs * (2.0 * (sizes.depth + sizes.width) + 20), 0.75 * share, {"l2": moved})

    def split(self, problem: Problem, schedule: AttentionSchedule, isa: Isa) -> Split:
        """Divides blocks of queries of all heads."""
        sizes = _Sizes.of(problem)
        return Split(sizes.batch * sizes.heads * sizes.blocks)

    def workspace(self, problem: Problem, schedule: AttentionSchedule, isa: Isa) -> int:
        """Needs a block's queries, sums, results and scores, and a head's values."""
        sizes = _Sizes.of(problem)
        return sizes.scores + 4 * sizes.keys * (BLOCK + sizes.panels * PANEL)

    def pack(
        self,
        problem: Problem,
        schedule: AttentionSchedule,
        isa: Isa,
        weights: np.ndarray,
        channels: Sequence[np.ndarray],
    ) -> list[np.ndarray]:
        """Returns nothing: there are no constants."""
        return []

    def general(self, problem: Problem) -> Problem:
        """Returns the problem for one query and one key, which stand for all numbers of them."""
        assert isinstance(problem, Attention)

        def one(layout: Layout, rows: int) -> Layout:
            """Keeps strides of rows and channels alone; those of the mask say only whether they are 0."""
            strides = tuple(step if axis in (rows, 3) else 0 for axis, step in enumerate(layout.strides))
            shape = tuple(n if axis == 3 else 2 for axis, n in enumerate(layout.shape))
            return Layout(shape, strides, layout.dtype)

        mask = []
        for layout in problem.inputs[3:]:
            by_row = int(layout.strides[2] != 0 and layout.shape[2] > 1)
            mask.append(Layout((2, 2, 2, 2), (0, 0, by_row, layout.strides[3]), layout.dtype))
        inputs = tuple(one(layout, 2) for layout in problem.inputs[:3])
        return replace(problem, inputs=(*inputs, *mask), output=one(problem.output, 1))

    def numbers(self, problem: Problem, schedule: AttentionSchedule, isa: Isa) -> Mapping[str, int]:
        """Returns lengths, tiles and the strides between images and heads."""
        sizes, named = _Sizes.of(problem), dict(zip(_NAMES, problem.inputs, strict=False))
        height, tiles = schedule.tiles(sizes.keys)
        numbers = {"rows": sizes.rows, "keys": sizes.keys, "blocks": sizes.blocks, "heads": sizes.heads}
        numbers |= {"tiles": tiles, "height": height}
        for name, layout in named.items():
            numbers |= {f"{name}_image": _step(layout, 0), f"{name}_head": _step(layout, 1)}
        numbers |= {"output_image": _step(problem.output, 0), "output_head": _step(problem.output, 2)}
        return numbers | ({"mask_row": _step(named["mask"], 2)} if "mask" in named else {})

    def emit(self, problem: Problem, schedule: AttentionSchedule, isa: Isa) -> Code:
        """Returns its code: the loops over heads and blocks, and the tiles."""
        assert isinstance(problem, Attention)
        numbers, general = self.numbers(problem, schedule, isa), self.general(problem)
        assert isinstance(general, Attention)
        return _Emitter(general, schedule, isa, numbers).emit()


@dataclass(frozen=True, slots=True)
class _Sizes:
    """The extents of a problem: heads, query rows, keys, channels of queries and keys (depth), of values (width)."""

    batch: int
    heads: int
    rows: int
    keys: int
    depth: int
    width: int

    @classmethod
    def of(cls, problem: Problem) -> _Sizes:
        query, key, value = problem.inputs[:3]
        images, heads, rows, depth = query.shape
        return cls(images, heads, rows, key.shape[2], depth, value.shape[3])

    @property
    def blocks(self) -> int:
        return -(-self.rows // BLOCK)

    @property
    def panels(self) -> int:
        return -(-self.width // PANEL)

    # Where things lie in the workspace; what depends on the number of keys comes last.

    @property
    def sums(self) -> int:
        return BLOCK * self.depth * 4

    @property
    def results(self) -> int:
        return self.sums + BLOCK * 4

    @property
    def scores(self) -> int:
        return self.results + BLOCK * self.panels * PANEL * 4


class _Emitter:
    """Writes the code of one problem."""

    def __init__(self, problem: Attention, schedule: AttentionSchedule, isa: Isa, numbers: Mapping[str, int]) -> None:
        self.problem, self.schedule, self.isa, self.numbers = problem, schedule, isa, numbers
        self.sizes = _Sizes.of(problem)
        self.tiles: dict[str, Tile] = {}
        query, key, value, *mask = problem.inputs
        # Strides of rows and channels are part of the code; a mask either repeats for all queries or does not.
        self.mask_by_row = bool(mask) and mask[0].strides[2] != 0
        self.mask_by_key = mask[0].strides[3] if mask else 0
        self.query, self.key, self.value = ((_step(layout, 2), _step(layout, 3)) for layout in (query, key, value))
        self.output = _step(problem.output, 1)

    def emit(self) -> Code:
        isa, sizes = self.isa, self.sizes
        symbol = f"attention_f32_{isa.key}_{self.schedule}_{sizes.depth}x{sizes.width}_{self.problem.digest}"
        inputs = [f"input{index}" for index in range(len(self.problem.inputs))]
        arguments = (*inputs, "output", "workspace", *self.numbers, "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments, self.numbers)
        self.f, self.record = f, record
        self.keys, self.rows = record["keys"], record["rows"]
        self.workspace = record["workspace"]
        self.packed = f.offset(self.workspace, f.add(sizes.scores, f.mul(self.keys, 4 * BLOCK)))
        passes = passes_of(sizes.depth)
        self.score_context = self._context(passes.count, passes.rest, sizes.depth * PANEL * STEP)
        of_keys = f.divide(self.keys, _UNROLL), f.remainder(self.keys, _UNROLL)
        self.value_context = self._context(*of_keys, f.mul(self.keys, PANEL * STEP))
        f.loop(f.sub(record["end"], record["begin"]), self._unit, may_be_empty=True)
        f.ret()
        objects = {symbol: module.text()} | {name: tile.emit(isa) for name, tile in self.tiles.items()}
        return Code(symbol, arguments, objects, self.numbers)

    def _context(self, passes: Number, rest: Number, panel: Number) -> Value:
        f = self.f
        context = f.op("ptr", f"alloca [{Context.WORDS} x i64], align 8")
        words = {Context.TAP_COUNT: 1, Context.PASSES: passes, Context.REST: rest, Context.PANEL_BYTES: panel}
        for word, value in words.items():
            f.store(f.number(value), context, 8 * word, align=8)
        f.store(Value("null", "ptr"), context, 8 * Context.TAPS, align=8)
        return context

    def _unit(self, index: Number, _: list[Value]) -> None:
        f, record = self.f, self.record
        number = f.number(f.add(record["begin"], index))
        head, block = _divided(f, number, record["blocks"])
        image, head = _divided(f, head, record["heads"])

        def place(name: str, base: str) -> Value:
            at = f.offset(record[base], f.mul(image, record[f"{name}_image"]))
            return f.offset(at, f.mul(head, record[f"{name}_head"]))

        bases = {name: place(name, f"input{index}") for index, name in enumerate(_NAMES[: len(self.problem.inputs)])}
        is_first = f.binary("or", f.compare("eq", f.number(index), f.number(0)), f.compare("eq", block, f.number(0)))
        f.when(is_first, lambda: self._pack_values(bases["value"]))
        first = f.mul(block, BLOCK)
        left = f.number(f.sub(self.rows, first))
        output = f.offset(place("output", "output"), f.mul(first, self.output))
        for predicate, queries in (("ugt", BLOCK), ("ule", PANEL)):
            f.when(
                f.compare(predicate, left, f.number(PANEL)),
                lambda queries=queries: self._block(queries, first, left, bases, output),  # type: ignore[misc]
            )

    def _pack_values(self, values: Value) -> None:
        copy_into_panels(self.f, values, self.value, rows=self.keys, width=self.sizes.width, target=self.packed)

    def _block(self, queries: int, first: Number, left: Value, bases: dict[str, Value], output: Value) -> None:
        f, sizes = self.f, self.sizes
        scores = f.offset(self.workspace, sizes.scores)
        transpose_into_panels(
            f, bases["query"], self.query, first=first, rows=self.rows,
            depth=sizes.depth, width=queries, target=self.workspace,
        )  # fmt: skip
        self._scores(queries, bases["key"], scores)
        if self.mask_by_row:
            self._add_mask(queries, first, bases["mask"], scores)
        self._softmax(queries, scores, bases.get("mask"))
        self._products(queries, scores)

        def row(index: Number, _: list[Value]) -> None:
            share = f.splat(f.load("float", self.workspace, f.add(sizes.sums, f.mul(index, 4))), self.isa.lanes)
            source = f.offset(self.workspace, f.add(sizes.results, f.mul(index, sizes.panels * PANEL * 4)))
            target = f.offset(output, f.mul(index, self.output))
            for column in range(0, sizes.width, self.isa.lanes):
                value = f.fmul(f.load(self.isa.vector, source, column * 4), share)
                f.store_lanes(value, target, column * 4, lanes=min(self.isa.lanes, sizes.width - column))

        f.loop(f.minimum(left, queries), row)

    def _vectors(self, columns: int) -> int:
        """Returns how many vectors a register tile has at most, of so many columns."""
        return min(tiles_of(self.isa)[0][1], columns // self.isa.lanes)

    def _scores(self, queries: int, keys: Value, scores: Value) -> None:
        f, height = self.f, self.record["height"]
        last = f.sub(self.keys, height)

        def one(index: Number, _: list[Value]) -> None:
            place = f.op("i64", f"mul i64 {f.number(index).text}, {height.text}")
            key = f.minimum(place, last)
            pixels = f.offset(keys, f.mul(key, self.key[0]))
            at = f.offset(scores, f.mul(key, queries * 4))
            for each in self.schedule.keys:
                if len(self.schedule.keys) == 1:
                    self._score_tile(each, queries, pixels, at)
                    continue
                is_this = f.compare("eq", height, f.number(each))
                f.when(is_this, lambda each=each: self._score_tile(each, queries, pixels, at))  # type: ignore[misc]

        f.loop(self.record["tiles"], one)

    def _score_tile(self, height: int, queries: int, pixels: Value, scores: Value) -> None:
        """Calls the tiles for `height` keys and all queries of a block."""
        vectors, passes = self._vectors(queries), passes_of(self.sizes.depth)
        tile = Tile(
            1, height, vectors, self.key[0] if height > 1 else 0, 0, queries * 4 if height > 1 else 0, 0, IDENTITY,
            unroll=passes.unroll, is_one_pass=passes.count == 1 and not passes.rest, has_rest=passes.rest > 0,
        )  # fmt: skip
        for column in range(0, queries, vectors * self.isa.lanes):
            panel, lane = divmod(column, PANEL)
            weights = self.f.offset(self.workspace, (panel * self.sizes.depth * PANEL + lane) * 4)
            self._call(tile, pixels, weights, self.f.offset(scores, column * 4), self.score_context)

    def _add_mask(self, queries: int, first: Number, mask: Value, scores: Value) -> None:
        """Scales the scores and adds a mask that differs from query to query."""
        f, isa = self.f, self.isa
        scale = constant(isa.vector, self.problem.scale)
        pointers = []
        for query in range(queries):
            at = f.minimum(f.add(first, query), f.sub(self.rows, 1))
            pointers.append(f.offset(mask, f.mul(at, self.record["mask_row"])))

        def key(index: Number, _: list[Value]) -> None:
            for column in range(0, queries, isa.lanes):
                vector = f.zero(isa.vector)
                for lane, pointer in enumerate(pointers[column : column + isa.lanes]):
                    number = f.load("float", pointer, f.mul(index, self.mask_by_key))
                    vector = f.op(
                        isa.vector, f"insertelement {isa.vector} {vector.text}, float {number.text}, i64 {lane}"
                    )
                place = f.add(f.mul(index, queries * 4), column * 4)
                f.store(f.fma(f.load(isa.vector, scores, place), scale, vector), scores, place)

        f.loop(self.keys, key)

    def _softmax(self, queries: int, scores: Value, mask: Value | None) -> None:
        """Replaces scores by exp(score - maximum), and puts one divided by the sums of these behind the queries."""
        f, isa = self.f, self.isa
        count = queries // isa.lanes
        is_scaled = self.mask_by_row or self.problem.scale == 1
        scale = constant(isa.vector, self.problem.scale)
        added = None if self.mask_by_row else mask

        def score(key: Number, column: int) -> Value:
            value = f.load(isa.vector, scores, f.add(f.mul(key, queries * 4), column * isa.lanes * 4))
            if added is None:
                return value if is_scaled else f.fmul(value, scale)
            shift = f.splat(f.load("float", added, f.mul(key, self.mask_by_key)), isa.lanes)
            return f.fadd(value, shift) if is_scaled else f.fma(value, scale, shift)

        def largest(key: Number, best: list[Value]) -> list[Value]:
            return [f.fmax(old, score(key, column)) for column, old in enumerate(best)]

        lowest = constant(isa.vector, float("-inf"))
        tops = self._each_key(largest, [lowest] * count, f.fmax)

        def share(key: Number, sums: list[Value]) -> list[Value]:
            result = []
            for column, (total, top) in enumerate(zip(sums, tops, strict=True)):
                value = emit_expression(f, apply("exp", operand(0)), [f.fsub(score(key, column), top)], [], isa.lanes)
                f.store(value, scores, f.add(f.mul(key, queries * 4), column * isa.lanes * 4))
                result.append(f.fadd(total, value))
            return result

        for column, total in enumerate(self._each_key(share, [f.zero(isa.vector)] * count, f.fadd)):
            inverse = f.binary("fdiv", constant(isa.vector, 1), total)
            f.store(inverse, self.workspace, self.sizes.sums + column * isa.lanes * 4)

    def _each_key(
        self,
        step: Callable[[Number, list[Value]], list[Value]],
        start: list[Value],
        join: Callable[[Value, Value], Value],
    ) -> list[Value]:
        """Runs `step` for every key, with two sets of what is carried, which take turns and are joined at the end."""
        f, count = self.f, len(start)

        def some(index: Number, carried: list[Value]) -> list[Value]:
            sets = [carried[:count], carried[count:]]
            for place in range(_UNROLL):
                sets[place % 2] = step(f.add(f.mul(index, _UNROLL), place), sets[place % 2])
            return sets[0] + sets[1]

        done = f.number(f.divide(self.keys, _UNROLL))
        carried = f.loop(done, some, start + start, may_be_empty=True)
        joined = [join(a, b) for a, b in zip(carried[:count], carried[count:], strict=True)]
        first = f.mul(done, _UNROLL)
        return f.loop(f.remainder(self.keys, _UNROLL), lambda i, c: step(f.add(first, i), c), joined, may_be_empty=True)

    def _products(self, queries: int, scores: Value) -> None:
        f, isa, columns = self.f, self.isa, self.sizes.panels * PANEL
        vectors, first = self._vectors(columns), 0
        rows = cover(queries, tiles_of(isa)[0][0])
        for height in [rows.size] * rows.many + [rows.size - 1] * rows.rest:
            tile = Tile(
                1, height, vectors, 4 if height > 1 else 0, 0, columns * 4 if height > 1 else 0, 0, IDENTITY,
                unroll=_UNROLL, has_rest=True, near=512, input_step=queries * 4,
            )  # fmt: skip
            for column in range(0, columns, vectors * isa.lanes):
                panel, lane = divmod(column, PANEL)
                weights = f.offset(f.offset(self.packed, f.mul(self.keys, panel * PANEL * 4)), lane * 4)
                at = f.offset(self.workspace, self.sizes.results + (first * columns + column) * 4)
                narrow = replace(tile, vectors=min(vectors, (columns - column) // isa.lanes))
                self._call(narrow, f.offset(scores, first * 4), weights, at, self.value_context)
            first += height

    def _call(self, tile: Tile, pixels: Value, weights: Value, output: Value, context: Value) -> None:
        symbol = tile.symbol(self.isa)
        self.tiles[symbol] = tile
        self.f.call("void", symbol, pixels, weights, output, weights, context, weights, pixels)


def _step(layout: Layout, axis: int) -> int:
    """Returns the bytes from one element of an axis to the next; 0 where there is only one."""
    return layout.strides[axis] if layout.shape[axis] > 1 else 0


def _divided(f: Function, number: Value, by: Value) -> tuple[Value, Value]:
    """Returns quotient and remainder of two numbers that are not negative."""
    quotient = f.op("i64", f"udiv i64 {number.text}, {by.text}")
    return quotient, f.number(f.sub(number, f.mul(quotient, by)))
