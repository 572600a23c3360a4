"""ONNX Runtime as an engine.

Threads: a session has one pool of workers, and the thread that calls works too. With T threads and S streams the pool
gets T - S workers, so T threads work in all when S requests run at once; one request alone may use T - S + 1.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from strop.engines.base import DIRECT_BYTES, CompiledBase, in_short, naming, run_error
from strop.engines.contract import (
    Availability,
    CompiledModel,
    Knob,
    KnobValue,
    ModelSource,
    OperationTime,
    Settings,
)
from strop.engines.knobs import broken_install, check_precision, check_streams, device_missing, knob_values
from strop.engines.profiles import Origins
from strop.engines.source import readable
from strop.errors import EngineError, NotSupportedError
from strop.machine import Machine, machine
from strop.measure.clock import now

if TYPE_CHECKING:
    from strop.engines._onnxruntime_door import Options, Session

_ENTRIES = {
    "allow_spinning": "session.intra_op.allow_spinning",
    "stop_spinning": "session.force_spinning_stop",
}
"""Knobs that are session configuration entries ("0" or "1").

`session.set_denormal_as_zero` is none of them: it works in the first session of a process only.
"""

FLOAT32_ONLY = {"session.qdq_matmulnbits_accuracy_level": "1"}
"""Products with weights stored in few bits are computed in float32, not in int8 as is the default."""


class OnnxRuntimeEngine:
    """Runs models with ONNX Runtime (`pip install onnxruntime`)."""

    name = "onnxruntime"

    def available(self) -> Availability:
        """Says whether it is installed, without importing it."""
        if importlib.util.find_spec("onnxruntime") is None:
            return Availability(False, "not installed: pip install onnxruntime")
        from importlib.metadata import PackageNotFoundError, version

        for package in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"):
            try:
                return Availability(True, version=version(package))
            except PackageNotFoundError:
                continue
        return Availability(True)

    def knobs(self, machine: Machine) -> tuple[Knob, ...]:
        """Returns what may be set beyond the fields of Settings."""
        return (
            Knob("allow_spinning", "bool", True, "workers spin between operations: quicker, but they burn CPU"),
            Knob("stop_spinning", "bool", False, "workers stop spinning when the last running request is done"),
            Knob(
                "graph_optimization",
                "choice",
                "all",
                "how far the graph is optimized",
                choices=("disable", "basic", "extended", "all"),
            ),
            Knob(
                "inter_op_threads",
                "int",
                1,
                "above 1, independent branches run at once, on that many more threads",
                low=1,
                high=max(2, machine.cores),
            ),
            Knob("arena", "bool", True, "memory is kept for the next request instead of given back"),
            Knob("memory_pattern", "bool", True, "memory is planned after the first request of a shape"),
        )

    def load(self) -> None:
        """Imports ONNX Runtime; raises NotSupportedError `unsupported.engine-missing`."""
        if importlib.util.find_spec("onnxruntime") is None:
            raise NotSupportedError(
                "unsupported.engine-missing", "ONNX Runtime is not installed", hint="pip install onnxruntime"
            )
        try:
            import strop.engines._onnxruntime_door  # noqa: F401
        except (ImportError, OSError) as error:
            raise broken_install("ONNX Runtime", "onnxruntime", error) from error

    def compile(self, model: ModelSource, settings: Settings) -> CompiledModel:
        """Opens a session; `cache` is refused, as ONNX Runtime keeps no compile cache."""
        self.load()
        from strop.engines import _onnxruntime_door as door

        precision = check_precision(self.name, model, settings)
        if settings.cache is not None:
            raise NotSupportedError(
                "unsupported.feature",
                "ONNX Runtime keeps no compile cache",
                got=settings.cache,
                hint="leave `cache` out",
            )
        threads = settings.threads or machine().cores
        streams = settings.streams or (threads if settings.objective == "throughput" else 1)
        check_streams(self.name, threads, streams)
        knobs = knob_values(self.name, self.knobs(machine()), settings.knobs)
        options = door.Options(
            provider=_provider(settings.device, door.providers()),
            intra_op_threads=threads - streams + 1,
            inter_op_threads=int(knobs["inter_op_threads"]),
            optimization=str(knobs["graph_optimization"]),
            arena=bool(knobs["arena"]),
            memory_pattern=bool(knobs["memory_pattern"]),
            entries=FLOAT32_ONLY | {key: str(int(bool(knobs[name]))) for name, key in _ENTRIES.items()},
        )
        start = now()
        with readable(model) as source:
            session = open_session(source, options, where=model.name)
        if session.provider() != options.provider:
            raise device_missing(self.name, settings.device, [_device(session.provider())])
        stages = {"read": 0.0, "compile": now() - start}  # one call reads and compiles
        chosen: dict[str, KnobValue] = {
            "precision": precision,
            "objective": settings.objective,
            "share_cores": settings.share_cores,
        }
        return _Compiled(model, session, options=options, streams=streams, chosen=chosen, stages=stages)


def open_session(source: Path | bytes, options: Options, *, where: str) -> Session:
    """Returns a session; raises NotSupportedError `unsupported.model` for a graph that ONNX Runtime refuses.

    where: what the model is called in errors.
    """
    from strop.engines import _onnxruntime_door as door

    try:
        return door.Session(source, options)
    except door.REFUSALS as error:
        raise NotSupportedError(
            "unsupported.model",
            "ONNX Runtime refuses this model",
            where=where,
            got=in_short(error),
            hint="try another engine (--engine openvino), or export the model with another opset",
        ) from error
    except Exception as error:
        raise EngineError(
            "engine.compile",
            "ONNX Runtime failed to open the model",
            where=where,
            got=in_short(error),
            hint="try graph_optimization=disable, or another engine",
        ) from error


class _Compiled(CompiledBase[object]):
    """A session; it takes concurrent requests by itself, so a slot is only leave to run."""

    def __init__(
        self,
        model: ModelSource,
        session: Session,
        *,
        options: Options,
        streams: int,
        chosen: Mapping[str, KnobValue],
        stages: Mapping[str, float],
    ):
        super().__init__(
            "onnxruntime",
            inputs=model.inputs,
            outputs=model.outputs,
            settings=_settings(session, streams) | dict(chosen),
            slots=[object()] * streams,
            stages=stages,
        )
        self._model, self._options = model, options
        self._session: Session | None = session
        self._run_session, self._run_bound = session.run, session.run_into
        self._input_names = tuple(spec.name for spec in model.inputs)
        self._named_inputs = naming(self._input_names)

    def _run(self, slot: object, arrays: list[np.ndarray]) -> list[np.ndarray]:
        try:
            return self._run_session(self._output_names, self._named_inputs(arrays))
        except Exception as error:
            raise run_error(self.engine, error) from error

    def _run_into(self, slot: object, arrays: list[np.ndarray], buffers: list[np.ndarray]) -> None:
        if sum(buffer.nbytes for buffer in buffers) >= DIRECT_BYTES:
            feeds = dict(zip(self._input_names, arrays, strict=True))
            try:
                self._run_bound(feeds, dict(zip(self._output_names, buffers, strict=True)))
                return
            except Exception:  # mostly a buffer of another shape; running unbound tells, whatever the version's words
                pass
        super()._run_into(slot, arrays, buffers)

    def _profile(self, arrays: list[np.ndarray], repeats: int) -> list[OperationTime]:
        from strop.engines import _onnxruntime_door as door

        origins = Origins(self._model)
        feeds = dict(zip(self._input_names, arrays, strict=True))
        with readable(self._model) as source:
            times = door.profile(source, self._options, self._output_names, feeds, repeats)
        rows = [
            OperationTime(
                node.name,
                node.kind,
                "EXECUTED",
                node.provider,
                node.microseconds / repeats / 1000,
            )
            for node in times
        ]
        return origins.completed(rows)

    def _release(self) -> None:
        self._session = None
        del self._run_session, self._run_bound


def _provider(device: str, providers: tuple[str, ...]) -> str:
    present = {_device(provider): provider for provider in providers if provider != "AzureExecutionProvider"}
    if device.upper() not in present:
        raise device_missing("onnxruntime", device, sorted(present, key=lambda name: name != "CPU"))
    return present[device.upper()]


def _device(provider: str) -> str:
    """Returns the name users type: CUDAExecutionProvider is CUDA."""
    return provider.removesuffix("ExecutionProvider").upper()


def _settings(session: Session, streams: int) -> dict[str, KnobValue]:
    read = session.options_in_force(list(_ENTRIES.values()))
    return {
        "threads": read.intra_op_threads + streams - 1,
        "streams": streams,
        "device": _device(read.provider),
        "graph_optimization": read.optimization,
        "inter_op_threads": read.inter_op_threads,
        "arena": read.arena,
        "memory_pattern": read.memory_pattern,
        **{name: read.entries[key] == "1" for name, key in _ENTRIES.items()},
    }
