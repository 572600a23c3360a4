"""OpenVINO as an engine.

Float32 is enforced: on CPUs with bfloat16 units OpenVINO would compute in bfloat16 by itself, and products with weights
stored in 8 or 4 bits with activations in 8 bits. The threads are counted over all streams together.

A process whose affinity mask held one core when OpenVINO was first used stays at one thread; `.settings` shows it.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from strop.engines.base import CompiledBase, in_short, run_error
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
from strop.loader.checks import buffer_error
from strop.machine import Machine, machine
from strop.measure.clock import now

if TYPE_CHECKING:
    from strop.engines._openvino_door import Program, Property, Request

_PROPERTIES = {
    "cpu_pinning": "ENABLE_CPU_PINNING",
    "flush_denormals": "CPU_DENORMALS_OPTIMIZATION",
    "partitioner": "TBB_PARTITIONER",
    "dynamic_quantization": "DYNAMIC_QUANTIZATION_GROUP_SIZE",
    "hyper_threading": "ENABLE_HYPER_THREADING",
    "core_type": "SCHEDULING_CORE_TYPE",
}
"""OpenVINO's name of each knob, for setting and for reading back."""

_CORE_TYPES = {"any": "ANY_CORE", "performance": "PCORE_ONLY", "efficiency": "ECORE_ONLY"}

_REFUSAL = re.compile(r"not (been )?(supported|implemented)|unsupported|does(n't| not) support|not converted", re.I)
"""How OpenVINO words it when a model is beyond it, as against a failure of its own: all raise RuntimeError."""


class OpenVinoEngine:
    """Runs models with OpenVINO (`pip install openvino`)."""

    name = "openvino"

    def available(self) -> Availability:
        """Says whether it is installed, without importing it."""
        if importlib.util.find_spec("openvino") is None:
            return Availability(False, "not installed: pip install 'strop[openvino]'")
        from importlib.metadata import version

        return Availability(True, version=version("openvino"))

    def knobs(self, machine: Machine) -> tuple[Knob, ...]:
        """Returns what may be set beyond the fields of Settings; some exist only on CPUs where they do something."""
        knobs = [
            Knob("cpu_pinning", "bool", None, "each thread stays on one core; left out, OpenVINO decides"),
            Knob(
                "flush_denormals",
                "bool",
                False,
                "numbers too small for float32's full precision count as zero, in the calling thread's own work too",
            ),
            Knob(
                "partitioner",
                "choice",
                None,
                "how work is cut for the threads: in equal parts, or as threads become free",
                choices=("static", "auto"),
            ),
            Knob(
                "dynamic_quantization",
                "int",
                0,
                "group size in which activations are quantized at run time before products with weights of few bits; "
                "0 keeps them float32",
                low=0,
                high=1024,
            ),
        ]
        if machine.smt:
            knobs.append(Knob("hyper_threading", "bool", None, "threads may share a core with another one"))
        if machine.hybrid:
            knobs.append(Knob("core_type", "choice", "any", "which cores are used", choices=tuple(_CORE_TYPES)))
        return tuple(knobs)

    def load(self) -> None:
        """Imports OpenVINO; raises NotSupportedError `unsupported.engine-missing`."""
        if importlib.util.find_spec("openvino") is None:
            raise NotSupportedError(
                "unsupported.engine-missing", "OpenVINO is not installed", hint="pip install 'strop[openvino]'"
            )
        try:
            import strop.engines._openvino_door  # noqa: F401
        except (ImportError, OSError) as error:
            raise broken_install("OpenVINO", "openvino", error) from error

    def compile(self, model: ModelSource, settings: Settings) -> CompiledModel:
        """Compiles for the device; with `cache`, a second compile of the same model comes from that folder."""
        self.load()
        from strop.engines import _openvino_door as door

        precision = check_precision(self.name, model, settings)
        knobs = self.knobs(machine())
        values = knob_values(self.name, knobs, settings.knobs)
        device = settings.device.upper()
        if device not in [name.partition(".")[0] for name in door.devices()] + list(door.devices()):
            raise device_missing(self.name, settings.device, door.devices())
        properties = _properties(settings, device, values)
        start = now()
        with readable(model) as source:
            # Compiled straight from its file, a cached model is not even parsed.
            straight = settings.cache is not None and isinstance(source, Path)
            graph = str(source) if straight else _read(model, source)
            read = now() - start
            program = _compile(model, graph, device, properties)
        stages = {"read": read, "compile": now() - start - read}
        return _Compiled(
            model,
            program,
            device=device,
            properties=properties,
            settings=settings,
            knobs=[knob.name for knob in knobs],
            precision=precision,
            stages=stages,
        )


