"""The compiler's pipeline: from a model to an image, as one list."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

import numpy as np

from strop.compiler.asking import asking, scheduling
from strop.compiler.fuse import fuse
from strop.compiler.growing import Growing
from strop.compiler.image import make_image
from strop.compiler.isa.table import Isa, get_isa
from strop.compiler.kernels.contract import AnyLength, Code, Kernel, Problem, Schedule
from strop.compiler.layout import lay_out
from strop.compiler.layouts import ALIGNMENT, SLACK
from strop.compiler.levels import Block, Convolve, Graph, Recur
from strop.compiler.link import link
from strop.compiler.lower import lower, prepare
from strop.compiler.machine_code import compile_objects
from strop.compiler.memory_budget import spared
from strop.compiler.object_cache import ObjectCache
from strop.compiler.plan import PlanTask, ProgramPlan, make_plan
from strop.compiler.problems import block_weights
from strop.compiler.records import Records
from strop.compiler.runtime_code import emit_runtime
from strop.compiler.verify import verify_graph, verify_plan, verify_views
from strop.compiler.views import Step, View, ViewGraph, constant_bytes
from strop.errors import NotSupportedError
from strop.loader.image import Image
from strop.loader.plan import MEMORY_LIMIT, Argument, Plan, Task, Tensor
from strop.model.model import Model


@dataclass(frozen=True, slots=True)
class CompileSettings:
    """isa: the level to emit code for; winograd: whether it may be used; verify: whether each level is checked."""

    isa: str
    winograd: Literal["auto", "off"] = "auto"
    verify: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A compiled model: the image that runs, and every level it came through, for `explain` and tests."""

    settings: CompileSettings
    operations: Graph
    fused: Graph
    views: ViewGraph
    plan: ProgramPlan
    codes: tuple[Code, ...]
    image: Image


def compile_program(
    model: Model, settings: CompileSettings, *, cache: ObjectCache | None = None, records: Records | None = None
) -> Program:
    """Returns the program of a model with static shapes.

    records: what tuning measured, to choose kernels by; without them the cost model does, the same way everywhere.
    Raises NotSupportedError `unsupported.model` where a node has no kernel: `partition` says which, and cuts them out;
    `unsupported.size` where a value is larger than any memory.
    """
    isa = get_isa(settings.isa)
    operations = _lowered(model)
    for name in (*operations.inputs, *operations.outputs):
        _check_size(operations.values[name].bytes, f"{model.name}, {name!r}")
    fused = fuse(operations)
    views, plan = _planned(fused, isa, settings, records)
    _check_size(plan.arena.bytes, f"{model.name}, what lies between its operations")
    if settings.verify:
        for graph in (operations, fused):
            verify_graph(graph)
        verify_views(views)
        verify_plan(plan)
    codes = emit_codes(plan.tasks, isa)
    packed = pack_weights(plan)
    irs = {symbol: ir for code in codes for symbol, ir in code.objects.items()} | dict(emit_runtime(isa))
    blob = link(list(compile_objects(irs, isa, cache).values()), isa)
    image = make_image(loader_plan(plan, codes, packed), blob, packed.data.data)
    return Program(settings, operations, fused, views, plan, codes, image)


def _check_size(size: int, where: str) -> None:
    if size > MEMORY_LIMIT:
        raise NotSupportedError(
            "unsupported.size",
            "a value is larger than any memory",
            where=where,
            got=f"{size / 2**40:.1f} TiB",
            expected=f"at most {MEMORY_LIMIT / 2**40:.0f} TiB",
            hint="look at the sizes that were given for free dimensions: --shape, or shapes=",
        )


def plan_program(model: Model, settings: CompileSettings) -> ProgramPlan:
    """Returns the plan of a model's program as the cost model has it, without code: what tuning goes through."""
    isa = get_isa(settings.isa)
    return _planned(fuse(_lowered(model)), isa, settings, None)[1]


def _planned(
    graph: Graph, isa: Isa, settings: CompileSettings, records: Records | None
) -> tuple[ViewGraph, ProgramPlan]:
    """Returns views and plan; made twice where filters would take too much memory."""
    views = lay_out(graph, asking(isa, settings.winograd, records))
    plan = make_plan(views, isa, scheduling(isa, records))
    without = spared(plan, records)
    if without:
        views = lay_out(graph, asking(isa, settings.winograd, records, without))
        plan = make_plan(views, isa, scheduling(isa, records))
    return views, plan


def _lowered(model: Model) -> Graph:
    lowered = lower(prepare(model), name=model.name)
    if lowered.reasons:
        node, reason = next(iter(lowered.reasons.items()))
        raise NotSupportedError(
            "unsupported.model",
            "a node has no native kernel",
            where=f"{model.name}, node {node!r}",
            got=f"{reason}; {len(lowered.reasons)} such nodes",
            hint='engine="native" runs such nodes on ONNX Runtime; strop explain names them',
        )
    return lowered.graph


# -- code and weights


Codes = dict[tuple[str, Problem, Schedule], Code]
"""Code by what it depends on: the family, the problem (a general one, where the family has such), the schedule."""


