"""What lives in a worker process: one compiled model, timed there, so that no message is ever part of a measurement.

`remote.RemoteModel` is its other half in the parent. Nothing here imports onnx: the parent sends along what a model's
file would have to be parsed for, and a fresh process imports numpy and the engine, as a deployed one would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from strop.engines.contract import CompiledModel, Settings
from strop.engines.registry import get_engine
from strop.engines.source import StoredModel
from strop.errors import UsageError
from strop.machine import machine
from strop.measure.clock import SYSTEM, now
from strop.measure.load import Submit, keep_in_flight, measure_throughput, rate_limited

Arrays = dict[str, np.ndarray]


def open_model(
    *, path: str, model: Mapping[str, Any], engine: str, settings: Mapping[str, Any], inputs: str | None = None
) -> Hosted:
    """Returns the model in the file `path`, compiled; `model` is `StoredModel.to_json`, `inputs` an .npz in order."""
    chosen = get_engine(engine)
    stored = StoredModel.from_json(model, Path(path))
    version = chosen.available().version
    machine()  # read once here, so that it is not counted as the engine's time
    return Hosted(
        load=chosen.load,
        compile=lambda: chosen.compile(stored, Settings().updated(settings)),
        version=version,
        inputs=None if inputs is None else stored_inputs(Path(inputs)),
    )


class Hosted:
    """A compiled model, the inputs it is timed with, and how long it took to come up.

    load: imports what is needed; compile: reads and compiles; inputs: arrays in the model's order.
    """

    def __init__(
        self,
        *,
        load: Callable[[], None],
        compile: Callable[[], CompiledModel],
        version: str = "",
        inputs: Sequence[np.ndarray] | None = None,
    ):
        start = now()
        load()
        imported = now()
        self.compiled = compile()
        compiled = now() - imported
        read = getattr(self.compiled, "stages", {}).get("read", 0.0)
        self._stages = {"import": imported - start, "read": read, "compile": compiled - read}
        self._version = version
        self._requests = 0
        self._samples: list[Arrays] = []
        if inputs is not None:
            self._samples.append(dict(zip((spec.name for spec in self.compiled.inputs), inputs, strict=True)))

    def describe(self) -> dict[str, object]:
        """Returns engine, version, settings in force, inputs and outputs."""
        return {
            "engine": self.compiled.engine,
            "version": self._version,
            "settings": dict(self.compiled.settings),
            "inputs": [spec.to_json() for spec in self.compiled.inputs],
            "outputs": [spec.to_json() for spec in self.compiled.outputs],
        }

    def run(self, arrays: Arrays) -> tuple[None, Arrays]:
        """Returns the outputs of one request."""
        self._requests += 1
        return None, self.compiled(arrays)

    def add_inputs(self, arrays: Arrays, first: bool) -> None:
        """Adds one sample to those that are timed in rotation; `first` forgets the others."""
        if first:
            self._samples = []
        self._samples.append({name: array.copy() for name, array in arrays.items()})

    def stages(self) -> dict[str, float]:
        """Returns the seconds of import, read, compile and first run; runs the first request for it.

        An engine that reads and compiles in one call has 0 for read.
        """
        if self._requests:
            raise UsageError("usage.bad-option", "the first run is over", hint="ask before anything else runs")
        sample = self._timed()[0]
        self._requests += 1
        began = now()
        self.compiled(sample)
        return {**self._stages, "first_run": now() - began}

    def block(self, n: int) -> list[float]:
        """Returns n durations in seconds of a request; of several samples, each is the mean over one pass of them.

        Samples of different sizes take different times: only whole passes can be compared.
        """
        samples, compiled = self._timed(), self.compiled
        self._requests += n * len(samples)
        seconds = []
        for _ in range(n):
            began = now()
            for sample in samples:
                compiled(sample)
            seconds.append((now() - began) / len(samples))
        return seconds

    def windows(self, n: int, requests: int | None, batch: int) -> list[float]:
        """Returns n samples of seconds per inference with `requests` in flight, each over that many answers."""
        requests = requests or self.advised_requests()
        number_of_all = requests * (n + 2)
        times = keep_in_flight(self._submit(), requests, lambda number: number < number_of_all)
        marks = [end for _, end in times[requests - 1 :: requests][: n + 1]]
        return [(after - before) / (requests * batch) for before, after in pairwise(marks)]

    def throughput(self, seconds: float, requests: int | None, batch: int) -> tuple[dict[str, Any], Arrays]:
        """Returns inferences per second with `requests` in flight, and each request's latency."""
        requests = requests or self.advised_requests()
        found = measure_throughput(self._submit(), requests=requests, seconds=seconds, batch=batch)
        value = {
            "per_second": asdict(found.per_second),
            "completed": found.completed,
            "seconds": found.seconds,
            "requests": requests,
        }
        return value, {"latencies": found.latencies}

    def rate_limited(
        self, seconds: float, rate: float, poisson: bool, requests: int | None
    ) -> tuple[dict[str, Any], Arrays]:
        """Returns latency from the scheduled arrival at `rate` requests per second."""
        requests = requests or self.advised_requests()
        found = rate_limited(
            self._submit(), rate=rate, seconds=seconds, requests=requests, poisson=poisson, clock=SYSTEM
        )
        value = {
            "asked": found.asked,
            "achieved": found.achieved,
            "completed": found.completed,
            "unserved": found.unserved,
            "requests": requests,
            "warnings": list(found.warnings),
        }
        return value, {"latencies": found.latencies}

    def profile(self, arrays: Arrays, repeats: int) -> list[dict[str, Any]]:
        """Returns the rows of `CompiledModel.profile`."""
        return [asdict(row) for row in self.compiled.profile(arrays, repeats=repeats)]

    def advised_requests(self) -> int:
        """Returns how many requests in flight keep every stream busy: two a stream."""
        return 2 * int(self.compiled.settings.get("streams", 1))

    def close(self) -> None:
        """Closes the compiled model."""
        self.compiled.close()

    def _timed(self) -> list[Arrays]:
        if not self._samples:
            raise UsageError("usage.bad-option", "there are no inputs to time", hint="set them first")
        return self._samples

    def _submit(self) -> Submit:
        samples, submit = self._timed(), self.compiled.submit
        self._requests += 1
        return lambda number: submit(samples[number % len(samples)])


def store_inputs(path: Path, arrays: Sequence[np.ndarray]) -> Path:
    """Writes arrays in their order to an .npz (by position: a name may be anything) and returns the path."""
    np.savez(path, *arrays)
    return path


def stored_inputs(path: Path) -> list[np.ndarray]:
    """Returns the arrays that `store_inputs` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return [stored[f"arr_{index}"] for index in range(len(stored.files))]
