"""A model with free sizes: compiled for the sizes that requests bring, or run on ONNX Runtime, which needs no sizes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

import numpy as np

from strop.engines.base import CompiledBase
from strop.engines.contract import KnobValue, ModelSource, OperationTime
from strop.engines.native.program_model import ProgramModel
from strop.engines.native.route import Route
from strop.engines.native.shapes import PerShapes, Shapes
from strop.engines.profiles import Origins

LIMIT = 8
"""How many sets of input shapes have code at once."""

_REMEMBERED = 256


class Specialized(CompiledBase[object]):
    """Programs by the shapes of the inputs, and ONNX Runtime for shapes that have none.

    Once LIMIT sets of shapes have code, a further one gets it, in place of what was not used for longest, only when it
    comes again: an application whose every request has another size would otherwise compile for ever.

    Args:
        model: the model; all of it is thought to be native.
        compile: makes the program for these input shapes, None where there is none after all: then there is none
            for any other shapes either.
        fallback: opens ONNX Runtime; called when a request first needs it.
        settings: what is in force.
        stages: seconds so far.
    """

    def __init__(
        self,
        model: ModelSource,
        *,
        compile: Callable[[Shapes], ProgramModel | None],
        fallback: Callable[[], Route],
        settings: Mapping[str, KnobValue],
        stages: Mapping[str, float],
    ):
        super().__init__(
            "native",
            inputs=model.inputs,
            outputs=model.outputs,
            settings=settings,
            slots=[object()] * int(settings["streams"]),
            stages=stages,
        )
        self._model, self._compile, self._open_fallback = model, compile, fallback
        self._programs: PerShapes[ProgramModel | None] = PerShapes(self._make, _close, limit=LIMIT)
        self._opening = threading.Lock()
        self._fallback: Route | None = None
        self._seen: OrderedDict[Shapes, None] = OrderedDict()
        self._is_native = True

    @property
    def native_share(self) -> float:
        """1 as long as all shapes so far are machine code, else 0."""
        return float(self._is_native)

    def _run(self, slot: object, arrays: list[np.ndarray]) -> list[np.ndarray]:
        shapes = tuple(array.shape for array in arrays)
        if self._is_admitted(shapes):
            with self._programs.use(shapes) as program:
                if program is not None:
                    return list(program(arrays).values())
        return self._whole().run(arrays)

    def _run_into(self, slot: object, arrays: list[np.ndarray], buffers: list[np.ndarray]) -> None:
        shapes = tuple(array.shape for array in arrays)
        if self._is_admitted(shapes):
            with self._programs.use(shapes) as program:
                if program is not None:
                    program.run_into(arrays, dict(zip(self._output_names, buffers, strict=True)))
                    return
        super()._run_into(slot, arrays, buffers)

    def _profile(self, arrays: list[np.ndarray], repeats: int) -> list[OperationTime]:
        shapes = tuple(array.shape for array in arrays)
        if self._is_admitted(shapes):
            with self._programs.use(shapes) as program:
                if program is not None:
                    return program.profile(arrays, repeats=repeats)
        return Origins(self._model).completed(self._whole().profile(arrays, repeats))

    def _release(self) -> None:
        self._programs.close()
        if self._fallback is not None:
            self._fallback.close()

    def _make(self, shapes: Shapes) -> ProgramModel | None:
        program = self._compile(shapes) if self._is_native else None
        self._is_native = program is not None
        return program

    def _is_admitted(self, shapes: Shapes) -> bool:
        """Whether these shapes are to have code."""
        if not self._is_native:
            return False
        if shapes in self._programs or not self._programs.is_full:
            return True
        with self._opening:
            again = shapes in self._seen
            self._seen[shapes] = None
            self._seen.move_to_end(shapes)
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        return again

    def _whole(self) -> Route:
        with self._opening:
            if self._fallback is None:
                self._fallback = self._open_fallback()
            return self._fallback


def _close(program: ProgramModel | None) -> None:
    if program is not None:
        program.close()
