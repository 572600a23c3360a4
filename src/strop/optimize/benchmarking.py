"""One engine on one model: latency with percentiles, or throughput under load, with one-time costs apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from strop import __version__
from strop.engines.contract import Settings
from strop.engines.remote import RemoteModel, measure_first_inference, open_remote
from strop.errors import NotSupportedError, UsageError
from strop.machine import machine
from strop.measure.latency import measure_latency
from strop.measure.memory import LEAST_READINGS, leak_slope
from strop.measure.statistics import Percentile
from strop.model.model import Model
from strop.optimize.events import Event, Listener, nobody

SCHEMA = "strop.benchmark/1"
DEFAULT_SECONDS = 5.0


def benchmark_model(
    model: Model,
    inputs: Mapping[str, np.ndarray],
    *,
    engines: Sequence[str],
    settings: Settings,
    requests: int | None = None,
    rate: float | None = None,
    poisson: bool = False,
    seconds: float | None = None,
    iterations: int | None = None,
    batch: int = 1,
    first_inference: bool = False,
    command: str = "",
    on_event: Listener = nobody,
) -> dict[str, Any]:
    """Returns the document `strop.benchmark/1`.

    engines: the first of them that takes the model is used.
    requests: in flight at the throughput objective (default: what the engine advises, at least 2); rate: requests a
    second, at even distances or, with poisson, at random ones; latency then counts from the scheduled arrival.
    seconds and iterations: run until both are reached (default: 5 s). At the latency objective `leak` says how memory
    grew while it ran, null where the run was too short to tell.
    """
    loaded = settings.objective == "throughput" or rate is not None
    _check_options(loaded, requests=requests, rate=rate, poisson=poisson, iterations=iterations)
    with TemporaryDirectory(prefix="strop-") as folder:
        path = model.save(Path(folder) / "model.onnx")
        on_event(Event("stage", f"compile with {engines[0]}"))
        with open_first(path, engines, settings, inputs) as remote:
            engine = remote.engine
            on_event(Event("stage", "measure"))
            if loaded:
                figures = _load(remote, seconds or DEFAULT_SECONDS, requests, rate, poisson, batch)
            else:
                figures = _latency(remote, seconds, iterations, batch, on_event)
            figures |= {"settings": dict(remote.settings), "version": remote.version}
            memory = remote.memory()
        if first_inference:
            on_event(Event("stage", "first inference, in fresh processes"))
            stages = measure_first_inference(path, engine, settings, inputs=inputs)
            figures |= {"first_inference_ms": stages.total_ms, "first_inference_stages_ms": stages.parts_ms}
    return {
        "schema": SCHEMA,
        "strop": __version__,
        "command": command,
        "model": {"name": model.name, "sha256": model.sha256, "opset": model.opset},
        "machine": machine().to_json(),
        "engine": engine,
        "objective": settings.objective,
        "batch": batch,
        "warnings": [*model.warnings, *_list(figures.pop("warnings", ()))],
        **figures,
        "peak_memory_mb": round(memory.peak_bytes / 1e6, 1),
        "steady_memory_mb": round(memory.steady_bytes / 1e6, 1),
    }


def percentiles_ms(percentiles: Sequence[Percentile]) -> dict[str, float | str]:
    """Returns milliseconds by name (`p99`), or what the sample lacks for it."""
    return {f"p{one.q:g}": str(one) if one.value is None else one.value * 1e3 for one in percentiles}


def _check_options(
    loaded: bool, *, requests: int | None, rate: float | None, poisson: bool, iterations: int | None
) -> None:
    """Raises UsageError (`usage.bad-option`) for an option that would do nothing."""
    for idle, option, hint in (
        (loaded and iterations is not None, "--iterations", "under load a run is as long as --seconds says"),
        (not loaded and requests is not None, "--requests", "add --objective throughput, or --rate"),
        (poisson and rate is None, "--poisson", "add --rate"),
    ):
        if idle:
            raise UsageError("usage.bad-option", f"{option} does nothing here", got=option, hint=hint)


def open_first(path: Path, engines: Sequence[str], settings: Settings, inputs: Mapping[str, np.ndarray]) -> RemoteModel:
    """Returns the model on the first of `engines` that takes it; the last one's refusal is raised."""
    *candidates, last = engines
    for name in candidates:
        try:
            return open_remote(path, name, settings, inputs=inputs)
        except NotSupportedError as error:
            if error.code != "unsupported.model":
                raise
    return open_remote(path, last, settings, inputs=inputs)


def _latency(
    remote: RemoteModel, seconds: float | None, iterations: int | None, batch: int, on_event: Listener
) -> dict[str, Any]:
    if seconds is None and iterations is None:
        seconds = DEFAULT_SECONDS
    readings: list[tuple[int, int]] = []

    def block(n: int) -> list[float]:
        samples = remote.block(n)
        readings.append((n + (readings[-1][0] if readings else 0), remote.memory().steady_bytes))
        return samples

    found = measure_latency(
        block,
        seconds=seconds,
        iterations=iterations,
        on_progress=lambda fraction: on_event(Event("progress", "measure", fraction)),
    )
    leak = leak_slope(readings) if len(readings) >= LEAST_READINGS else None
    return {
        "latency_ms": found.estimate.scaled(1e3).to_json(),
        "percentiles_ms": percentiles_ms(found.percentiles),
        "minimum_ms": float(found.samples.min()) * 1e3,
        "mean_ms": float(found.samples.mean()) * 1e3,
        "maximum_ms": float(found.samples.max()) * 1e3,
        "iqr_over_median": found.dispersion.iqr_over_median,
        "cv": found.dispersion.cv,
        "first_call_ms": found.first_seconds * 1e3,
        "warmup_calls": found.warmup_count,
        "calls": len(found.samples),
        "throughput_per_second": batch / found.estimate.point,
        "leak": None
        if leak is None
        else {"kilobytes_per_thousand_calls": leak.bytes_per_thousand.scaled(1e-3).to_json(), "leaking": leak.leaking},
        "warnings": [*found.warnings, *([leak.advice] if leak and leak.leaking else [])],
    }


def _load(
    remote: RemoteModel, seconds: float, requests: int | None, rate: float | None, poisson: bool, batch: int
) -> dict[str, Any]:
    return remote.load(seconds=seconds, requests=requests, rate=rate, poisson=poisson, batch=batch).to_json()


def _list(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else []
