"""A model with free sizes: compiled for the sizes that requests bring, or run on ONNX Runtime, which needs no sizes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import numpy as np

from strop.engines.base import CompiledBase
from strop.engines.contract import KnobValue, ModelSource, OperationTime
from strop.engines.native.route import Route
from strop.engines.native.shapes import PerShapes, Shapes
from strop.engines.profiles import Origins
from strop.errors import ModelError

LIMIT = 8
"""How many sets of input shapes have code at once."""

_REMEMBERED = 256


class Specialized(CompiledBase[object]):
    """Routes by the shapes of the inputs, and ONNX Runtime for shapes that have none.

    Once LIMIT sets of shapes have code, a further one gets it, in place of what was not used for longest, only when it
    comes again: an application whose every request has another size would otherwise compile for ever.

    Args:
        model: the model.
        compile: makes the way through the model for these input shapes and says what share of its nodes is native;
            None where nothing is: then nothing is for any other shapes either. Raises ModelError where the model,
            as far as can be told without a request's values, cannot take these shapes.
        fallback: opens ONNX Runtime; called when a request first needs it.
        is_cheap: whether further shapes take neither code nor weights of their own; then they may come as they like.
        settings: what is in force.
        stages: seconds so far.
    """

    def __init__(
        self,
        model: ModelSource,
        *,
        compile: Callable[[Shapes], tuple[Route, float] | None],
        fallback: Callable[[], Route],
        is_cheap: Callable[[], bool] = lambda: False,
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
        self._is_cheap = is_cheap
        self._model, self._compile, self._open_fallback = model, compile, fallback
        self._routes: PerShapes[Route | None] = PerShapes(self._make, _close, limit=LIMIT)
        self._opening = threading.Lock()
        self._fallback: Route | None = None
        self._seen: OrderedDict[Shapes, None] = OrderedDict()
        self._refused: OrderedDict[Shapes, None] = OrderedDict()
        self.native_share = 1.0
        """The share of nodes that machine code runs, at the shapes compiled last."""

    def _run(self, slot: object, arrays: list[np.ndarray]) -> list[np.ndarray]:
        with self._route(arrays) as route:
            return route.run(arrays)

    def _profile(self, arrays: list[np.ndarray], repeats: int) -> list[OperationTime]:
        with self._route(arrays) as route:
            return Origins(self._model).completed(route.profile(arrays, repeats))

    def _release(self) -> None:
        self._routes.close()
        if self._fallback is not None:
            self._fallback.close()

    @contextmanager
    def _route(self, arrays: list[np.ndarray]) -> Iterator[Route]:
        shapes = tuple(array.shape for array in arrays)
        with ExitStack() as stack:
            route = None
            if self._is_admitted(shapes):
                try:
                    route = stack.enter_context(self._routes.use(shapes))
                except ModelError:  # the request's values decide; ONNX Runtime serves it or says what is wrong
                    self._note(self._refused, shapes)
            yield self._whole() if route is None else route

    def _make(self, shapes: Shapes) -> Route | None:
        made = self._compile(shapes) if self.native_share else None
        route, self.native_share = made or (None, 0.0)
        return route

    def _is_admitted(self, shapes: Shapes) -> bool:
        """Whether these shapes are to have code."""
        if not self.native_share or shapes in self._refused:
            return False
        if shapes in self._routes or not self._routes.is_full or self._is_cheap():
            return True
        again = shapes in self._seen
        self._note(self._seen, shapes)
        return again

    def _note(self, noted: OrderedDict[Shapes, None], shapes: Shapes) -> None:
        """Remembers shapes, so many of them."""
        with self._opening:
            noted[shapes] = None
            noted.move_to_end(shapes)
            if len(noted) > _REMEMBERED:
                noted.popitem(last=False)

    def _whole(self) -> Route:
        with self._opening:
            if self._fallback is None:
                self._fallback = self._open_fallback()
            return self._fallback


def _close(route: Route | None) -> None:
    if route is not None:
        route.close()
