"""What every compiled model does the same way: check what goes in, share the streams, queue requests, close.

An engine's subclass only runs. A request takes a *slot* (what one stream needs for itself) from a queue and gives it
back, so at most one request per stream runs at once, and closing waits for those that run.
"""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import numpy as np

from strop.engines.checks import BufferCheck, InputCheck
from strop.engines.contract import Inputs, KnobValue, OperationTime
from strop.engines.thread_budget import lease_of
from strop.errors import EngineError, NotSupportedError, UsageError
from strop.loader.checks import buffer_error
from strop.model.specs import TensorSpec

if TYPE_CHECKING:
    from concurrent.futures import Future

    from strop.engines.request_threads import RequestThreads

Slot = TypeVar("Slot")

_PLACES = re.compile(
    r"Exception from src/\S+|Check '.*?' failed at src/\S+|FrontEnd API failed with \w+:|"
    r"Model wasn't fully converted\.|Failed operations detailed log:|\S*/onnxruntime/core/\S+ "
)
"""Where in its own source an engine failed: no help to its users."""

DIRECT_BYTES = 64 * 1024
"""From this size on an array is handed to the engine where it lies; below, copying is quicker than wrapping it."""


class CompiledBase(Generic[Slot]):
    """A compiled model: subclasses give it `_run`, and may give it `_run_into`, `_profile` and `_release`.

    Args:
        engine: the engine's name.
        inputs: the model's inputs, in its order.
        outputs: the model's outputs, in its order.
        settings: what is in force, read back.
        slots: one object per stream (not None), handed to `_run`, each to one request at a time.
        stages: seconds that reading and compiling took, as far as the engine tells them apart.
    """

    def __init__(
        self,
        engine: str,
        *,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        settings: Mapping[str, KnobValue],
        slots: Sequence[Slot],
        stages: Mapping[str, float],
    ):
        self.engine, self.inputs, self.outputs = engine, inputs, outputs
        self.settings: Mapping[str, KnobValue] = MappingProxyType({"engine": engine, "share_cores": True, **settings})
        self._lease = lease_of(self.settings)
        self.stages = dict(stages)
        self._output_names = tuple(spec.name for spec in outputs)
        self._named_outputs = naming(self._output_names)
        self._arrays, self._buffers = InputCheck(inputs), BufferCheck(outputs)
        self._streams = len(slots)
        self._slots: queue.SimpleQueue[Slot | None] = queue.SimpleQueue()  # None: closed
        for slot in slots:
            self._slots.put(slot)
        self._lock = threading.Lock()
        self._closed = False
        self._threads: RequestThreads | None = None

    def __call__(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """Runs one request; the outputs are fresh arrays that the caller owns."""
        return self._request(self._arrays(inputs))

    def run_into(self, inputs: Inputs, outputs: Mapping[str, np.ndarray]) -> None:
        """Runs one request and writes the results into the caller's arrays (C order, exact dtype and shape)."""
        arrays, buffers = self._arrays(inputs), self._buffers(outputs)
        for buffer in buffers:  # an engine may write results while it still reads inputs
            arrays = [array.copy() if np.may_share_memory(array, buffer) else array for array in arrays]
        slot = self._take()
        lease = self._lease
        try:
            if lease is not None and lease.must_share:
                with lease:
                    self._run_into(slot, arrays, buffers)
            else:
                self._run_into(slot, arrays, buffers)
        finally:
            self._slots.put(slot)

    def submit(self, inputs: Inputs) -> Future[dict[str, np.ndarray]]:
        """Queues one request; its inputs may be reused as soon as this returns. Requests start in order."""
        arrays = [array.copy() for array in self._arrays(inputs)]
        with self._lock:
            if self._closed:
                raise self._closed_error()
            if self._threads is None:
                from strop.engines.request_threads import RequestThreads  # most models are only ever called

                self._threads = RequestThreads(self._streams, f"strop-{self.engine}", self)
            return self._threads.submit(self._request, arrays)

    def profile(self, inputs: Inputs, *, repeats: int = 10) -> list[OperationTime]:
        """Returns the mean time per operation over `repeats` requests; they run on a copy made for this."""
        arrays = self._arrays(inputs)
        if self._closed:
            raise self._closed_error()
        return self._profile(arrays, repeats)

    def close(self) -> None:
        """Serves what is queued, then gives threads and memory back; later calls raise UsageError (`usage.closed`)."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._threads is not None:
            self._threads.close()
        for _ in range(self._streams):
            self._slots.get()  # waits for a request that runs
        self._slots.put(None)
        if self._lease is not None:
            self._lease.close()
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, slot: Slot, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Returns fresh outputs in the model's order for inputs in the model's order and in C order."""
        raise NotImplementedError

    def _run_into(self, slot: Slot, arrays: list[np.ndarray], buffers: list[np.ndarray]) -> None:
        """Writes the outputs into `buffers`, whose shape is not checked yet."""
        for name, result, buffer in zip(self._output_names, self._run(slot, arrays), buffers, strict=True):
            if result.shape != buffer.shape:
                raise buffer_error(name, "has the wrong shape", got=buffer.shape, expected=result.shape)
            np.copyto(buffer, result)

    def _profile(self, arrays: list[np.ndarray], repeats: int) -> list[OperationTime]:
        raise NotSupportedError(
            "unsupported.feature",
            f"{self.engine} cannot tell where its time goes",
            hint="profile the model with onnxruntime or openvino",
        )

    def _release(self) -> None:
        """Drops what holds threads and memory."""

    def _request(self, arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
        slot = self._take()
        lease = self._lease
        try:
            if lease is not None and lease.must_share:
                with lease:
                    results = self._run(slot, arrays)
            else:
                results = self._run(slot, arrays)
        finally:
            self._slots.put(slot)
        return self._named_outputs(results)

    def _take(self) -> Slot:
        slot = self._slots.get()
        if slot is None:
            self._slots.put(None)
            raise self._closed_error()
        return slot

    def _closed_error(self) -> UsageError:
        return UsageError("usage.closed", f"this model on {self.engine} was closed", hint="compile it again")


def naming(names: Sequence[str]) -> Callable[[Sequence[np.ndarray]], dict[str, np.ndarray]]:
    """Returns what gives arrays their names, quick where there is one: a small model's call is a few microseconds."""
    if len(names) == 1:
        only = names[0]
        return lambda arrays: {only: arrays[0]}
    return lambda arrays: dict(zip(names, arrays, strict=True))


def run_error(engine: str, error: BaseException) -> EngineError:
    """Returns the error for a request that the engine failed to run."""
    return EngineError(
        "engine.run",
        f"{engine} failed to run the model",
        got=in_short(error),
        hint="check that the inputs' sizes fit each other; try another engine, or --engine reference",
    )


def in_short(error: BaseException, *, limit: int = 300) -> str:
    """Returns an engine's own words without the places in its source, cut to `limit` characters."""
    text = " ".join(_PLACES.sub("", str(error)).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 4].rstrip() + " ..."
