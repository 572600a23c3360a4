"""The parent's side of a model that runs in a worker process: it is called and timed as if it were here.

A crash, a leak or a spinning thread pool of one engine is then no other engine's.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from strop.engines.contract import Inputs, KnobValue, ModelSource, OperationTime, Settings
from strop.engines.hosted import store_inputs
from strop.engines.source import StoredModel
from strop.measure.estimate import Estimate
from strop.measure.first_inference import FirstInference, first_inference
from strop.measure.latency import measure_latency
from strop.measure.load import PERCENTILES, Throughput
from strop.measure.memory import Memory
from strop.measure.statistics import Percentile, median_estimate, percentile
from strop.measure.worker import DEFAULT_TIMEOUT, Timeout, Worker
from strop.model.axes import batch_axes
from strop.model.specs import TensorSpec

FACTORY = "strop.engines.hosted:open_model"

Samples = Mapping[str, np.ndarray] | Sequence[Mapping[str, np.ndarray]]
"""One sample, by input name, or several; then every time is the mean over one pass of them."""


def open_remote(
    model: str | Path | ModelSource,
    engine: str,
    settings: Settings,
    *,
    inputs: Samples | None = None,
    batch: int = 1,
    cores: Sequence[int] | None = None,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> RemoteModel:
    """Returns the model, compiled in a fresh worker process; raises what the engine raises.

    model: a model, or the path of one that `Model.save` wrote; inputs: what it is timed with, `batch` samples to a
    request (the batch axis must be free, or of that size); cores: the cores its process stays on;
    timeout: seconds that compiling, and each later call, may take.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="strop-"))
        arguments = _arguments(model, engine, settings, Path(folder))
        remote = RemoteModel(stack.enter_context(Worker(FACTORY, arguments, cores=cores, timeout=timeout)))
        if inputs is not None:
            remote.set_inputs(inputs, batch=batch)
        remote.on_close = stack.pop_all().close  # a profile reads the file again
    return remote


