"""Recurrences over time: LSTM, GRU, RNN, given every gate's share of the input.

    sum[g, u] = input[t, g, u] + sum over k of h[t - 1, k] * w[g, u, k];  h[t, u], c[t, u] = cell(sum, h, c)

The input's shares of all steps are one matrix product before (`Convolve`), its channels in the order in which they are
read here: [block of 16 units][gate][unit]. A step goes through the units by vectors: all gates of one vector of units
are summed in registers, starting with the input's share, and the cell is computed of them there; so a step stores the
hidden state (where the output has it, which is where the next step reads it) and the cell state and nothing else.
Weights are packed [vector of units][k][gate][lane], one stream. For one sequence that is a product of a matrix and a
vector, 2 flops for 4 bytes, which come from L2 in every step; every other step goes through the units backwards, so
that the weights it begins with are still in L1. More sequences share what is loaded, a tile of them at a time.

A unit is a tile of sequences in one direction. The number of steps is a number of the record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from strop.compiler.cells import CELL, GATED, HIDDEN, INPUTS, PLACES, SUMS, UPDATE, Phase
from strop.compiler.emit import Module, Number, Value
from strop.compiler.expressions import IDENTITY, emit_expression, operands
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Cost, Needs, Problem, Recurrence, Split
from strop.compiler.kernels.matrix_tile import PANEL
from strop.compiler.kernels.record import start_kernel

_MOST_ROWS: Final = 8
_CHAINS: Final = 8  # sums under way at once, to keep two units with a latency of four busy


@dataclass(frozen=True, slots=True)
class RecurrentSchedule:
    """rows: sequences of a tile; sets: of accumulators, which take turns; unroll: elements of a pass."""

    rows: int
    sets: int
    unroll: int

    def __str__(self) -> str:
        return f"r{self.rows}s{self.sets}u{self.unroll}"


class RecurrentKernel:
    """All steps of a layer, in all its directions."""

    family = "recurrent"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts float32 whose channels are neighbours."""
        if not isinstance(problem, Recurrence):
            return "not a recurrence"
        states = [problem.output, *(problem.operand(name) for name in ("input", "hidden", "cell"))]
        for layout in states:
            if layout is not None and layout.dtype != "float32":
                return "an operand is not float32"
            if layout is not None and layout.shape[2] > 1 and layout.strides[2] != layout.itemsize:
                return "an operand's channels are not neighbours"
        lengths = problem.operand("lengths")
        if lengths is not None and lengths.dtype != "int32":
            return f"lengths of {lengths.dtype}"
        return "" if problem.epilogue == IDENTITY else "an epilogue"

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for channels that are neighbours."""
        return Needs()

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[RecurrentSchedule]:
        """Returns the one schedule: as many sequences as the registers allow, of equal tiles."""
        assert isinstance(problem, Recurrence)
        gates = max(len(phase.gates) for phase in problem.cell.phases)
        most = 1 if problem.operand("lengths") is not None else min(_MOST_ROWS, (isa.registers - 2) // gates - 1)
        tiles = -(-problem.batch // most)
        rows, sets = -(-problem.batch // tiles), 1
        while gates * rows * sets < _CHAINS and gates * (rows * sets * 2 + 1) + 2 <= isa.registers:
            sets *= 2
        return [RecurrentSchedule(rows, sets, max(4, sets))]

    def cost(self, problem: Problem, schedule: RecurrentSchedule, isa: Isa) -> Cost:
        """Returns the products; the weights come from L2 in every step, or from further away."""
        assert isinstance(problem, Recurrence)
        steps = len(problem.reverse) * problem.steps
        weights = 4.0 * problem.cell.gates * problem.units**2
        tiles = -(-problem.batch // schedule.rows)
        flops = steps * problem.batch * (weights / 2 + problem.units * problem.cell.flops)
        level = "l2" if weights < 1.5e6 else "l3"
        return Cost(flops, 0.7, {level: steps * tiles * weights}, overhead=1e-6 + steps * 1e-7)

    def split(self, problem: Problem, schedule: RecurrentSchedule, isa: Isa) -> Split:
        """Divides directions and tiles of sequences."""
        assert isinstance(problem, Recurrence)
        return Split(len(problem.reverse) * -(-problem.batch // schedule.rows))

    def workspace(self, problem: Problem, schedule: RecurrentSchedule, isa: Isa) -> int:
        """Needs the states of a tile that are no part of the output."""
        assert isinstance(problem, Recurrence)
        return len(_kept(problem)) * schedule.rows * _padded(problem.units) * 4

    def pack(
        self,
        problem: Problem,
        schedule: RecurrentSchedule,
        isa: Isa,
        weights: np.ndarray,
        channels: Sequence[np.ndarray],
    ) -> list[np.ndarray]:
        """Returns the recurrent weights by phases and vectors of units; then zeros, and the vectors by directions."""
        assert isinstance(problem, Recurrence)
        directions, units, cell = len(problem.reverse), problem.units, problem.cell
        whole = np.zeros((directions, cell.gates, _rounded(units, isa.lanes), units), np.float32)
        whole[:, :, :units] = weights.reshape(directions, cell.gates, units, units)
        split = whole.reshape(directions, cell.gates, -1, isa.lanes, units)
        phases = [split[:, list(phase.gates)].transpose(0, 2, 4, 1, 3).reshape(directions, -1) for phase in cell.phases]
        vectors = np.zeros((1 + directions * cell.vectors, _padded(units)), np.float32)
        for index, vector in enumerate(channels):
            vectors[1 + index :: cell.vectors, :units] = vector.reshape(directions, units)
        return [np.ascontiguousarray(np.concatenate(phases, axis=1)).reshape(-1), vectors.reshape(-1)]

    def emit(self, problem: Problem, schedule: RecurrentSchedule, isa: Isa) -> Code:
        """Returns its code, one function."""
        assert isinstance(problem, Recurrence)
        return _Emitter(problem, schedule, isa).emit()


def _rounded(units: int, by: int) -> int:
    return -(-units // by) * by


def _padded(units: int) -> int:
    """Returns the numbers of a state as the workspace and the packed vectors hold it."""
    return _rounded(units, PANEL)


def _kept(problem: Recurrence) -> list[int]:
    """Returns the places whose values a tile keeps in the workspace."""
    made = {place for phase in problem.cell.phases for place, _ in phase.results}
    return [place for place in (CELL, UPDATE, GATED) if place in made]


@dataclass(frozen=True, slots=True)
class _Sequences:
    """A tile at work: its direction, its rows, and how many steps it takes (`count`, of `steps`)."""

    direction: Number
    row: Number
    rows: int
    count: Number
    weights: Value
    vectors: Value


@dataclass(frozen=True, slots=True)
class _Step:
    """A phase of one step: its weights, the input's shares, where the result goes, the states, what is multiplied."""

    phase: Phase
    weights: Value
    shares: Value
    output: Value
    before: list[Value]
    sources: list[Value]


