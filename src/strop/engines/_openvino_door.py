"""The typed door to OpenVINO: the one file of this room that touches its untyped API. Importing it imports OpenVINO."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from strop.engines.base import DIRECT_BYTES

Property = str | int | float | bool


@functools.cache
def core() -> Any:
    """Returns the process's one Core; it loads a device's plug-in at the first use."""
    return openvino.Core()


def version() -> str:
    """Returns OpenVINO's version, without the build's number."""
    return str(openvino.__version__).split("-")[0]


def devices() -> tuple[str, ...]:
    """Returns the devices that are really there: ("CPU", "GPU.0", ...)."""
    return tuple(core().available_devices)


def read(source: Path | bytes) -> Any:
    """Returns OpenVINO's form of an ONNX model; raises RuntimeError for one that its front end does not take."""
    return core().read_model(source if isinstance(source, bytes) else str(source))


class Program:
    """A model compiled for a device."""

    def __init__(self, model: Any, device: str, properties: Mapping[str, Property]):
        self._compiled = core().compile_model(model, device, dict(properties))
        self._readable: frozenset[str] = frozenset(self._compiled.get_property("SUPPORTED_PROPERTIES"))

    def input_names(self) -> list[frozenset[str]]:
        """Returns the names each input goes by, in OpenVINO's order."""
        return [frozenset(port.names) for port in self._compiled.inputs]

    def output_names(self) -> list[frozenset[str]]:
        """Returns the names each output goes by, in OpenVINO's order."""
        return [frozenset(port.names) for port in self._compiled.outputs]

    def read_back(self, name: str) -> Property | None:
        """Returns a property in force as text, number or bool; None where this device has no such property."""
        if name not in self._readable:
            return None
        value = self._compiled.get_property(name)
        if isinstance(value, (str, int, float, bool)) and not hasattr(value, "name"):
            return value
        if isinstance(value, (list, tuple, set)):
            return ",".join(sorted(map(str, value)))
        if hasattr(value, "get_type_name"):  # an element type
            return str(value.get_type_name())
        return str(getattr(value, "name", value))

    def request(self) -> Request:
        """Returns an infer request of its own."""
        return Request(self._compiled)

    def original_names(self) -> dict[str, tuple[str, ...]]:
        """Returns the names of the nodes that each operation of the compiled graph came from."""
        names = {}
        for operation in self._compiled.get_runtime_model().get_ordered_ops():
            original = operation.get_rt_info()["originalLayersNames"]
            names[str(operation.get_friendly_name())] = tuple(part for part in str(original.value).split(",") if part)
        return names


class Request:
    """An infer request: serves one caller at a time.

    Small static inputs and outputs are copied into and out of the request's own tensors, which is quicker than setting
    them; larger ones, and those whose size varies, are read and (static ones) written where they lie.
    """

    def __init__(self, compiled: Any):
        self._request = compiled.create_infer_request()
        self._inputs = [self._own(port, self._request.get_input_tensor, i) for i, port in enumerate(compiled.inputs)]
        self._outputs = [self._own(port, self._request.get_output_tensor, i) for i, port in enumerate(compiled.outputs)]
        self._fixed = [_shape_and_type(port) for port in compiled.outputs]
        self._direct = [
            (index, *fixed)
            for index, (own, fixed) in enumerate(zip(self._outputs, self._fixed, strict=True))
            if own is None and fixed is not None
        ]

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns fresh outputs in OpenVINO's order for inputs in its order (C order, right type and shape)."""
        held = self._set_inputs(arrays)
        fresh: dict[int, np.ndarray] = {}
        for index, shape, dtype in self._direct:
            fresh[index] = array = np.empty(shape, dtype)
            self._request.set_output_tensor(index, _borrowing(array))
        self._request.infer(share_outputs=True)
        del held
        return [
            fresh[index] if index in fresh else self._result(index).copy() if own is None else own.copy()
            for index, own in enumerate(self._outputs)
        ]

    def run_into(self, arrays: Sequence[np.ndarray], buffers: Sequence[np.ndarray]) -> int | None:
        """Writes the outputs into `buffers`; returns the first output whose shape is another, None where all fit."""
        direct = []
        for index, (own, fixed, buffer) in enumerate(zip(self._outputs, self._fixed, buffers, strict=True)):
            if fixed is not None and fixed[0] != buffer.shape:
                return index
            direct.append(own is None and fixed is not None)
            if direct[-1]:
                self._request.set_output_tensor(index, _borrowing(buffer))
        held = self._set_inputs(arrays)
        self._request.infer(share_outputs=True)
        del held
        for index, buffer in enumerate(buffers):
            if not direct[index]:
                result = self._result(index)
                if result.shape != buffer.shape:
                    return index
                np.copyto(buffer, result)
        return None

    def result_shape(self, index: int) -> tuple[int, ...]:
        """Returns the shape of an output: what it always is, or what it was in the last run."""
        fixed = self._fixed[index]
        return fixed[0] if fixed is not None else tuple(self._result(index).shape)

    def times(self) -> list[OperationProfile]:
        """Returns what the last run spent where; the model was compiled with PERF_COUNT."""
        return [
            OperationProfile(
                str(row.node_name),
                str(row.node_type),
                row.status == openvino.ProfilingInfo.Status.EXECUTED,
                str(row.exec_type),
                row.real_time.total_seconds(),
                row.cpu_time.total_seconds(),
            )
            for row in self._request.get_profiling_info()
        ]

    def _set_inputs(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Sets the inputs and returns the copies made for it, to be held until the run is over: tensors only borrow."""
        held = []
        for index, (own, array) in enumerate(zip(self._inputs, arrays, strict=True)):
            if own is not None:
                own[...] = array
                continue
            # A tensor can share only what may be written, though the engine never does.
            if not array.flags.writeable:
                array = array.copy()
                held.append(array)
            self._request.set_input_tensor(index, _borrowing(array))
        return held

    def _result(self, index: int) -> np.ndarray:
        own = self._outputs[index]
        result: np.ndarray = self._request.get_output_tensor(index).data if own is None else own
        return result

    def _own(self, port: Any, tensor: Any, index: int) -> np.ndarray | None:
        """Returns a view of the request's own tensor where that is small and never changes its size, else None."""
        fixed = _shape_and_type(port)
        if fixed is None or np.prod(fixed[0]) * fixed[1].itemsize >= DIRECT_BYTES:
            return None
        view: np.ndarray = tensor(index).data
        return view


@dataclass(frozen=True, slots=True)
class OperationProfile:
    """One row of the last run's profile, in seconds."""

    name: str
    kind: str
    executed: bool
    execution: str
    seconds: float
    cpu_seconds: float


def _borrowing(array: np.ndarray) -> Any:
    """Returns a tensor over the array's own memory, which must be writeable and outlive the run."""
    # OpenVINO knows int64 by one of the two type numbers that numpy has for it (long and long long).
    dtype = np.dtype(array.dtype.str)
    return openvino.Tensor(array if array.dtype.num == dtype.num else array.view(dtype), shared_memory=True)


def _shape_and_type(port: Any) -> tuple[tuple[int, ...], np.dtype] | None:
    """Returns shape and dtype of an input or output that is always of one size, else None."""
    if port.get_partial_shape().is_dynamic:
        return None
    return tuple(port.get_shape()), np.dtype(port.get_element_type().to_dtype())
