"""A model compiled by the engine `native`: a route through its segments, for as many requests as there are streams."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from strop.engines.base import CompiledBase
from strop.engines.contract import KnobValue, ModelSource, OperationTime
from strop.engines.native.onnxruntime_step import OnnxRuntimeStep, segment_options
from strop.engines.native.route import Route
from strop.engines.profiles import Origins
from strop.engines.source import readable
from strop.measure.clock import now


class Segmented(CompiledBase[object]):
    """A route through segments. Steps take concurrent requests, so a slot is only leave to run."""

    def __init__(
        self, model: ModelSource, route: Route, *, settings: Mapping[str, KnobValue], stages: Mapping[str, float]
    ):
        super().__init__(
            "native",
            inputs=model.inputs,
            outputs=model.outputs,
            settings=settings,
            slots=[object()] * int(settings["streams"]),
            stages=stages,
        )
        self._model, self._route = model, route
        self.native_share = 0.0

    def _run(self, slot: object, arrays: list[np.ndarray]) -> list[np.ndarray]:
        return self._route.run(arrays)

    def _profile(self, arrays: list[np.ndarray], repeats: int) -> list[OperationTime]:
        origins = Origins(self._model)
        return origins.completed(self._route.profile(arrays, repeats))

    def _release(self) -> None:
        self._route.close()


def compile_whole(model: ModelSource, settings: Mapping[str, KnobValue]) -> Segmented:
    """Returns the model, all of it on ONNX Runtime."""
    options = segment_options(int(settings["threads"]), int(settings["streams"]))
    start = now()
    step = OnnxRuntimeStep(
        partial(readable, model),
        inputs=tuple(spec.name for spec in model.inputs),
        outputs=tuple(spec.name for spec in model.outputs),
        options=options,
        where=model.name,
    )
    route = Route([step], inputs=step.inputs, outputs=step.outputs)
    return Segmented(model, route, settings=settings, stages={"read": 0.0, "compile": now() - start})
