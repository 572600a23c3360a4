"""A bundle of a model with free sizes: its own code for the sizes it was made for, its engine for all others.

Nothing of the engine is imported, and nothing compiled, before a request of other sizes comes.
"""

from __future__ import annotations

from _thread import allocate_lock  # threading.Lock, without its imports
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from strop.engines.base import CompiledBase
from strop.engines.native.program_model import ProgramModel
from strop.engines.native.shapes import PerShapes, Shapes
from strop.loader.bundle import Bundle
from strop.loader.format import damaged
from strop.loader.image import Image, image_of
from strop.model.specs import TensorSpec
from strop.runtime.native import settings_in_force

if TYPE_CHECKING:
    from strop.engines.contract import CompiledModel, Inputs, KnobValue, OperationTime

LIMIT = 8
"""How many sets of shapes have memory at once."""


class SpecializedBundle(CompiledBase[object]):
    """Routes requests by the shapes of their inputs.

    Args:
        bundle: holds code for some sizes; it stays open as long as this.
        given: what replaces recorded settings: threads, streams, objective, share_cores.
        compile: compiles the model inside with its engine; called at the first request of other sizes.
    """

    native_share = 1.0

    def __init__(self, bundle: Bundle, given: Mapping[str, KnobValue], *, compile: Callable[[], CompiledModel]) -> None:
        manifest = bundle.manifest
        inputs, outputs = (
            tuple(TensorSpec(spec["name"], spec["dtype"], tuple(spec["shape"])) for spec in manifest[kind])
            for kind in ("inputs", "outputs")
        )
        pieces = pieces_for_this_cpu(bundle)
        settings = settings_in_force(bundle, pieces[0]["level"], given)
        super().__init__(
            "native",
            inputs=inputs,
            outputs=outputs,
            settings=settings,
            slots=[object()] * int(settings["streams"]),
            stages={"read": 0.0, "compile": 0.0},
        )
        self._bundle, self._compile = bundle, compile
        self._pieces: dict[Shapes, Mapping[str, Any]] = {
            tuple(tuple(piece["shapes"][spec.name]) for spec in inputs): piece for piece in pieces
        }
        self._programs: PerShapes[ProgramModel] = PerShapes(self._program, ProgramModel.close, limit=LIMIT)
        self._opening = allocate_lock()
        self._others: CompiledModel | None = None
        self._names = tuple(spec.name for spec in inputs)
        self._quick: dict[Shapes, ProgramModel] = {}
        """Programs that are never closed before all are, so that a request needs to hold none of them."""
        first = next(iter(self._pieces))
        with self._programs.use(first) as program:  # what is wrong with the bundle shows when it is loaded
            self._keep(first, program)

    def __call__(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """Runs one request; the outputs are fresh arrays that the caller owns."""
        program = self._quick.get(self._shapes(inputs))
        if program is None:
            return super().__call__(inputs)
        lease = self._lease
        if lease is not None and lease.must_share:
            with lease:
                return program(inputs)
        return program(inputs)

    def _shapes(self, inputs: Inputs) -> Shapes:
        """Returns the shapes of what may be a request, in the inputs' order; none where it has another form."""
        try:
            if type(inputs) is dict and len(inputs) == len(self._names):
                return tuple([inputs[name].shape for name in self._names])
            return (inputs.shape,) if type(inputs) is np.ndarray else ()
        except (AttributeError, KeyError):
            return ()

    def _keep(self, shapes: Shapes, program: ProgramModel) -> None:
        if len(self._pieces) <= LIMIT:
            self._quick[shapes] = program

    def _run(self, slot: object, arrays: list[np.ndarray]) -> list[np.ndarray]:
        with self._for(arrays) as model:
            return list(model(arrays).values())

    def _run_into(self, slot: object, arrays: list[np.ndarray], buffers: list[np.ndarray]) -> None:
        with self._for(arrays) as model:
            model.run_into(arrays, dict(zip(self._output_names, buffers, strict=True)))

    def _profile(self, arrays: list[np.ndarray], repeats: int) -> list[OperationTime]:
        with self._for(arrays) as model:
            return model.profile(arrays, repeats=repeats)

    def close(self) -> None:
        """Serves what is queued, then gives threads and memory back; later calls raise UsageError (`usage.closed`)."""
        self._quick.clear()
        super().close()

    def _release(self) -> None:
        self._programs.close()
        if self._others is not None:
            self._others.close()

    @contextmanager
    def _for(self, arrays: list[np.ndarray]) -> Iterator[CompiledModel]:
        shapes = tuple(array.shape for array in arrays)
        if shapes in self._pieces:
            with self._programs.use(shapes) as program:
                self._keep(shapes, program)
                yield program
        else:
            with self._opening:
                if self._others is None:
                    self._others = self._compile()
                others = self._others
            yield others

    def _program(self, shapes: Shapes) -> ProgramModel:
        image = _image(self._bundle, self._pieces[shapes])
        if tuple(tensor.shape for tensor in image.plan.inputs) != shapes:
            raise damaged(self._bundle.file, "its plan is for other sizes than its manifest says")
        return ProgramModel(image, settings={**self.settings, "share_cores": False}, stages={})


def pieces_for_this_cpu(bundle: Bundle) -> list[Mapping[str, Any]]:
    """Returns what the manifest says of code for some sizes, of the best ISA level of this CPU; none where none is."""
    from strop.loader import cpu

    pieces: list[Mapping[str, Any]] = bundle.manifest["specialized"]
    for level in cpu.isa_levels() if pieces else ():
        found = [piece for piece in pieces if piece["level"] == level]
        if found:
            return found
    return []


def _image(bundle: Bundle, piece: Mapping[str, Any]) -> Image:
    """Returns the image of these members; its code is copied, as the file's name may be another file's by now."""
    plan, code, weights = (bundle.member(piece[kind]) for kind in ("plan", "code", "weights"))
    bundle.populate(piece["weights"])
    try:
        return image_of(plan, code, weights)
    except ValueError as error:
        raise damaged(bundle.file, "its code, plan and weights do not fit each other", got=error) from error