class RemoteModel:
    """A compiled model in a worker process: call it, time it, close it. It is a `measure.turns.Turn`."""

    def __init__(self, worker: Worker):
        self._worker = worker
        self._batch = 1
        self.on_close: Callable[[], None] = worker.close
        described = worker.call("describe").value
        self.engine: str = described["engine"]
        self.version: str = described["version"]
        self.settings: Mapping[str, KnobValue] = described["settings"]
        self.inputs, self.outputs = (
            tuple(TensorSpec(spec["name"], spec["dtype"], tuple(spec["shape"])) for spec in described[kind])
            for kind in ("inputs", "outputs")
        )

    @property
    def alive(self) -> bool:
        """Whether its worker runs."""
        return self._worker.alive

    def __call__(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """Runs one request and returns its outputs."""
        return self._worker.call("run", arrays=self._named(inputs)).arrays

    def set_inputs(self, inputs: Samples, *, batch: int = 1) -> None:
        """Sets what the timed requests run on; `batch` samples are put together for each."""
        samples = [inputs] if isinstance(inputs, Mapping) else list(inputs)
        for index, sample in enumerate(_in_batches(samples, batch_axes(self.inputs), batch)):
            self._worker.call("add_inputs", arrays=sample, first=index == 0)
        self._batch = batch

    def block(self, n: int) -> list[float]:
        """Returns the seconds of n requests, timed in the worker."""
        return self._worker.block(n)

    def cpu_seconds(self) -> float:
        """Returns the CPU seconds the worker has used."""
        return self._worker.cpu_seconds()

    def keep_on(self, cores: Collection[int]) -> None:
        """Keeps every thread of the worker on these cores, where the system can."""
        self._worker.keep_on(cores)

    def memory(self) -> Memory:
        """Returns the worker's peak and present resident memory, Python included."""
        return self._worker.memory()

    def latency(self, *, seconds: float) -> Estimate:
        """Returns the median seconds of a request after warm-up."""
        return measure_latency(self.block, seconds=seconds).estimate

    def throughput(self, *, seconds: float, requests: int | None = None) -> Throughput:
        """Returns inferences per second with `requests` in flight (default: two for each stream)."""
        reply = self._worker.call("throughput", seconds=seconds, requests=requests, batch=self._batch)
        value = reply.value
        return Throughput(
            Estimate(**value["per_second"]), value["completed"], value["seconds"], reply.arrays["latencies"]
        )

    def throughput_turn(self, *, requests: int | None = None) -> ThroughputTurn:
        """Returns this model as a side of a comparison of throughputs."""
        return ThroughputTurn(self._worker, requests, self._batch)

    def load(
        self,
        *,
        seconds: float,
        requests: int | None = None,
        rate: float | None = None,
        poisson: bool = False,
        batch: int = 1,
    ) -> Load:
        """Returns how it does under load: `requests` in flight, or arrivals at `rate` requests per second."""
        if rate is None:
            reply = self._worker.call("throughput", seconds=seconds, requests=requests, batch=batch)
        else:
            reply = self._worker.call("rate_limited", seconds=seconds, rate=rate, poisson=poisson, requests=requests)
        return Load(reply.value, reply.arrays["latencies"])

    def profile(self, inputs: Inputs, *, repeats: int = 10) -> list[OperationTime]:
        """Returns time per operation; raises NotSupportedError where the engine cannot."""
        rows = self._worker.call("profile", arrays=self._named(inputs), repeats=repeats).value
        return [OperationTime(**{**row, "origin": tuple(row["origin"])}) for row in rows]

    def close(self) -> None:
        """Ends the worker process; closing twice is fine."""
        self.on_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _named(self, inputs: Inputs) -> dict[str, np.ndarray]:
        if isinstance(inputs, Mapping):
            return dict(inputs)
        arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
        names = [spec.name for spec in self.inputs]
        # What is too much goes under a name that no input has, so that the worker's check can say so.
        names += [f"input {index}" for index in range(len(names), len(arrays))]
        return dict(zip(names, arrays, strict=False))


class ThroughputTurn:
    """A remote model as a side of a comparison: its samples are seconds per inference with many in flight."""

    def __init__(self, worker: Worker, requests: int | None, batch: int):
        self._worker, self._requests, self._batch = worker, requests, batch

    def block(self, n: int) -> list[float]:
        """Returns n samples of seconds per inference, each over as many answers as requests are in flight."""
        seconds: list[float] = self._worker.call("windows", n=n, requests=self._requests, batch=self._batch).value
        return seconds

    def cpu_seconds(self) -> float:
        """Returns the CPU seconds the worker has used."""
        return self._worker.cpu_seconds()


@dataclass(frozen=True, slots=True)
class Load:
    """A run under load: what was counted, and each request's latency in seconds."""

    counted: Mapping[str, Any]
    latencies: np.ndarray

    @property
    def percentiles(self) -> tuple[Percentile, ...]:
        """The percentiles that so many requests earn, in seconds."""
        return tuple(percentile(self.latencies, q) for q in PERCENTILES)

    def to_json(self) -> dict[str, object]:
        """Returns rates per second, latency and earned percentiles in milliseconds as a JSON object."""
        counted = dict(self.counted)
        found: dict[str, object] = {"latency_ms": median_estimate(self.latencies).scaled(1e3).to_json()}
        found["percentiles_ms"] = {
            f"p{one.q:g}": str(one) if one.value is None else one.value * 1e3 for one in self.percentiles
        }
        for name, shown in (
            ("per_second", "throughput_per_second"),
            ("asked", "asked_per_second"),
            ("achieved", "achieved_per_second"),
        ):
            if name in counted:
                found[shown] = counted.pop(name)
        return found | counted


@dataclass(frozen=True, slots=True)
class FirstInferenceTimes:
    """How long a fresh process takes to its first result: medians over fresh processes."""

    measured: FirstInference

    @property
    def total_ms(self) -> float:
        """Milliseconds from before the import to after the first run."""
        return self.measured.total.point * 1e3

    @property
    def parts_ms(self) -> dict[str, float]:
        """Milliseconds of import, read, compile and first_run; read is 0 where an engine reads while it compiles."""
        return {stage: estimate.point * 1e3 for stage, estimate in self.measured.stages.items()}


def measure_first_inference(
    model: str | Path | ModelSource, engine: str, settings: Settings, *, inputs: Samples, repeats: int = 5
) -> FirstInferenceTimes:
    """Returns the stages to the first result, each in `repeats` fresh processes that have imported numpy only."""
    sample = inputs if isinstance(inputs, Mapping) else inputs[0]
    with tempfile.TemporaryDirectory(prefix="strop-") as folder:
        arguments = _arguments(model, engine, settings, Path(folder))
        ordered = [sample[spec["name"]] for spec in arguments["model"]["inputs"]]
        arguments["inputs"] = str(store_inputs(Path(folder) / "inputs.npz", ordered))
        return FirstInferenceTimes(first_inference(FACTORY, arguments, repeats=repeats))


def _arguments(model: str | Path | ModelSource, engine: str, settings: Settings, folder: Path) -> dict[str, Any]:
    """Returns what `hosted.open_model` is called with; a model that has no file of its own is saved to `folder`."""
    if isinstance(model, (str, Path)):
        path, described = Path(model), _describe(Path(model), Path(model).stat().st_mtime_ns)
    else:
        file = model.file if isinstance(model, StoredModel) else None
        path = file or model.save(folder / "model.onnx")
        described = StoredModel.at(path, like=model).to_json()
    return {"path": str(path), "model": described, "engine": engine, "settings": settings.to_json()}


@functools.lru_cache(maxsize=64)
def _describe(path: Path, changed: int) -> dict[str, object]:
    """Returns `StoredModel.to_json` of the file; `changed`, its time stamp, has a rewritten file read again."""
    from strop.model.load import load_model

    return StoredModel.at(path, like=load_model(path)).to_json()


def _in_batches(
    samples: Sequence[Mapping[str, np.ndarray]], axes: Mapping[str, int], batch: int
) -> list[dict[str, np.ndarray]]:
    """Returns requests of `batch` samples each; the samples start over where they do not come out even."""
    if batch == 1:
        return [dict(sample) for sample in samples]
    requests = []
    for start in range(0, len(samples), batch):
        group = [samples[index % len(samples)] for index in range(start, start + batch)]
        requests.append(
            {
                name: np.concatenate([sample[name] for sample in group], axis=axes[name]) if name in axes else array
                for name, array in group[0].items()
            }
        )
    return requests
