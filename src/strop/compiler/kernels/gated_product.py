"""A 1x1 convolution of a gated image: the second half of squeeze-and-excite, without a pass of its own for the gate.

    y[n, o, i, j] = epilogue(sum over c of  w[o, c] * gate[n, c] * x[n, c, i, j])

The gate is multiplied into whatever is smaller, the weights (once for an image and thread) or the pixels (once), on
their way into the workspace, from where the register tiles of matrix products read them. A unit is a group of rows,
and where pixels are gated, a part of the output channels: few pixels with many weights are divided by channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Convolution, Cost, FusedBlock, Needs, Problem, Split
from strop.compiler.kernels.convolution_geometry import Geometry, Steps, refuses_convolution, steps_of
from strop.compiler.kernels.matrix_nest import MatrixNest, Prefetch, Runs, tiles_of
from strop.compiler.kernels.matrix_tile import PANEL
from strop.compiler.kernels.packing import pack_channel_blocks, pack_panels
from strop.compiler.kernels.record import Record, start_kernel
from strop.compiler.layouts import channels_last

_PIXELS: Final = 96
"""Pixels of a group of rows, about: enough for the weights to be read seldom, few enough to stay in L1 or nearly."""

_PARTS: Final = 4
"""Parts of the output channels that threads divide where there is but one group of rows."""

_L2: Final = 2**20
"""Bytes of L2 that costs count on."""


@dataclass(frozen=True, slots=True)
class GatedSchedule:
    """pixels, vectors: the register tile; rows: of a unit; gated: what the gate is multiplied into."""

    pixels: int
    vectors: int
    rows: int
    gated: str

    def __str__(self) -> str:
        return f"t{self.pixels}x{self.vectors}r{self.rows}{self.gated[0]}"


class GatedProduct:
    """A 1x1 convolution of an image times one number a channel."""

    family = "gated_product"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts a block of one float32 1x1 convolution with a gate."""
        if not isinstance(problem, FusedBlock) or not problem.gate:
            return "no gate"
        if len(problem.stages) != 1:
            return "more than one stage"
        stage = problem.stages[0]
        if stage.weights[2:] != (1, 1) or stage.strides != (1, 1) or any(stage.pads) or stage.groups != 1:
            return "not a 1x1 convolution"
        if stage.accumulator != "float32" or stage.output.dtype != "float32":
            return "not float32"
        image, gate = problem.inputs[0], problem.inputs[problem.gate]
        if not image.is_channels_last:
            return "the input's channels are not neighbours"
        if gate.shape != (*image.shape[:2], 1, 1) or not gate.is_channels_last or gate.dtype != "float32":
            return "the gate is not one float32 a channel, neighbours in memory"
        return refuses_convolution(stage)

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for channels-last layouts."""
        return Needs()

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[GatedSchedule]:
        """Returns a schedule for each register tile and either side of the product."""
        assert isinstance(problem, FusedBlock)
        _, _, height, width = problem.output.shape
        rows = min((r for r in range(1, height + 1) if height % r == 0), key=lambda r: abs(r * width - _PIXELS))
        return [GatedSchedule(*tile, rows, gated) for tile in tiles_of(isa) for gated in ("weights", "pixels")]

    def cost(self, problem: Problem, schedule: GatedSchedule, isa: Isa) -> Cost:
        """Returns the multiply-adds of the product, and the gating beside them."""
        assert isinstance(problem, FusedBlock)
        plan = _Plan(problem, schedule, isa)
        stage = plan.stage
        units = stage.output.shape[0] * plan.groups
        cycles = plan.nest.cycles(plan.nest.geometry.sizes()) * units
        gating = 2 * stage.weights[0] * stage.weights[1] if plan.of_weights else stage.output.size // stage.weights[0]
        gating *= 1 if plan.of_weights else stage.weights[1]
        cycles += 1.5 * gating / isa.lanes
        images = float(sum(layout.size * layout.itemsize for layout in (*problem.inputs, problem.output)))
        moved = {"l3" if images > _L2 else "l2": images}
        moved["l3"] = moved.get("l3", 0.0) + stage.weights[0] * stage.weights[1] * 4
        return Cost(2.0 * stage.macs, stage.macs / plan.nest.macs_a_cycle / cycles, moved)

    def split(self, problem: Problem, schedule: GatedSchedule, isa: Isa) -> Split:
        """Divides groups of rows, and the parts of the output channels."""
        assert isinstance(problem, FusedBlock)
        plan = _Plan(problem, schedule, isa)
        return Split(problem.output.shape[0] * plan.groups * plan.parts)

    def workspace(self, problem: Problem, schedule: GatedSchedule, isa: Isa) -> int:
        """Needs room for what is gated."""
        assert isinstance(problem, FusedBlock)
        return _Plan(problem, schedule, isa).bytes

    def pack(
        self, problem: Problem, schedule: GatedSchedule, isa: Isa, weights: np.ndarray, channels: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Returns the weights in panels of 16 output channels, and the per-channel vectors likewise."""
        assert isinstance(problem, FusedBlock)
        ((stage, own, vectors),) = problem.parts(weights, channels)
        ordered = own.reshape(own.shape[0], 1, own.shape[1])
        return [pack_panels(ordered, 1), pack_channel_blocks(stage, vectors, own)]

    def emit(self, problem: Problem, schedule: GatedSchedule, isa: Isa) -> Code:
        """Returns its code."""
        assert isinstance(problem, FusedBlock)
        symbol = f"{self.family}_f32_{isa.key}_{schedule}_{problem.digest}"
        extras = tuple(f"input{index}" for index in range(1, len(problem.inputs)))
        arguments = ("input0", "output", *extras, "weights0", "weights1", "workspace", "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments)
        emitter = _Emitter(f, record, _Plan(problem, schedule, isa))
        f.loop(f.sub(record["end"], record["begin"]), emitter.unit, may_be_empty=True)
        f.ret()
        tiles = {tile.symbol(isa): tile.emit(isa) for tile in emitter.plan.nest.used}
        return Code(symbol, arguments, {symbol: module.text()} | tiles)


class _Plan:
    """The nest over a group of rows, and how units divide the problem."""

    def __init__(self, problem: FusedBlock, schedule: GatedSchedule, isa: Isa) -> None:
        self.problem, self.schedule, self.isa = problem, schedule, isa
        self.of_weights = schedule.gated == "weights"
        self.stage: Convolution = problem.stages[0]
        _, _, height, self.columns = problem.output.shape
        self.groups = height // schedule.rows
        self.pixel = channels_last(problem.inputs[0].shape).strides[3]
        steps = steps_of(self.stage)
        if not self.of_weights:
            steps[0] = Steps(0, self.columns * self.pixel, self.pixel)
        geometry = Geometry((1, 1, schedule.rows, self.columns), steps, schedule.pixels)
        images = sum(layout.size * layout.itemsize for layout in (problem.output, *self.stage.inputs[1:]))
        fetch = Prefetch(
            near=512,
            far=not self.of_weights and geometry.tiles > 1,
            early=len(self.stage.inputs) > 1 or images > _L2,
            soon=self.of_weights and geometry.across.count > 1,
        )
        outputs, inputs = self.stage.weights[:2]
        self.nest = MatrixNest(self.stage, isa, geometry, Runs((0,), inputs), schedule.vectors, geometry.tiles, fetch)
        self.parts = 1 if self.of_weights or self.groups > 1 else min(_PARTS, self.nest.columns)
        whole = -(-outputs // PANEL) * PANEL * inputs * 4
        self.bytes = whole if self.of_weights else schedule.rows * self.columns * self.pixel


class _Emitter:
    def __init__(self, f: Function, record: Record, plan: _Plan) -> None:
        self.f, self.record, self.plan = f, record, plan
        self.context = plan.nest.context(f)

    def unit(self, index: Number, _: list[Value]) -> None:
        """Emits one group of rows, or a part of its output channels; what is gated is gated anew where it changes."""
        f, plan, problem, record = self.f, self.plan, self.plan.problem, self.record
        number = f.add(record["begin"], index)
        part, lines = f.remainder(number, plan.parts), f.divide(number, plan.parts)
        group, image = f.remainder(lines, plan.groups), f.divide(lines, plan.groups)
        row = f.mul(group, plan.schedule.rows)
        names = ["input0", "output", *(f"input{index}" for index in problem.operands[0])]
        layouts = [problem.inputs[0], problem.output, *self.plan.stage.inputs[1:]]
        pixels, *outputs = (
            f.offset(f.offset(record[name], f.mul(image, each.strides[0])), f.mul(row, each.strides[2]))
            for name, each in zip(names, layouts, strict=True)
        )
        gate = f.offset(record[f"input{problem.gate}"], f.mul(image, problem.inputs[problem.gate].strides[0]))
        changes = f.compare("eq", f.number(group if plan.of_weights else part), f.number(0))
        is_first = f.compare("eq", f.number(index), f.number(0))
        is_new = f.binary("or", is_first, changes)
        if plan.of_weights:
            f.when(is_new, lambda: self.gate_weights(gate))
            packed = (record["workspace"], record["weights1"])
        else:
            f.when(is_new, lambda: self.gate_pixels(gate, pixels))
            packed, pixels = (record["weights0"], record["weights1"]), record["workspace"]
        first = f.divide(f.mul(part, plan.nest.columns), plan.parts)
        after = f.divide(f.mul(f.add(part, 1), plan.nest.columns), plan.parts)

        def column(number: Number, _: list[Value]) -> None:
            plan.nest.run(
                f, f.add(first, number), 0, plan.nest.geometry.tiles, pixels=pixels, packed=packed, outputs=outputs,
                context=self.context,
            )  # fmt: skip

        f.loop(f.sub(after, first), column)

    def gate_weights(self, gate: Value) -> None:
        """Emits the weights times the gate into the workspace."""
        f, isa, inputs = self.f, self.f.isa, self.plan.stage.weights[1]
        panels = -(-self.plan.stage.weights[0] // PANEL)
        line = PANEL * 4

        def panel(index: Number, _: list[Value]) -> None:
            place = f.mul(index, inputs * line)
            source, target = f.offset(self.record["weights0"], place), f.offset(self.record["workspace"], place)

            def steps(count: int, first: int) -> None:
                def some(number: Number, _: list[Value]) -> None:
                    at = f.add(f.mul(number, count), first)
                    numbers = f.offset(gate, f.mul(at, 4))
                    read, write = f.offset(source, f.mul(at, line)), f.offset(target, f.mul(at, line))
                    for step in range(count):
                        factor = f.splat(f.load("float", numbers, 4 * step), isa.lanes)
                        for part in range(0, line, isa.vector_bytes):
                            value = f.load(isa.vector, read, step * line + part)
                            f.store(f.fmul(value, factor), write, step * line + part)

                f.loop((inputs - first) // count, some)

            steps(4, 0)
            steps(1, inputs // 4 * 4)

        f.loop(panels, panel)

    def gate_pixels(self, gate: Value, pixels: Value) -> None:
        """Emits a group's rows times the gate into the workspace, pixel after pixel."""
        f, isa, plan = self.f, self.f.isa, self.plan
        image = plan.problem.inputs[0]
        whole, rest = divmod(image.shape[1], isa.lanes)

        def vector(source: Value, target: Value, at: Number, lanes: int) -> None:
            place = f.mul(at, isa.vector_bytes)
            factor = f.load_lanes(isa.vector, f.offset(gate, place), lanes=lanes)
            value = f.load_lanes(isa.vector, f.offset(source, place), lanes=lanes)
            f.store_lanes(f.fmul(value, factor), f.offset(target, place), lanes=lanes)

        def one(number: Number, _: list[Value]) -> None:
            row, column = f.divide(number, plan.columns), f.remainder(number, plan.columns)
            source = f.offset(f.offset(pixels, f.mul(row, image.strides[2])), f.mul(column, image.strides[3]))
            target = f.offset(self.record["workspace"], f.mul(number, plan.pixel))
            f.loop(whole, lambda at, _: vector(source, target, at, isa.lanes))
            if rest:
                vector(source, target, whole, rest)

        f.loop(plan.schedule.rows * plan.columns, one)
