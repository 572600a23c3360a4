"""A depthwise convolution with the 1x1 convolutions around it, by groups of rows: inverted residuals and their parts.

    e = epilogue(expand * x)   d = epilogue(depthwise * e)   y = epilogue(project * d)

or without expand, or without project; instead of expand there may be a stem that reads the caller's image. What
expands is large and short-lived: it never leaves the caches. A unit is a group of output rows. The expanded rows that
its windows span lie in a ring in the workspace; going from unit to unit only the new ones are computed, and only who
begins somewhere (a thread, an image) computes all of them. The depthwise tiles read rows through a table of pointers,
so the ring needs no order, and rows outside the image are a row of zeros; columns outside are left out. Their results,
a group of rows, lie behind the ring until project has read them.

Intensity: the arithmetic of all three for the block's input and output alone, and the weights from L2 once a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Code, Convolution, Cost, FusedBlock, Needs, Problem, Split
from strop.compiler.kernels.convolution_geometry import Geometry, refuses_convolution, steps_of
from strop.compiler.kernels.convolution_stem import StemPlan, StemSchedule
from strop.compiler.kernels.depthwise import DepthwiseNest
from strop.compiler.kernels.depthwise_tile import pack_depthwise
from strop.compiler.kernels.matrix_nest import MatrixNest, Prefetch, Runs, tiles_of
from strop.compiler.kernels.packing import pack_channel_blocks, pack_panels
from strop.compiler.kernels.record import Record, start_kernel
from strop.compiler.layouts import ALIGNMENT, Layout, channels_last

_L2: Final = 2**20
"""Bytes of L2 that costs count on."""


@dataclass(frozen=True, slots=True)
class BlockSchedule:
    """rows: output rows of a group; pixels: of a depthwise tile; front, back: pixels x vectors of matrix tiles."""

    rows: int
    pixels: int
    front: tuple[int, int] = (0, 0)
    back: tuple[int, int] = (0, 0)

    def __str__(self) -> str:
        parts = [f"r{self.rows}x{self.pixels}"]
        parts += [f"{name}{tile[0]}x{tile[1]}" for name, tile in (("e", self.front), ("p", self.back)) if tile[0]]
        return "".join(parts)


class InvertedResidual:
    """Depthwise convolution between 1x1 convolutions."""

    family = "inverted_residual"

    def accepts(self, problem: Problem, isa: Isa) -> str:
        """Accepts float32 blocks of a 1x1 convolution or a stem, a depthwise one, a 1x1 one; either end may lack."""
        if not isinstance(problem, FusedBlock):
            return "not a block"
        if problem.gate:
            return "it has a gate"
        roles = _roles(problem)
        if roles is None:
            return "no depthwise convolution between matrix products"
        for stage in problem.stages:
            reason = refuses_convolution(stage)
            if reason or stage.accumulator != "float32" or stage.output.dtype != "float32":
                return reason or "not float32"
        middle = problem.stages[roles.middle]
        if any(problem.operands[: len(problem.stages) - 1]):
            return "only the last epilogue may read tensors"
        if problem.means and roles.middle + 1 < len(problem.stages):
            return "means of a projected image"
        if _span(middle, 1) < middle.strides[0]:
            return "windows of the depthwise convolution do not meet"
        image = problem.inputs[0]
        if roles.stem:
            if image.strides[3] != image.itemsize:
                return "the input's pixels are not neighbours in planes"
        elif not image.is_channels_last:
            return "the input's channels are not neighbours"
        return ""

    def needs(self, problem: Problem, isa: Isa) -> Needs:
        """Asks for channels-last layouts, of a stem's input for the user's array."""
        assert isinstance(problem, FusedBlock)
        roles = _roles(problem)
        return Needs(input_order="dense") if roles is not None and roles.stem else Needs()

    def candidates(self, problem: Problem, isa: Isa) -> Sequence[BlockSchedule]:
        """Returns a schedule for each number of rows that divides the image."""
        assert isinstance(problem, FusedBlock)
        roles = _roles(problem)
        assert roles is not None
        height = problem.stages[-1].output.shape[2]
        found = []
        for rows, pixels in ((2, 7), (1, 14)) if isa.registers == 32 else ((2, 4), (1, 7)):
            if (
                height % rows == 0
                and problem.means in (0, rows)
                and (rows == 1 or problem.stages[roles.middle].weights[3] <= 5)
            ):
                found.append(_scheduled(problem, rows, pixels, isa))
        return found

    def cost(self, problem: Problem, schedule: BlockSchedule, isa: Isa) -> Cost:
        """Returns the arithmetic of all stages; the images once and the weights once a group come from L2."""
        assert isinstance(problem, FusedBlock)
        plan = _Plan(problem, schedule, isa)
        flops = 2.0 * sum(stage.macs for stage in problem.stages)
        weights = sum(stage.weights[0] * stage.weights[1] * 4 for stage in problem.stages)
        images = sum(layout.size * layout.itemsize for layout in (*problem.inputs, problem.output))
        moved = {"l2": float(weights * plan.units), "l3" if images > _L2 else "memory": 0.0}
        moved["l3"] = float(images)
        return Cost(flops, plan.efficiency(), moved)

    def split(self, problem: Problem, schedule: BlockSchedule, isa: Isa) -> Split:
        """Divides the groups of rows of all images."""
        assert isinstance(problem, FusedBlock)
        return Split(_Plan(problem, schedule, isa).units)

    def workspace(self, problem: Problem, schedule: BlockSchedule, isa: Isa) -> int:
        """Needs the ring, a row of zeros, and a group of rows between depthwise and project."""
        assert isinstance(problem, FusedBlock)
        return _Plan(problem, schedule, isa).bytes

    def pack(
        self, problem: Problem, schedule: BlockSchedule, isa: Isa, weights: np.ndarray, channels: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Returns each stage's arrays, one after the other."""
        assert isinstance(problem, FusedBlock)
        packed: list[np.ndarray] = []
        roles = _roles(problem)
        assert roles is not None
        for index, (stage, own, vectors) in enumerate(problem.parts(weights, channels)):
            if index == roles.middle:
                packed.append(pack_depthwise(own, vectors))
                continue
            if roles.stem and index == 0:
                runs = _Plan(problem, schedule, isa).stem_plan().nest.runs
                ordered = own.reshape(own.shape[0], len(runs.offsets), runs.steps)
            else:
                ordered = own.reshape(own.shape[0], 1, own.shape[1])
            packed += [pack_panels(ordered, 1), pack_channel_blocks(stage, vectors, own)]
        return packed

    def emit(self, problem: Problem, schedule: BlockSchedule, isa: Isa) -> Code:
        """Returns its code: the loop over groups of rows, and the tiles of all stages."""
        assert isinstance(problem, FusedBlock)
        symbol = f"{self.family}_f32_{isa.key}_{schedule}_{problem.digest}"
        plan = _Plan(problem, schedule, isa)
        extras = tuple(f"input{index}" for index in range(1, len(problem.inputs)))
        arrays = tuple(f"weights{index}" for index in range(plan.arrays))
        arguments = ("input0", "output", *extras, *arrays, "workspace", "begin", "end")
        module = Module(isa)
        f, record = start_kernel(module, symbol, arguments)
        emitter = _Emitter(f, record, plan)
        f.loop(f.sub(record["end"], record["begin"]), emitter.unit, may_be_empty=True)
        f.ret()
        tiles = {tile.symbol(isa): tile.emit(isa) for nest in emitter.nests for tile in nest.used}
        return Code(symbol, arguments, {symbol: module.text()} | tiles)