class _Emitter:
    """Writes the code of one problem."""

    def __init__(self, problem: Recurrence, schedule: RecurrentSchedule, isa: Isa) -> None:
        self.problem, self.schedule, self.isa = problem, schedule, isa
        self.cell, self.units = problem.cell, problem.units
        self.input, self.output = problem.inputs[0], problem.output
        self.directions = len(problem.reverse)
        self.vectors_of_units = -(-self.units // isa.lanes)
        self.tiles = -(-problem.batch // schedule.rows)
        self.row_bytes = _padded(self.units) * 4

    def emit(self) -> Code:
        problem, isa = self.problem, self.isa
        named = ("input", *problem.given)
        arguments = (
            *(f"input{index}" for index in range(len(named))),
            "output",
            "weights0",
            "weights1",
            *(["workspace"] if _kept(problem) else []),
            "steps",
            "begin",
            "end",
        )
        # The number of steps is no part of the code.
        layouts = [replace(layout, shape=layout.shape[1:]) for layout in (self.input, self.output)]
        described = (
            layouts,
            problem.inputs[1:],
            self.cell,
            problem.reverse,
            problem.given,
            problem.finals,
            self.schedule,
        )
        digest = hashlib.sha256(repr(described).encode()).hexdigest()[:8]
        symbol = f"recurrent_{self.cell}_{isa.key}_{self.units}_{self.schedule}_{digest}"
        module = Module(isa)
        numbers = {"steps": problem.steps}
        f, record = start_kernel(module, symbol, arguments, numbers)
        self.f, self.record = f, record
        self.pointers = {name: record[f"input{index}"] for index, name in enumerate(named)}
        f.loop(f.sub(record["end"], record["begin"]), self._unit, may_be_empty=True)
        f.ret()
        return Code(symbol, arguments, {symbol: module.text()}, numbers)

    # -- a tile of sequences

    def _unit(self, index: Number, _: list[Value]) -> None:
        f, rows = self.f, self.schedule.rows
        number = f.add(self.record["begin"], index)
        direction: Number = f.divide(number, self.tiles) if self.directions > 1 else 0
        tile: Number = f.remainder(number, self.tiles)
        left = self.problem.batch - (self.tiles - 1) * rows
        if left == rows:
            self._sequences(direction, f.mul(tile, rows), rows)
            return
        last = f.number(self.tiles - 1)
        f.when(f.compare("ult", f.number(tile), last), lambda: self._sequences(direction, f.mul(tile, rows), rows))
        f.when(f.compare("eq", f.number(tile), last), lambda: self._sequences(direction, f.mul(tile, rows), left))

    def _sequences(self, direction: Number, row: Number, rows: int) -> None:
        f = self.f
        steps = self.record["steps"]
        a_direction = sum(len(phase.gates) for phase in self.cell.phases) * self.vectors_of_units
        a_direction *= self.units * self.isa.vector_bytes
        tile = _Sequences(
            direction,
            row,
            rows,
            self._length(row, steps),
            f.offset(self.record["weights0"], f.mul(direction, a_direction)),
            f.offset(
                self.record["weights1"], f.add(self.row_bytes, f.mul(direction, self.cell.vectors * self.row_bytes))
            ),
        )
        forth = [self.input.strides[0], self.output.strides[0]]
        starts = [
            self._at(self.pointers["input"], self.input.strides, 0, row, self._input_channels(direction)),
            self._at(self.record["output"], self.output.strides, 0, row, f.mul(direction, self.units)),
        ]
        moves: list[Number] = list(forth)
        if any(self.problem.reverse):
            last = f.sub(tile.count, 1)
            ends = [f.offset(at, f.mul(last, by)) for at, by in zip(starts, forth, strict=True)]
            if all(self.problem.reverse):
                starts, moves = ends, [-by for by in forth]
            else:  # the second of two directions
                back = f.compare("ne", f.number(direction), f.number(0))
                starts = [f.select(back, end, start) for end, start in zip(ends, starts, strict=True)]
                moves = [f.select(back, f.number(-by), f.number(by)) for by in forth]
        hidden = self._initial("hidden", tile)
        if self.cell.has_cell:
            cells = self._initial("cell", tile)
            for number in range(rows):
                self._copy(cells[number], self._kept(CELL, number))

        def step(index: Number, carried: list[Value]) -> list[Value]:
            shares, output, *before = carried
            self._step(tile, index, shares, output, before)
            following = [f.offset(output, number * self.output.strides[1]) for number in range(rows)]
            return [f.offset(shares, moves[0]), f.offset(output, moves[1]), *following]

        has_lengths = "lengths" in self.problem.given
        _, _, *hidden = f.loop(tile.count, step, [*starts, *hidden], may_be_empty=has_lengths)
        if has_lengths:
            self._clear(tile)
        for place, name in enumerate(self.problem.finals):
            for number in range(rows):
                at = self._at(
                    self.record["output"], self.output.strides, f.add(steps, place), f.add(row, number),
                    f.mul(direction, self.units),
                )  # fmt: skip
                self._copy(hidden[number] if name == "hidden" else self._kept(CELL, number), at)

    def _input_channels(self, direction: Number) -> Number:
        return self.f.mul(direction, self.cell.gates * _padded(self.units))

    def _at(self, base: Value, strides: Sequence[int], first: Number, second: Number, channel: Number) -> Value:
        """Returns the address of an element of three axes."""
        f = self.f
        at = f.offset(f.offset(base, f.mul(first, strides[0])), f.mul(second, strides[1]))
        return f.offset(at, f.mul(channel, 4))

    def _length(self, row: Number, steps: Value) -> Number:
        """Returns the steps of a sequence, between none and all."""
        f, lengths = self.f, self.problem.operand("lengths")
        if lengths is None:
            return steps
        length = f.load("i32", self.pointers["lengths"], f.mul(row, lengths.strides[1]))
        length = f.call("i64", "llvm.smax.i64", f.convert("sext", length, "i64"), f.number(0))
        return f.minimum(length, steps)

    def _initial(self, name: str, tile: _Sequences) -> list[Value]:
        """Returns where each row's state before the first step stands."""
        layout = self.problem.operand(name)
        if layout is None:
            return [self.record["weights1"]] * tile.rows  # zeros
        f, pointer = self.f, self.pointers[name]
        return [
            self._at(pointer, layout.strides, tile.direction, f.add(tile.row, number), 0) for number in range(tile.rows)
        ]

    def _kept(self, place: int, row: int) -> Value:
        """Returns where the workspace holds a state of a row."""
        index = _kept(self.problem).index(place) * self.schedule.rows + row
        return self.f.offset(self.record["workspace"], index * self.row_bytes)

    def _copy(self, source: Value | None, target: Value) -> None:
        """Copies a row's state, or clears it."""
        f, isa = self.f, self.isa

        def vector(index: Number, lanes: int) -> None:
            at = f.mul(index, isa.vector_bytes)
            value = f.zero(isa.vector) if source is None else f.load_lanes(isa.vector, source, at, lanes=lanes)
            f.store_lanes(value, target, at, lanes=lanes)

        f.loop(self.units // isa.lanes, lambda index, _: vector(index, isa.lanes))
        if self.units % isa.lanes:
            vector(self.units // isa.lanes, self.units % isa.lanes)

    def _clear(self, tile: _Sequences) -> None:
        """Clears what lies behind the last step of a short sequence."""
        f = self.f

        def step(index: Number, _: list[Value]) -> None:
            at = f.add(tile.count, index)
            channel = f.mul(tile.direction, self.units)
            self._copy(None, self._at(self.record["output"], self.output.strides, at, tile.row, channel))

        f.loop(f.sub(self.record["steps"], tile.count), step, may_be_empty=True)

    # -- a step

    def _step(self, tile: _Sequences, index: Number, shares: Value, output: Value, before: list[Value]) -> None:
        f, isa = self.f, self.isa
        whole, lanes = divmod(self.units, isa.lanes)
        weights = tile.weights
        is_odd = f.compare("ne", f.number(f.remainder(index, 2)), f.number(0))
        for phase in self.cell.phases:
            sources = before
            if phase.source == GATED:
                sources = [self._kept(GATED, number) for number in range(tile.rows)]

            at = _Step(phase, weights, shares, output, before, sources)

            def vector(number: Number, _: list[Value], at: _Step = at) -> None:
                if not isinstance(number, int):
                    number = f.select(is_odd, f.number(f.sub(f.number(whole - 1), number)), number)
                self._vector(tile, at, number, isa.lanes)

            f.loop(whole, vector)
            if lanes:
                self._vector(tile, at, whole, lanes)
            size = len(phase.gates) * self.vectors_of_units * self.units * isa.vector_bytes
            weights = f.offset(weights, size)

    def _vector(self, tile: _Sequences, step: _Step, number: Number, lanes: int) -> None:
        """Computes one vector of units of every row."""
        f, isa, phase = self.f, self.isa, step.phase
        in_panel = PANEL // isa.lanes
        place = f.mul(f.divide(number, in_panel), self.cell.gates * PANEL * 4)
        place = f.add(place, f.mul(f.remainder(number, in_panel), isa.vector_bytes))
        at = f.mul(number, isa.vector_bytes)
        shares = f.offset(step.shares, place)

        def share(gate: int, row: int) -> Value:
            return f.load(isa.vector, shares, row * self.input.strides[1] + gate * PANEL * 4)

        sums = [
            f.zero(isa.vector) if gate in phase.apart else share(gate, row)
            for row in range(tile.rows)
            for gate in phase.gates
        ]
        weights = f.offset(step.weights, f.mul(number, self.units * len(phase.gates) * isa.vector_bytes))
        sums = self._products(phase, sums, weights, step.sources)
        used = {place for _, expression in phase.results for place in operands(expression)}
        vectors = [
            f.load(isa.vector, tile.vectors, f.add(index * self.row_bytes, at)) for index in range(self.cell.vectors)
        ]
        for row in range(tile.rows):
            values = [Value("", "")] * PLACES
            for index, gate in enumerate(phase.gates):
                values[SUMS + gate] = sums[row * len(phase.gates) + index]
                if INPUTS + gate in used:
                    values[INPUTS + gate] = share(gate, row)
            if HIDDEN in used:
                values[HIDDEN] = f.load_lanes(isa.vector, step.before[row], at, lanes=lanes)
            for kept in (CELL, UPDATE):
                if kept in used:
                    values[kept] = f.load(isa.vector, self._kept(kept, row), at)
            for place_of_result, expression in phase.results:
                result = emit_expression(f, expression, values, vectors, isa.lanes)
                values[place_of_result] = result
                if place_of_result == HIDDEN:
                    f.store_lanes(result, step.output, f.add(row * self.output.strides[1], at), lanes=lanes)
                else:
                    f.store(result, self._kept(place_of_result, row), at)

    def _products(self, phase: Phase, sums: list[Value], weights: Value, sources: list[Value]) -> list[Value]:
        """Adds the products of a vector of units, of all gates and rows."""
        f, isa, sets, unroll = self.f, self.isa, self.schedule.sets, self.schedule.unroll
        gates, count = len(phase.gates), len(sums)
        size = gates * isa.vector_bytes

        def body(steps: int, index: Number, carried: list[Value]) -> list[Value]:
            *totals, stream = carried[:-1]
            place = carried[-1]
            for step in range(steps):
                loaded = [f.load(isa.vector, stream, step * size + gate * isa.vector_bytes) for gate in range(gates)]
                first = step % sets * count
                for row, source in enumerate(sources):
                    state = f.splat(f.load("float", f.offset(source, place), step * 4), isa.lanes)
                    for gate in range(gates):
                        at = first + row * gates + gate
                        totals[at] = f.fma(state, loaded[gate], totals[at])
            following = f.op("i64", f"add i64 {place.text}, {steps * 4}")
            return [*totals, f.offset(stream, steps * size), following]

        carried = [*sums, *[f.zero(isa.vector)] * (count * (sets - 1)), weights, Value("0", "i64")]
        passes, rest = divmod(self.units, unroll)
        carried = f.loop(passes, lambda index, values: body(unroll, index, values), carried)
        if rest:
            carried = body(rest, 0, carried)
        totals = carried[: count * sets]
        while len(totals) > count:
            half = len(totals) // 2
            totals = [f.fadd(a, b) for a, b in zip(totals[:half], totals[half:], strict=True)]
        return totals