def emit_codes(tasks: Sequence[PlanTask], isa: Isa, known: Codes | None = None) -> tuple[Code, ...]:
    """Returns the code of each task; equal problems share it, and those that only lengths tell apart.

    known: code there is already; what is emitted is added.
    """
    known = {} if known is None else known
    codes = []
    for task in tasks:
        general = getattr(task.kernel, "general", None)
        problem = task.problem if general is None else general(task.problem)
        key = (task.kernel.family, problem, task.schedule)
        if key not in known:
            known[key] = task.kernel.emit(task.problem, task.schedule, isa)
        code = known[key]
        if general is not None:
            numbers = cast(AnyLength, task.kernel).numbers(task.problem, task.schedule, isa)
            code = replace(code, numbers=numbers)
        codes.append(code)
    return tuple(codes)


@dataclass(slots=True)
class PackedWeights:
    """All weights as bytes, and where each task's arrays ("weights0" ...) and each constant begin."""

    data: np.ndarray
    tasks: list[list[int]] = field(default_factory=list)
    constants: dict[str, int] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Bytes of weights, without the slack behind them."""
        return len(self.data) - SLACK


def pack_weights(plan: ProgramPlan) -> PackedWeights:
    """Returns the weights in the order in which the plan reads them."""
    gathered = Growing()
    known: dict[bytes, int] = {}
    end = 0

    def put(array: np.ndarray, step: Step) -> int:
        nonlocal end
        start = -(-end // ALIGNMENT) * ALIGNMENT
        if step.operation is not None and step.operation.turn is not None:  # pieces of one operation share its weights
            same = known.setdefault(hashlib.sha256(array.tobytes()).digest(), start)
            if same != start:
                return same
        gathered.write(start, array)
        end = start + array.nbytes
        return start

    result = PackedWeights(np.empty(0, np.uint8))
    for task in plan.tasks:
        arrays = pack_step(task.step, task.kernel, task.problem, task.schedule, plan.isa)
        result.tasks.append([put(array, task.step) for array in arrays])
        for view in task.step.inputs:
            if plan.views.buffers[view.buffer].kind == "constant" and view.buffer not in result.constants:
                array = plan.views.graph.constants[view.buffer]
                layout = plan.views.views[view.buffer].layout  # the constant's own, whatever part of it is read here
                result.constants[view.buffer] = put(constant_bytes(array, layout), task.step)
    result.data = gathered.finish(end + SLACK)
    return result


def pack_step(step: Step, kernel: Kernel, problem: Problem, schedule: Schedule, isa: Isa) -> list[np.ndarray]:
    """Returns a step's weights as a kernel with that schedule reads them."""
    operation = step.operation
    if operation is None:
        return []
    core, channels = operation.core, list(operation.channels)
    if isinstance(core, Block):
        weights, channels = block_weights(operation)
        return kernel.pack(problem, schedule, isa, weights, channels)
    weights = core.weights if isinstance(core, (Convolve, Recur)) else np.empty(0, np.float32)
    if isinstance(core, Convolve) and core.bias is not None:
        channels.append(core.bias)
    if isinstance(core, Recur):
        channels.extend(core.vectors)
    return kernel.pack(problem, schedule, isa, weights, channels)


def loader_plan(plan: ProgramPlan, codes: Sequence[Code], packed: PackedWeights) -> Plan:
    """Returns the plan as the loader runs it."""
    graph = plan.views.graph

    def tensors(names: tuple[str, ...]) -> tuple[Tensor, ...]:
        return tuple(Tensor(name, graph.values[name].dtype, graph.values[name].shape) for name in names)

    tasks = []
    for number, (task, code) in enumerate(zip(plan.tasks, codes, strict=True)):
        operation = task.step.operation
        tasks.append(
            Task(
                name=task.step.name,
                symbol=code.symbol,
                arguments=tuple(_argument(name, plan, task.step, packed, number, code) for name in code.arguments),
                units=task.split.units,
                grain=task.split.grain,
                wait=task.wait,
                thread=task.thread,
                origin=() if operation is None else operation.origin,
                kernel=task.kernel.family,
                tile=str(task.schedule),
                flops=float(task.cost.flops),
                bytes=float(sum(task.cost.bytes.values())),
            )
        )
    return Plan(
        level=plan.isa.level,
        inputs=tensors(graph.inputs),
        outputs=tensors(graph.outputs),
        tasks=tuple(tasks),
        arena=plan.arena.bytes,
        workspace=plan.workspace,
        weights=packed.bytes,
    )


def _argument(name: str, plan: ProgramPlan, step: Step, packed: PackedWeights, number: int, code: Code) -> Argument:
    """Returns the word of a task's record that a kernel calls `name`."""
    if name in code.numbers:
        return Argument("number", code.numbers[name])
    if name in ("begin", "end"):
        return Argument("begin" if name == "begin" else "end")
    if name == "workspace":
        return Argument("workspace", 0)
    if name.startswith("weights"):
        return Argument("weights", packed.tasks[number][int(name.removeprefix("weights"))])
    return _place(step.output if name == "output" else step.inputs[int(name.removeprefix("input"))], plan, packed)


def _place(view: View, plan: ProgramPlan, packed: PackedWeights) -> Argument:
    buffer = plan.views.buffers[view.buffer]
    if buffer.kind == "constant":
        return Argument("weights", packed.constants[view.buffer] + view.offset)
    if buffer.kind == "arena":
        return Argument("arena", plan.offset(view))
    return Argument(buffer.kind, view.offset, buffer.index)
