"""The conformance suite finds what it is there to find: each broken engine fails the check that is meant for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest

from strop.engines.base import CompiledBase
from strop.engines.contract import CompiledModel, Inputs, Knob, ModelSource, Settings
from strop.engines.onnxruntime import OnnxRuntimeEngine
from strop.errors import EngineError
from strop.machine import Machine
from strop.testing import check_engine


class Broken:
    """ONNX Runtime's compiled model, with some of its ways replaced."""

    def __init__(self, compiled: CompiledModel, **changed: Callable[..., object]):
        self._compiled, self._changed = compiled, changed

    def __getattr__(self, name: str) -> object:
        return getattr(self._compiled, name)

    def __call__(self, inputs: Inputs) -> dict[str, np.ndarray]:
        call = self._changed.get("call", lambda compiled, inputs: compiled(inputs))
        return call(self._compiled, inputs)  # type: ignore[return-value]

    def run_into(self, inputs: Inputs, outputs: Mapping[str, np.ndarray]) -> None:
        run = self._changed.get("run_into", lambda compiled, inputs, outputs: compiled.run_into(inputs, outputs))
        run(self._compiled, inputs, outputs)

    def submit(self, inputs: Inputs) -> Future[dict[str, np.ndarray]]:
        submit = self._changed.get("submit", lambda compiled, inputs: compiled.submit(inputs))
        return submit(self._compiled, inputs)  # type: ignore[return-value]


class BrokenEngine(OnnxRuntimeEngine):
    def __init__(self, **changed: Callable[..., object]):
        self.changed = changed

    def compile(self, model: ModelSource, settings: Settings) -> CompiledModel:
        settings = self.changed.get("settings", lambda settings: settings)(settings)  # type: ignore[assignment]
        return Broken(super().compile(model, settings), **self.changed)  # type: ignore[return-value]


class DeafEngine(OnnxRuntimeEngine):
    """Has a knob that does nothing."""

    def knobs(self, machine: Machine) -> tuple[Knob, ...]:
        return (*super().knobs(machine), Knob("volume", "int", 1, "nothing", low=0, high=9))


def _reused(store: dict[str, np.ndarray] = {}) -> Callable[..., object]:  # noqa: B006 - the fault under test
    def call(compiled: CompiledModel, inputs: Inputs) -> dict[str, np.ndarray]:
        for name, array in compiled(inputs).items():
            if name not in store or store[name].shape != array.shape:
                store[name] = array
            store[name][...] = array
        return {spec.name: store[spec.name] for spec in compiled.outputs}

    return call


def _ignores_names(compiled: CompiledModel, inputs: Inputs) -> dict[str, np.ndarray]:
    return compiled(list(inputs.values()) if isinstance(inputs, Mapping) else inputs)


def _bad_sum(compiled: CompiledModel, inputs: Inputs) -> dict[str, np.ndarray]:
    return {name: array * np.float32(1.002) for name, array in compiled(inputs).items()}


def _raises_its_own(compiled: CompiledModel, inputs: Inputs) -> dict[str, np.ndarray]:
    try:
        return compiled(inputs)
    except Exception as error:
        raise ValueError("bad") from error


def _lazy_submit(compiled: CompiledBase[object], inputs: Inputs) -> Future[dict[str, np.ndarray]]:
    class Late(Future[dict[str, np.ndarray]]):
        def result(self, timeout: float | None = None) -> dict[str, np.ndarray]:
            return compiled(inputs)

    compiled.submit(inputs).result()
    return Late()


def _writes_elsewhere(compiled: CompiledModel, inputs: Inputs, outputs: Mapping[str, np.ndarray]) -> None:
    compiled.run_into(inputs, {name: array.copy() for name, array in outputs.items()})


def _crashes_on_batches(compiled: CompiledModel, inputs: Inputs) -> dict[str, np.ndarray]:
    result = compiled(inputs)
    if any(len(array) == 3 for array in result.values() if array.ndim == 2):
        raise EngineError("engine.run", "no", hint="none")
    return result


@pytest.mark.parametrize(
    ("engine", "violated"),
    [
        (BrokenEngine(call=_bad_sum), "computes_what_the_reference_computes"),
        (BrokenEngine(call=_crashes_on_batches), "takes_free_sizes_as_they_come"),
        (BrokenEngine(call=_ignores_names), "takes_inputs_by_name_or_in_order"),
        (BrokenEngine(call=_raises_its_own), "says_what_is_wrong_with_an_input"),
        (BrokenEngine(call=_reused()), "outputs_are_the_callers_own"),
        (BrokenEngine(run_into=_writes_elsewhere), "writes_into_the_callers_buffers"),
        (BrokenEngine(submit=_lazy_submit), "queued_requests_keep_their_inputs"),
        (BrokenEngine(settings=lambda s: replace(s, threads=2)), "reads_every_setting_back"),
        (BrokenEngine(settings=lambda s: replace(s, knobs={})), "refuses_unknown_knobs"),
        (BrokenEngine(settings=lambda s: replace(s, precision=None)), "refuses_another_precision"),
        (BrokenEngine(settings=lambda s: replace(s, device="CPU")), "refuses_devices_that_are_not_there"),
        (DeafEngine(), "reads_every_knob_back"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_engine_is_found(engine: OnnxRuntimeEngine, violated: str) -> None:
    with pytest.raises(AssertionError) as raised:
        check_engine(engine)
    assert f"\n- {violated}: " in str(raised.value)
    assert "breaks" in str(raised.value)
