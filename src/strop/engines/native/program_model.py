"""A model all of which is machine code: an image, called straight from Python.

Loading a bundle comes this way in a fresh process, so nothing heavy is imported here before it is needed.
"""

from __future__ import annotations

from _thread import allocate_lock  # threading.Lock, without its imports
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from strop.engines.thread_budget import lease_of
from strop.errors import UsageError
from strop.loader.checks import input_arrays
from strop.loader.native import NativeProgram

if TYPE_CHECKING:
    from concurrent.futures import Future

    from strop.engines.contract import Inputs, KnobValue, OperationTime
    from strop.engines.native.spread import Spread
    from strop.engines.request_threads import RequestThreads
    from strop.loader.image import Image
    from strop.loader.plan import Tensor
    from strop.model.specs import TensorSpec


_SHORT_SECONDS = 50e-6  # as in loader/native.py


class ProgramModel:
    """A `CompiledModel` on a `NativeProgram`, which checks inputs, hands out streams and knows when it is closed.

    Args:
        image: plan, code and weights.
        settings: what is in force, with threads (of all streams together) and streams.
        stages: seconds that reading and compiling took.
    """

    engine = "native"
    native_share = 1.0

    def __init__(self, image: Image, *, settings: Mapping[str, KnobValue], stages: Mapping[str, float]):
        self.settings: Mapping[str, KnobValue] = MappingProxyType(
            {"engine": self.engine, "share_cores": True, **settings}
        )
        self.stages = dict(stages)
        self.image = image
        self._streams = int(settings["streams"])
        self._program = NativeProgram(
            image,
            threads=max(1, int(settings["threads"]) // self._streams),
            streams=self._streams,
            cores=_cores() if int(settings["threads"]) > 1 else None,
        )
        self._call = self._program.call
        # What keeps Python's lock while it runs has no need of turns, and is over before they would be taken.
        self._is_short = 0 < image.plan.seconds <= _SHORT_SECONDS
        self._lease = None if self._is_short else lease_of(self.settings)
        self._names = tuple(tensor.name for tensor in self._program.inputs)
        self._lock = allocate_lock()
        self._closed = False
        self._threads: RequestThreads | None = None
        self._spread: Spread | None = None

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs, in the model's order."""
        return _specs(self._program.inputs)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs, in the model's order."""
        return _specs(self._program.outputs)

    def __call__(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """Runs one request; the outputs are fresh arrays that the caller owns."""
        if type(inputs) is list and len(inputs) == len(self._names):  # the builtin's quick way is for names
            inputs = dict(zip(self._names, inputs, strict=True))
        lease = self._lease
        if lease is not None and lease.must_share:
            with lease:
                shared: dict[str, np.ndarray] = self._call(inputs)
                return shared
        result: dict[str, np.ndarray] = self._call(inputs)
        return result

    def run_into(self, inputs: Inputs, outputs: Mapping[str, np.ndarray]) -> None:
        """Runs one request and writes the results into the caller's arrays (C order, exact dtype and shape)."""
        lease = self._lease
        if lease is not None and lease.must_share:
            with lease:
                self._call(inputs, outputs)
        else:
            self._call(inputs, outputs)

    def submit(self, inputs: Inputs) -> Future[dict[str, np.ndarray]]:
        """Queues one request; its inputs may be reused as soon as this returns. Requests start in order."""
        self._check_open()
        arrays = input_arrays(self._program.inputs, inputs)
        if self._is_short:
            return self._done(arrays)
        arrays = [array.copy() for array in arrays]
        with self._lock:
            self._check_open()
            if self._threads is None:
                from strop.engines.request_threads import RequestThreads  # most models are only ever called

                self._threads = RequestThreads(self._streams, "strop-native", self)
                self._spread = self._spread_of_streams()
            if self._spread is not None:
                return self._threads.submit(self._spread, self, arrays)
            return self._threads.submit(self, arrays)

    def profile(self, inputs: Inputs, *, repeats: int = 10) -> list[OperationTime]:
        """Returns the mean time per task over `repeats` requests; they run on a copy made for this."""
        self._check_open()
        from strop.engines.contract import OperationTime
        from strop.measure.clock import now

        seconds = self._program.profile(inputs, repeats, now).mean(axis=0)
        return [
            OperationTime(
                task.name,
                task.kernel,
                "EXECUTED",
                f"{task.kernel} {task.tile}".strip(),
                1e3 * float(time),
                None,
                task.origin,
            )
            for task, time in zip(self._program.plan.tasks, seconds, strict=True)
        ]

    def close(self) -> None:
        """Serves what is queued, then gives threads and memory back; later calls raise UsageError (`usage.closed`)."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._threads is not None:
            self._threads.close()
        if self._lease is not None:
            self._lease.close()
        self._program.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _done(self, arrays: list[np.ndarray]) -> Future[dict[str, np.ndarray]]:
        """Runs a request here and now: handing it to a thread takes longer, and would not run beside this one."""
        from concurrent.futures import Future

        done: Future[dict[str, np.ndarray]] = Future()
        done.set_running_or_notify_cancel()
        try:
            done.set_result(self(arrays))
        except Exception as error:  # as a thread would have it
            done.set_exception(error)
        return done

    def _spread_of_streams(self) -> Spread | None:
        """Returns what keeps streams of one thread apart; teams keep apart by themselves."""
        threads = int(self.settings["threads"])
        if self._streams == 1 or threads >= 2 * self._streams or self._streams > _cores():
            return None
        from strop.engines.native.spread import Spread, can_spread

        return Spread() if can_spread() else None

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("usage.closed", "this model on native was closed", hint="compile it again")


def _cores() -> int:
    from strop.machine import usable_cores  # one thread does without its imports

    return usable_cores()


def _specs(tensors: tuple[Tensor, ...]) -> tuple[Any, ...]:
    from strop.model.specs import TensorSpec  # a bundle that is only run never needs it

    return tuple(TensorSpec(tensor.name, tensor.dtype, tensor.shape) for tensor in tensors)