class _Compiled(CompiledBase["Request"]):
    """A compiled model with one infer request a stream."""

    def __init__(
        self,
        model: ModelSource,
        program: Program,
        *,
        device: str,
        properties: Mapping[str, Property],
        settings: Settings,
        knobs: Iterable[str],
        precision: str,
        stages: Mapping[str, float],
    ):
        chosen: dict[str, KnobValue] = {
            "precision": precision,
            "objective": settings.objective,
            "share_cores": settings.share_cores,
        }
        if settings.cache is not None:
            chosen["cache"] = settings.cache
        super().__init__(
            "openvino",
            inputs=model.inputs,
            outputs=model.outputs,
            settings=_settings(program, device, knobs) | chosen,
            slots=[program.request() for _ in range(int(program.read_back("OPTIMAL_NUMBER_OF_INFER_REQUESTS") or 1))],
            stages=stages,
        )
        self._model, self._device, self._properties = model, device, properties
        self._input_order = _model_indices([spec.name for spec in model.inputs], program.input_names())
        self._output_order = _model_indices([spec.name for spec in model.outputs], program.output_names())
        self._output_ports = [self._output_order.index(index) for index in range(len(model.outputs))]
        self._program: Program | None = program

    def _run(self, slot: Request, arrays: list[np.ndarray]) -> list[np.ndarray]:
        try:
            results = slot.run([arrays[index] for index in self._input_order])
        except Exception as error:
            raise run_error(self.engine, error) from error
        return [results[port] for port in self._output_ports]

    def _run_into(self, slot: Request, arrays: list[np.ndarray], buffers: list[np.ndarray]) -> None:
        try:
            misfit = slot.run_into([arrays[i] for i in self._input_order], [buffers[i] for i in self._output_order])
        except Exception as error:
            raise run_error(self.engine, error) from error
        if misfit is not None:
            index = self._output_order[misfit]
            raise buffer_error(
                self._output_names[index],
                "has the wrong shape",
                got=buffers[index].shape,
                expected=slot.result_shape(misfit),
            )

    def _profile(self, arrays: list[np.ndarray], repeats: int) -> list[OperationTime]:
        from strop.engines import _openvino_door as door

        with readable(self._model) as source:
            program = door.Program(door.read(source), self._device, {**self._properties, "PERF_COUNT": True})
        request, originals, origins = program.request(), program.original_names(), Origins(self._model)
        ordered = [arrays[index] for index in self._input_order]
        request.run(ordered)
        runs = []
        for _ in range(repeats):
            request.run(ordered)
            runs.append(request.times())
        rows = []
        for same in zip(*runs, strict=True):
            first = same[0]
            if first.kind in ("Parameter", "Result", "Constant"):
                continue
            rows.append(
                OperationTime(
                    first.name,
                    first.kind,
                    "EXECUTED" if first.executed else "NOT_RUN",
                    first.execution,
                    sum(row.seconds for row in same) / repeats * 1000,
                    sum(row.cpu_seconds for row in same) / repeats * 1000,
                    origins.of([*originals.get(first.name, ()), first.name]),
                )
            )
        return origins.with_rest(rows)

    def _release(self) -> None:
        self._program = None


def _properties(settings: Settings, device: str, knobs: Mapping[str, KnobValue]) -> dict[str, Property]:
    """Returns what OpenVINO is told; what is left out is OpenVINO's own choice."""
    properties: dict[str, Property] = {
        "PERFORMANCE_HINT": settings.objective.upper(),
        "INFERENCE_PRECISION_HINT": "f32",
    }
    if settings.streams is not None or settings.objective == "latency":
        properties["NUM_STREAMS"] = settings.streams or 1
    if settings.cache is not None:
        properties["CACHE_DIR"] = settings.cache
    if device == "CPU":
        threads = settings.threads or machine().cores
        check_streams("openvino", threads, settings.streams or 1)
        properties["INFERENCE_NUM_THREADS"] = threads
        for name, value in knobs.items():
            text = value.upper() if isinstance(value, str) else value
            properties[_PROPERTIES[name]] = _CORE_TYPES[str(value)] if name == "core_type" else text
    return properties


def _read(model: ModelSource, source: Path | bytes) -> object:
    from strop.engines import _openvino_door as door

    try:
        return door.read(source)
    except Exception as error:
        raise _refusal(model, error) from error


def _compile(model: ModelSource, graph: object, device: str, properties: Mapping[str, Property]) -> Program:
    from strop.engines import _openvino_door as door

    try:
        program = door.Program(graph, device, properties)
    except Exception as error:
        if _REFUSAL.search(str(error)):
            raise _refusal(model, error) from error
        raise EngineError(
            "engine.compile",
            "OpenVINO failed to compile the model",
            where=model.name,
            got=in_short(error),
            hint="try another engine (--engine onnxruntime)",
        ) from error
    precision = program.read_back("INFERENCE_PRECISION_HINT")
    if precision not in (None, "f32"):
        raise NotSupportedError(
            "unsupported.precision",
            f"OpenVINO would run the model in {precision} on {device}",
            where=model.name,
            got=precision,
            expected="f32",
            hint="use device=CPU",
        )
    return program


def _refusal(model: ModelSource, error: Exception) -> NotSupportedError:
    return NotSupportedError(
        "unsupported.model",
        "OpenVINO refuses this model",
        where=model.name,
        got=in_short(error),
        hint="try another engine (--engine onnxruntime), or fix the model's input shapes (--shape)",
    )


def _settings(program: Program, device: str, knobs: Iterable[str]) -> dict[str, KnobValue]:
    settings: dict[str, KnobValue] = {"device": str(program.read_back("EXECUTION_DEVICES") or device)}
    names = {
        "threads": "INFERENCE_NUM_THREADS",
        "streams": "NUM_STREAMS",
        **{name: _PROPERTIES[name] for name in knobs},
    }
    for name, key in names.items():
        value = program.read_back(key)
        if value is not None:
            settings[name] = value.lower() if isinstance(value, str) else value
    if "core_type" in settings:
        settings["core_type"] = {text.lower(): name for name, text in _CORE_TYPES.items()}[str(settings["core_type"])]
    return settings


def _model_indices(names: Sequence[str], ports: Sequence[frozenset[str]]) -> list[int]:
    """Returns for each of OpenVINO's ports which of the model's inputs (or outputs) it is.

    OpenVINO keeps the order of ONNX but may lose a name where it folds nodes at the edge; so the order decides where
    not every port is found by name.
    """
    found = [next((index for index, name in enumerate(names) if name in port), None) for port in ports]
    if len(set(found)) == len(ports) and None not in found:
        return [index for index in found if index is not None]
    return list(range(len(ports)))
