"""Programs of one model for all sizes of its inputs: the same code and the same weights, a plan for each.

The first sizes that are asked for cost what compiling costs. Then graphs come from a template (`shape_template.py`),
kernels and schedules are those that were chosen at first, and code does not depend on how many rows there are:
`matrix_rows` and `attention` take lengths as numbers, and other kernels are run row by row (`kernels/by_rows.py`). So
other sizes cost the layout and the plan. Where a kernel can do neither, its code is made for each size.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, cast

import numpy as np

from strop.compiler.choose import Choice, choose
from strop.compiler.fuse import fuse
from strop.compiler.image import placed_plan
from strop.compiler.isa.table import Isa, get_isa
from strop.compiler.kernels.attention import AttentionKernel
from strop.compiler.kernels.by_rows import ByRows
from strop.compiler.kernels.contract import AnyLength, Code, Kernel, Problem
from strop.compiler.kernels.matrix_rows import MatrixRows
from strop.compiler.layout import lay_out
from strop.compiler.layouts import Layout, Shape
from strop.compiler.levels import Convolve, Graph, Operation, Slice
from strop.compiler.link import Blob, link
from strop.compiler.lower import lower, prepare
from strop.compiler.machine_code import compile_objects
from strop.compiler.object_cache import ObjectCache
from strop.compiler.plan import ProgramPlan, make_plan
from strop.compiler.problems import problem_of
from strop.compiler.program import Codes, CompileSettings, PackedWeights, emit_codes, loader_plan, pack_weights
from strop.compiler.runtime_code import emit_runtime
from strop.compiler.shape_template import NoTemplateError, ShapeTemplate, Sizes, corners_of
from strop.compiler.views import Step
from strop.errors import ModelError
from strop.loader.image import Image
from strop.loader.memory import allocate
from strop.model.model import Model

_log = logging.getLogger(__name__)

_GENERAL: Final[tuple[Kernel, ...]] = (MatrixRows(), AttentionKernel())
_MOST_SYMBOLS: Final = 3


class ProgramFamily:
    """Images of a model by the shapes of its inputs.

    Args:
        model: the model, some of whose sizes are free.
        settings: as for `compile_program`.
        cache: of objects.
    """

    def __init__(self, model: Model, settings: CompileSettings, *, cache: ObjectCache | None = None) -> None:
        self._name, self._settings, self._cache = model.name, settings, cache
        self._isa = get_isa(settings.isa)
        self._symbols = _Symbols.of({spec.name: tuple(spec.shape) for spec in model.inputs})
        self._prepared = prepare(model)
        self._template: ShapeTemplate | None = None
        self._asked: dict[str, Choice] = {}
        self._chosen: list[_Chosen] = []
        self._codes: Codes = {}
        self._objects: dict[str, bytes] = {}
        self._blob: Blob | None = None
        self._packed: tuple[object, PackedWeights] | None = None
        self._lock = threading.Lock()

    def image(self, shapes: Mapping[str, Shape]) -> Image:
        """Returns the image for inputs of these shapes.

        Raises NoTemplateError where the model's graphs for several sizes are not of one form, NoKernelError where
        no kernel computes an operation, and ModelError (`model.shape`) where the model cannot take these shapes.
        """
        sizes = self._symbols.sizes(shapes)
        with self._lock, _no_collection():
            return self._image(sizes)

    def _image(self, sizes: Sizes) -> Image:
        if self._template is None:
            self._learn(sizes)
        assert self._template is not None
        graph = self._template.graph(sizes)
        self._check_parts(graph)
        plan, served = self._planned(graph)
        codes = self._coded(plan, served)
        missing = {s: ir for code in codes for s, ir in code.objects.items() if s not in self._objects}
        if missing or self._blob is None:
            runtime = {} if self._blob else emit_runtime(self._isa)
            self._objects |= compile_objects({**missing, **runtime}, self._isa, self._cache)
            self._blob = link(list(self._objects.values()), self._isa)
        packed = self._weights(plan)
        placed = placed_plan(loader_plan(plan, codes, packed), self._blob)
        return Image(placed, self._blob.data, packed.data.data)

    def _check_parts(self, graph: Graph) -> None:
        """Raises ModelError where a part of a value reaches beyond it: of a table of positions, say."""
        for operation in graph.operations:
            if isinstance(operation.core, Slice):
                whole, part = (graph.values[name].shape for name in (operation.inputs[0], operation.output))
                pairs = zip(operation.core.starts, operation.core.steps, part, whole, strict=True)
                if any(n < 1 or start + step * (n - 1) >= extent for start, step, n, extent in pairs):
                    raise ModelError(
                        "model.shape",
                        "the model cannot take these shapes",
                        where=f"{self._name}, node {operation.name!r}",
                        got=f"{list(part)} of {list(whole)}",
                        hint="give shapes that the model was made for",
                    )

    def _learn(self, sizes: Sizes) -> None:
        """Makes the template and chooses kernels and schedules."""
        if len(sizes) > _MOST_SYMBOLS:
            raise NoTemplateError(f"{len(sizes)} free sizes")
        first = tuple(max(2, size - 1) for size in sizes)
        graphs = [self._graph(corner) for corner in corners_of(first)]
        template = ShapeTemplate(first, graphs)
        apart = tuple(max(3, size * 2 // 3) if size > 9 else size + 7 for size in sizes)
        template.check(apart, self._graph(apart))
        views = [lay_out(graph, self._ask) for graph in (graphs[-1], template.graph(apart))]
        pairs = list(zip(*(each.steps for each in views), strict=False))
        if len(views[0].steps) != len(views[1].steps):
            raise NoTemplateError("a copy for some sizes that others do not need")
        self._chosen = [_Chosen(_problem(pair[0]), self._choice(*pair)) for pair in pairs]
        self._template = template

    def _graph(self, sizes: Sizes) -> Graph:
        lowered = lower(self._prepared, name=self._name, shapes=self._symbols.shapes(sizes))
        if lowered.reasons:
            raise NoTemplateError(f"nodes without a kernel: {', '.join(list(lowered.reasons)[:3])}")
        return fuse(lowered.graph)

    def _ask(self, operation: Operation | None, inputs: list[Layout], output: Layout) -> Choice:
        """Answers layout: with a kernel that serves every length where there is one, and always the same."""
        key = "border" if operation is None else f"{operation.name} {operation.output} {len(inputs)}"
        if key not in self._asked:
            problem = problem_of(operation, inputs, output)
            self._asked[key] = self._general(problem) or self._usual(operation, problem)
        return self._asked[key]

    def _general(self, problem: Problem) -> Choice | None:
        for kernel in _GENERAL:
            if not kernel.accepts(problem, self._isa):
                schedule = kernel.candidates(problem, self._isa)[-1]
                return Choice(kernel, schedule, kernel.needs(problem, self._isa), 1.0, {})
        return None

    def _usual(self, operation: Operation | None, problem: Problem) -> Choice:
        core = None if operation is None else operation.core
        weights = core.weights if isinstance(core, Convolve) else None
        return choose(problem, self._isa, weights=weights, winograd=self._settings.winograd)

    def _choice(self, step: Step, other: Step) -> Choice:
        """Returns the kernel and schedule of a step, which is seen here for two sizes."""
        problem, second = _problem(step), _problem(other)
        general = self._general(problem) if step.kernel.family in [kernel.family for kernel in _GENERAL] else None
        if general is not None:
            return general
        choice = choose(problem, self._isa, weights=_weights(step), kernels=(step.kernel,))
        if problem == second:
            return choice
        own = getattr(step.kernel, "general", None)
        if own is not None and own(problem) == own(second):
            return choice
        pairs = enumerate(zip(problem.output.shape, second.output.shape, strict=True))
        axes = tuple(axis for axis, (one, another) in pairs if one != another)
        if 1 <= len(axes) <= 2:
            kernel = ByRows.of(step.kernel, axes, problem, self._isa)
            if kernel is not None and not kernel.accepts(second, self._isa):
                return replace(choice, kernel=kernel, schedule=kernel.schedule)
        _log.info("%s: %s of %s is made anew for every size", self._name, step.kernel.family, step.name)
        return choice

    def _planned(self, graph: Graph) -> tuple[ProgramPlan, list[bool]]:
        """Returns the plan, and for each task whether what was chosen at first serves it."""
        views = lay_out(graph, self._ask)
        # Where layout needs more or fewer copies than usual, nothing is known of its steps.
        known = iter(self._chosen if len(views.steps) == len(self._chosen) else ())
        served: list[bool] = []

        def schedule(step: Step, problem: Problem) -> Choice:
            at_first = next(known, None)
            served.append(at_first is not None and at_first.serves(problem, self._isa))
            if at_first is not None and served[-1]:
                return at_first.choice
            return choose(problem, self._isa, weights=_weights(step), kernels=(step.kernel,))

        return make_plan(views, self._isa, schedule), served

    def _coded(self, plan: ProgramPlan, served: list[bool]) -> list[Code]:
        """Returns the code of each task: that of the task it was chosen for, where that serves."""
        codes: list[Code] = []
        for place, (task, is_served) in enumerate(zip(plan.tasks, served, strict=True)):
            if not is_served:
                _log.info("%s: %s of %s is made for these sizes", self._name, task.kernel.family, task.step.name)
                codes += emit_codes([task], self._isa, self._codes)
                continue
            chosen = self._chosen[place]
            if chosen.code is None:
                # For the problem it was chosen for: of an axis with one element the strides may be any.
                usual = replace(task, problem=chosen.problem)
                (chosen.code,) = emit_codes([usual], self._isa, self._codes)
            numbers = chosen.code.numbers
            if hasattr(task.kernel, "general"):
                numbers = cast(AnyLength, task.kernel).numbers(task.problem, task.schedule, self._isa)
            codes.append(replace(chosen.code, numbers=numbers))
        return codes

    def _weights(self, plan: ProgramPlan) -> PackedWeights:
        """Returns the packed weights, the same as before wherever tasks read the same."""
        form = tuple((task.step.name, task.kernel.family, task.schedule) for task in plan.tasks)
        if self._packed is None or self._packed[0] != form:
            packed = pack_weights(plan)
            place = allocate(len(packed.data))
            place[:] = packed.data
            self._packed = form, replace(packed, data=place)
        return self._packed[1]


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keeps Python from looking for garbage meanwhile: in a large process that takes longer than all of a plan."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass(slots=True)
class _Chosen:
    """What was chosen for a step, for which problem, and the code that came of it."""

    problem: Problem
    choice: Choice
    code: Code | None = None

    def serves(self, problem: Problem, isa: Isa) -> bool:
        """Whether the same code computes this problem too."""
        if problem == self.problem:
            return True
        general = getattr(self.choice.kernel, "general", None)
        problem = _with_strides(problem, self.problem)
        if general is None or self.choice.kernel.accepts(problem, isa):
            return False
        return bool(general(problem) == general(self.problem))


def _with_strides(problem: Problem, like: Problem) -> Problem:
    """Returns the problem with the strides of another one along axes that have one element here: they say nothing."""
    if len(problem.inputs) != len(like.inputs):
        return problem

    def one(mine: Layout, other: Layout) -> Layout:
        if len(mine.shape) != len(other.shape) or 1 not in mine.shape:
            return mine
        strides = (b if n == 1 else a for n, a, b in zip(mine.shape, mine.strides, other.strides, strict=True))
        return replace(mine, strides=tuple(strides))

    inputs = tuple(one(mine, other) for mine, other in zip(problem.inputs, like.inputs, strict=True))
    return replace(problem, inputs=inputs, output=one(problem.output, like.output))


@dataclass(frozen=True, slots=True)
class _Symbols:
    """The free sizes of the inputs: a number of `names`, or the size itself where that is fixed."""

    names: tuple[str, ...]
    inputs: Mapping[str, tuple[int | str, ...]]

    @classmethod
    def of(cls, shapes: Mapping[str, tuple[int | str | None, ...]]) -> _Symbols:
        """Returns the symbols of these inputs; a size without a name is like no other."""
        inputs = {
            name: tuple(f"{name} {axis}" if size is None else size for axis, size in enumerate(shape))
            for name, shape in shapes.items()
        }
        found = dict.fromkeys(size for shape in inputs.values() for size in shape if isinstance(size, str))
        return cls(tuple(found), inputs)

    def sizes(self, shapes: Mapping[str, Shape]) -> Sizes:
        """Returns the symbols' sizes; raises ModelError where shapes contradict each other or the model."""
        found: dict[str, int] = {}
        for name, wanted in self.inputs.items():
            given = shapes[name]
            known = [found.setdefault(s, n) if isinstance(s, str) else s for s, n in zip(wanted, given, strict=False)]
            if len(wanted) != len(given) or known != list(given) or 0 in given:
                raise ModelError(
                    "model.shape",
                    "the model cannot take these shapes",
                    where=f"input {name!r}",
                    got=str(list(given)),
                    expected=str(list(wanted)),
                    hint="give the same number wherever a symbol stands",
                )
        return tuple(found[name] for name in self.names)

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Returns the inputs' shapes for these sizes."""
        known = dict(zip(self.names, sizes, strict=True))
        return {
            name: tuple(known[size] if isinstance(size, str) else size for size in shape)
            for name, shape in self.inputs.items()
        }


def _problem(step: Step) -> Problem:
    return problem_of(step.operation, [view.layout for view in step.inputs], step.output.layout)


def _weights(step: Step) -> np.ndarray | None:
    core = None if step.operation is None else step.operation.core
    return core.weights if isinstance(core, Convolve) else None
