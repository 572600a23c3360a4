"""Models that are not machine code as a whole: a route through segments, for as many requests as there are streams."""

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


class Segmented(CompiledBase[object]):
    """A route through segments. Steps take concurrent requests, so a slot is only leave to run.

    native_share: the share of the model's nodes that machine code runs.
    """

    def __init__(
        self,
        model: ModelSource,
        route: Route,
        *,
        native_share: float,
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
        self.native_share = native_share
        self._model, self._route = model, route

    def _run(self, slot: object, arrays: list[np.ndarray]) -> list[np.ndarray]:
        return self._route.run(arrays)

    def _profile(self, arrays: list[np.ndarray], repeats: int) -> list[OperationTime]:
        return Origins(self._model).completed(self._route.profile(arrays, repeats))

    def _release(self) -> None:
        self._route.close()


def whole_on_onnxruntime(model: ModelSource, settings: Mapping[str, KnobValue]) -> Route:
    """Returns the model as one step on ONNX Runtime; raises NotSupportedError where that refuses it."""
    step = OnnxRuntimeStep(
        partial(readable, model),
        inputs=tuple(spec.name for spec in model.inputs),
        outputs=tuple(spec.name for spec in model.outputs),
        options=segment_options(int(settings["threads"]), int(settings["streams"])),
        where=model.name,
    )
    return Route([step], inputs=step.inputs, outputs=step.outputs)