@dataclass(frozen=True, slots=True)
class _Roles:
    """Which stage is the depthwise one; whether the first is a stem."""

    middle: int
    stem: bool


def _roles(problem: FusedBlock) -> _Roles | None:
    middles = [i for i, s in enumerate(problem.stages) if s.groups == s.weights[0] and s.weights[1] == 1]
    if len(middles) != 1 or middles[0] > 1 or len(problem.stages) - middles[0] > 2 or len(problem.stages) < 2:
        return None
    stem = False
    for index, stage in enumerate(problem.stages):
        if index == middles[0]:
            continue
        if stage.groups != 1:
            return None
        if stage.weights[2:] != (1, 1) or stage.strides != (1, 1) or any(stage.pads):
            if index or stage.weights[1] > 4:
                return None
            stem = True
    return _Roles(middles[0], stem)


def _span(middle: Convolution, rows: int) -> int:
    """Returns how many input rows the windows of so many output rows span."""
    return (rows - 1) * middle.strides[0] + (middle.weights[2] - 1) * middle.dilations[0] + 1


class _Plan:
    """Sizes and places: the ring, the row of zeros, the rows between the stages, and the nests over them."""

    def __init__(self, problem: FusedBlock, schedule: BlockSchedule, isa: Isa) -> None:
        self.problem, self.schedule, self.isa = problem, schedule, isa
        roles = _roles(problem)
        assert roles is not None
        self.roles = roles
        self.middle = problem.stages[roles.middle]
        self.front = problem.stages[0] if roles.middle else None
        self.back = problem.stages[-1] if roles.middle + 1 < len(problem.stages) else None
        self.rows = schedule.rows
        self.step = self.rows * self.middle.strides[0]  # input rows from group to group
        self.span = _span(self.middle, self.rows)
        self.ahead = self.span - self.step  # rows of a window that the group before already had
        self.slots = -(-self.span // self.step) * self.step
        self.groups = self.middle.output.shape[2] // self.rows
        self.units = problem.output.shape[0] * self.groups
        image, output = self.middle.inputs[0].shape, self.middle.output.shape
        given = problem.inputs[0] if self.front is None else None
        self.pixel = channels_last(image).strides[3] if given is None else given.strides[3]
        self.line = image[3] * self.pixel
        self.between = channels_last(output).strides[3]
        ring = self.slots * self.line if given is None else 0
        self.zeros = ring
        self.results = self.zeros + -(-self.line // ALIGNMENT) * ALIGNMENT
        results = self.rows * output[3] * self.between if self.back is not None else 0
        self.copied = -(-(self.results + results) // ALIGNMENT) * ALIGNMENT
        self.bytes = self.copied + (self.stem_plan().bytes if roles.stem else 0)
        self.arrays = 1 + 2 * (self.front is not None) + 2 * (self.back is not None)

    def stem_plan(self) -> StemPlan:
        """Returns how a stem computes the new rows of a group."""
        assert self.front is not None
        schedule = StemSchedule(*self.schedule.front, self.step, Prefetch())
        return StemPlan(self.ring_stage(), schedule, self.isa)

    def ring_stage(self) -> Convolution:
        """Returns the first stage as it writes rows of the ring."""
        assert self.front is not None
        shape = self.middle.inputs[0].shape
        output = replace(self.front.output, strides=(0, 4, self.line, self.pixel), shape=(1, *shape[1:]))
        image = replace(self.problem.inputs[0], shape=(1, *self.problem.inputs[0].shape[1:]))
        return replace(self.front, inputs=(image,), output=output)

    def front_nest(self) -> MatrixNest:
        """Returns the loops that expand the new rows of a group, each row for itself."""
        stage = self.ring_stage()
        pixels, vectors = self.schedule.front
        geometry = Geometry((1, 1, self.step, stage.output.shape[3]), steps_of(stage), pixels, by_rows=True)
        return self.nest(stage, geometry, vectors)

    def back_nest(self) -> MatrixNest:
        """Returns the loops that project a group of rows."""
        assert self.back is not None
        columns = self.back.output.shape[3]
        source = replace(
            self.back.inputs[0], shape=self.middle.output.shape, strides=(0, 4, columns * self.between, self.between)
        )
        stage = replace(self.back, inputs=(source, *self.extras()), output=self.problem.output)
        pixels, vectors = self.schedule.back
        geometry = Geometry((1, 1, self.rows, columns), steps_of(stage), pixels)
        return self.nest(stage, geometry, vectors)

    def nest(self, stage: Convolution, geometry: Geometry, vectors: int) -> MatrixNest:
        """Returns the loops of a matrix product whose panels stay in L2 and are prefetched into L1."""
        fetch = Prefetch(near=512)
        return MatrixNest(stage, self.isa, geometry, Runs((0,), stage.weights[1]), vectors, geometry.tiles, fetch)

    def extras(self) -> tuple[Layout, ...]:
        """Returns the layouts of what the last epilogue reads."""
        return tuple(self.problem.inputs[index] for index in self.problem.operands[-1])

    def depthwise(self) -> Convolution:
        """Returns the middle stage as it reads rows and writes them: between stages, or into the output."""
        output = self.problem.stages[-1].output
        if self.back is not None:
            columns = self.middle.output.shape[3]
            output = replace(
                self.middle.output, strides=(0, 4, columns * self.between, self.between), shape=self.middle.output.shape
            )
        shape = self.middle.inputs[0].shape
        source = replace(self.middle.inputs[0], strides=(0, 4, self.line, self.pixel), shape=shape)
        extras = self.extras() if self.back is None else ()
        return replace(self.middle, inputs=(source, *extras), output=output)

    def efficiency(self) -> float:
        """Returns the share of the peak that the stages reach together."""
        macs = cycles = 0.0
        for stage, nest in ((self.front, self.front_nest), (self.back, self.back_nest)):
            if stage is None:
                continue
            made = self.stem_plan().nest if self.roles.stem and stage is self.front else nest()
            cycles += made.cycles(made.geometry.sizes()) * self.units
            macs += stage.macs / made.macs_a_cycle
        taps = self.middle.weights[2] * self.middle.weights[3]
        vectors = self.middle.output.size / self.isa.lanes
        cycles += vectors * (taps / (2 if self.isa.fused else 1) + 3)
        macs += self.middle.macs / (self.isa.lanes * (2 if self.isa.fused else 1))
        return macs / cycles


class _Emitter:
    def __init__(self, f: Function, record: Record, plan: _Plan) -> None:
        self.f, self.record, self.plan = f, record, plan
        self.workspace = record["workspace"]
        problem, schedule = plan.depthwise(), plan.schedule
        self.height = problem.output.shape[2]
        self.middle = DepthwiseNest(f, problem, schedule.rows, schedule.pixels)
        self.stem = plan.stem_plan() if plan.roles.stem else None
        self.front = None if plan.front is None else self.stem.nest if self.stem else plan.front_nest()
        self.back = None if plan.back is None else plan.back_nest()
        self.nests = [nest for nest in (self.front, self.middle, self.back) if nest is not None]
        self.contexts = [None if nest is None else nest.context(f) for nest in (self.front, self.back)]
        self.clear()

    def clear(self) -> None:
        """Emits the row of zeros that stands for rows outside the image."""
        f, plan = self.f, self.plan
        vectors, zero = -(-plan.line // f.isa.vector_bytes), f.zero(f.isa.vector)
        begin = f.offset(self.workspace, plan.zeros)
        f.loop(vectors, lambda index, _: f.store(zero, f.offset(begin, f.mul(index, f.isa.vector_bytes))))

    def unit(self, index: Number, _: list[Value]) -> None:
        """Emits one group of rows: new rows of the ring, depthwise, project."""
        f, plan, problem = self.f, self.plan, self.plan.problem
        number = f.add(self.record["begin"], index)
        image, group = f.divide(number, plan.groups), f.remainder(number, plan.groups)
        source = f.offset(self.record["input0"], f.mul(image, problem.inputs[0].strides[0]))
        row = f.mul(group, plan.step)  # the window's first row, counted from the padding's first
        if self.front is not None:
            if plan.ahead:
                is_first = f.compare("eq", f.number(index), f.number(0))
                is_top = f.compare("eq", f.number(group), f.number(0))
                is_start = f.binary("or", is_first, is_top)

                def preceding() -> None:
                    f.loop(plan.ahead, lambda i, _: self.expand(source, f.add(row, i), 1))

                f.when(is_start, preceding)
            self.expand(source, f.add(row, plan.ahead), plan.step)
        self.window(source, row)
        line = f.mul(group, plan.rows)
        if self.back is None:
            layouts = (problem.output, *(problem.inputs[i] for i in problem.operands[-1]))
            self.middle.group(
                self.targets(image, line, layouts), self.weights(self.plan.roles.middle), self.means(image, group)
            )
            return
        results = f.offset(self.workspace, plan.results)
        self.middle.group([results], self.weights(self.plan.roles.middle))
        self.project(results, self.targets(image, line, (problem.output, *self.plan.extras())))

    def means(self, image: Number, group: Number) -> Value | None:
        """Returns where the means of a group lie, in the output's last row; the first group clears what is left."""
        f, output = self.f, self.plan.problem.output
        if not self.plan.problem.means:
            return None
        row = f.offset(
            f.offset(self.record["output"], f.mul(image, output.strides[0])), self.height * output.strides[2]
        )
        left = output.shape[3] - self.plan.groups

        def clear() -> None:
            begin, zero = f.offset(row, self.plan.groups * output.strides[3]), f.zero(f.isa.vector)
            f.loop(
                left, lambda i, _: self.middle.each_vector(f.offset(begin, f.mul(i, output.strides[3])), lambda _: zero)
            )

        if left:
            f.when(f.compare("eq", f.number(group), f.number(0)), clear)
        return f.offset(row, f.mul(group, output.strides[3]))

    def targets(self, image: Number, line: Number, layouts: Sequence[Layout]) -> list[Value]:
        """Returns where the group's first row lies in the output and in what the last epilogue reads."""
        f = self.f
        names = ["output", *(f"input{index}" for index in self.plan.problem.operands[-1])]
        return [
            f.offset(f.offset(self.record[name], f.mul(image, each.strides[0])), f.mul(line, each.strides[2]))
            for name, each in zip(names, layouts, strict=True)
        ]

    def weights(self, stage: int) -> list[Value]:
        """Returns the arrays of a stage."""
        middle = self.plan.roles.middle
        if stage == middle:
            return [self.record[f"weights{2 * middle}"]]
        first = 0 if stage < middle else 2 * middle + 1
        return [self.record[f"weights{first}"], self.record[f"weights{first + 1}"]]

    def slot(self, row: Number) -> Number:
        """Returns the slot of the ring in which a row lies (counted from the padding's first)."""
        plan = self.plan
        return self.f.remainder(self.f.add(row, -plan.ahead % plan.slots), plan.slots)

    def expand(self, source: Value, row: Number, count: int) -> None:
        """Emits the first stage for `count` rows from `row` on, those that lie inside the image."""
        f, plan, nest = self.f, self.plan, self.front
        assert nest is not None and self.contexts[0] is not None
        top, height = plan.middle.pads[0], plan.middle.inputs[0].shape[2]
        first = f.call("i64", "llvm.usub.sat.i64", f.number(top), f.number(row))
        rest = f.call("i64", "llvm.usub.sat.i64", f.number(top + height), f.number(row))
        last = f.minimum(count, rest)
        across = nest.geometry.across.count
        tiles = f.call("i64", "llvm.usub.sat.i64", f.number(last), f.number(first))
        target = f.offset(self.workspace, f.mul(self.slot(row), plan.line))
        inside = f.sub(row, top)  # may be below zero where the first rows are left out

        def run() -> None:
            pixels = f.offset(source, f.mul(inside, plan.problem.inputs[0].strides[2]))
            if self.stem is not None:
                pixels = f.offset(self.workspace, plan.copied)
                self.stem.copy(f, source, pixels, inside)
            packed = self.weights(0)

            def column(number: Number, _: list[Value]) -> None:
                nest.run(
                    f, number, f.mul(first, across), f.mul(tiles, across), pixels=pixels, packed=(packed[0], packed[1]),
                    outputs=[target], context=self.contexts[0],  # type: ignore[arg-type]
                )  # fmt: skip

            f.loop(nest.columns, column)

        f.when(f.compare("ne", f.number(tiles), f.number(0)), run)

    def window(self, source: Value, row: Number) -> None:
        """Emits the table of the rows that the group's windows span."""
        f, plan = self.f, self.plan
        top, height = plan.middle.pads[0], plan.middle.inputs[0].shape[2]
        zeros = f.offset(self.workspace, plan.zeros)
        for y in self.middle.tallest.used_rows:
            at = f.add(row, y)
            if self.front is None:
                step = plan.problem.inputs[0].strides[2]
                line = f.offset(f.offset(source, f.mul(at, step)), -top * step)
            else:
                line = f.offset(self.workspace, f.mul(self.slot(at), plan.line))
            is_inside = f.compare("ult", f.number(f.sub(at, top)), f.number(height))
            f.store(f.select(is_inside, line, zeros), self.middle.table, 8 * y, align=8)

    def project(self, results: Value, targets: list[Value]) -> None:
        """Emits the last stage of a group."""
        f, nest, context = self.f, self.back, self.contexts[1]
        assert nest is not None and context is not None
        packed = self.weights(len(self.plan.problem.stages) - 1)

        def column(number: Number, _: list[Value]) -> None:
            nest.run(
                f, number, 0, nest.geometry.tiles, pixels=results, packed=(packed[0], packed[1]), outputs=targets,
                context=context,
            )  # fmt: skip

        f.loop(nest.columns, column)


def _scheduled(problem: FusedBlock, rows: int, pixels: int, isa: Isa) -> BlockSchedule:
    """Returns the schedule with the matrix tiles that cover the stages best."""
    roles = _roles(problem)
    assert roles is not None
    schedule = BlockSchedule(rows, pixels, tiles_of(isa)[0] if roles.middle else (0, 0))
    if roles.middle + 1 < len(problem.stages):
        schedule = replace(schedule, back=tiles_of(isa)[0])

    def cycles(tried: BlockSchedule, *, front: bool) -> float:
        plan = _Plan(problem, tried, isa)
        nest = plan.stem_plan().nest if front and roles.stem else plan.front_nest() if front else plan.back_nest()
        return nest.cycles(nest.geometry.sizes())

    if roles.middle:
        tries = [replace(schedule, front=tile) for tile in tiles_of(isa)]
        schedule = min(tries, key=lambda tried: cycles(tried, front=True))
    if schedule.back[0]:
        tries = [replace(schedule, back=tile) for tile in tiles_of(isa)]
        schedule = min(tries, key=lambda tried: cycles(tried, front=False))
    return schedule
