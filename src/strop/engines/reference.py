"""The ONNX project's reference evaluator as an engine: slow, and the definition of what is right.

It runs in the calling thread whatever `threads` says, and reports so: `.settings["threads"]` is 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from strop.engines.base import CompiledBase, in_short, run_error
from strop.engines.contract import Availability, CompiledModel, Knob, ModelSource, Settings
from strop.engines.knobs import check_precision, device_missing, knob_values
from strop.engines.source import readable
from strop.errors import EngineError, NotSupportedError
from strop.machine import Machine
from strop.measure.clock import now

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnx.reference import ReferenceEvaluator

_LATER_OPSET = 21
"""Where the evaluator knows QuantizeLinear and DequantizeLinear."""


class ReferenceEngine:
    """Runs models node by node in numpy."""

    name = "reference"

    def available(self) -> Availability:
        """Says that it is there: onnx is a core dependency."""
        from importlib.metadata import version

        return Availability(True, version=version("onnx"))

    def knobs(self, machine: Machine) -> tuple[Knob, ...]:
        """Returns nothing: it has no settings of its own."""
        return ()

    def load(self) -> None:
        """Imports the evaluator."""
        import onnx.reference  # noqa: F401

    def compile(self, model: ModelSource, settings: Settings) -> CompiledModel:
        """Prepares one evaluator a stream."""
        import onnx

        precision = check_precision(self.name, model, settings)
        knob_values(self.name, (), settings.knobs)
        if settings.device.upper() != "CPU":
            raise device_missing(self.name, settings.device, ["CPU"])
        if settings.cache is not None:
            raise NotSupportedError(
                "unsupported.feature", "the reference engine keeps no cache", got=settings.cache, hint="leave it out"
            )
        streams = settings.streams or 1
        start = now()
        with readable(model) as source:
            proto = onnx.load_model_from_string(source) if isinstance(source, bytes) else onnx.load_model(source)
        read = now() - start
        try:
            evaluators = [_evaluator(proto) for _ in range(streams)]
        except (NotImplementedError, RuntimeError) as error:
            raise NotSupportedError(
                "unsupported.model",
                "the reference engine refuses this model",
                where=model.name,
                got=in_short(error),
                hint="try another engine (--engine onnxruntime)",
            ) from error
        except Exception as error:
            raise EngineError(
                "engine.compile",
                "the reference engine failed to prepare the model",
                where=model.name,
                got=in_short(error),
                hint="try another engine (--engine onnxruntime)",
            ) from error
        return _Compiled(
            self.name,
            inputs=model.inputs,
            outputs=model.outputs,
            settings={
                "threads": 1,
                "streams": streams,
                "precision": precision,
                "objective": settings.objective,
                "device": "CPU",
                "share_cores": settings.share_cores,
            },
            slots=evaluators,
            stages={"read": read, "compile": now() - start - read},
        )


def _evaluator(proto: ModelProto) -> ReferenceEvaluator:
    """Returns an evaluator; the model is converted where the evaluator knows an operator only in a later opset."""
    from onnx import version_converter
    from onnx.reference import ReferenceEvaluator

    try:
        return ReferenceEvaluator(proto)
    except (NotImplementedError, RuntimeError):
        return ReferenceEvaluator(version_converter.convert_version(proto, _LATER_OPSET))


class _Compiled(CompiledBase["ReferenceEvaluator"]):
    """Evaluators that share nothing, one a stream."""

    def _run(self, slot: ReferenceEvaluator, arrays: list[np.ndarray]) -> list[np.ndarray]:
        feeds = dict(zip((spec.name for spec in self.inputs), arrays, strict=True))
        try:
            with np.errstate(all="ignore"):  # infinities and NaN are results, not news
                results = slot.run(list(self._output_names), feeds)
        except Exception as error:
            raise run_error(self.engine, error) from error
        # An Identity gives its input back, a constant the model's own array: the caller gets copies.
        return [np.array(result, order="C") for result in results]
