"""What `strop benchmark --curve` does: one engine over streams, batch and requests in flight, and the sweet spot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from strop import __version__
from strop.engines.contract import Settings
from strop.engines.remote import RemoteModel, open_remote
from strop.errors import UsageError
from strop.machine import machine
from strop.measure.clock import now
from strop.model.axes import batch_axes
from strop.model.model import Model
from strop.model.specs import TensorSpec
from strop.optimize.benchmarking import open_first
from strop.optimize.curve import Measuring
from strop.optimize.curve_grid import DEPTHS, LARGEST_BATCH, SECONDS_A_POINT, batches_to, streams_of
from strop.optimize.curve_words import curve_to_json
from strop.optimize.events import Event, Listener, nobody
from strop.optimize.latency_limit import LatencyLimit
from strop.optimize.sweet_spot import Axes

SCHEMA = "strop.curve/1"


def benchmark_curve(
    model: Model,
    inputs: Mapping[str, np.ndarray],
    *,
    engines: Sequence[str],
    settings: Settings,
    limit: LatencyLimit | None = None,
    streams: Sequence[int] | None = None,
    batches: Sequence[int] | None = None,
    seconds: float | None = None,
    command: str = "",
    on_event: Listener = nobody,
) -> dict[str, Any]:
    """Returns the document `strop.curve/1`.

    engines: the first of them that takes the model is used. limit: what the sweet spot must keep; streams and batches:
    those to measure (default: the cores halved down to 1; 1, 2, 4 ... for as long as it pays, where the model's batch
    is free); seconds: of load on each point (default: 2).
    """
    if seconds is not None and not seconds > 0:
        raise UsageError(
            "usage.bad-option", "seconds must be above 0", got=seconds, hint="leave --seconds out for 2 s a point"
        )
    threads = settings.threads or machine().cores
    axes = axes_for(model.inputs, threads=threads, streams=streams, batches=batches)
    began = now()
    with TemporaryDirectory(prefix="strop-") as folder:
        path = model.save(Path(folder) / "model.onnx")
        on_event(Event("stage", f"compile with {engines[0]} for {', '.join(map(str, axes.streams))} streams"))
        loaded = replace(settings, threads=threads, objective="throughput", streams=None)
        opened: list[RemoteModel] = []

        def open_with(count: int | None) -> RemoteModel:
            chosen = replace(loaded, streams=count)
            if opened:
                opened.append(open_remote(path, opened[0].engine, chosen, inputs=inputs))
            else:
                opened.append(open_first(path, engines, chosen, inputs))
            return opened[-1]

        measuring = Measuring(open_with, inputs, axes, limit, seconds or SECONDS_A_POINT, on_event)
        curve = measuring.curve()
        engine, version = opened[0].engine, opened[0].version
    return {
        "schema": SCHEMA,
        "strop": __version__,
        "command": command,
        "model": {"name": model.name, "sha256": model.sha256, "opset": model.opset},
        "machine": machine().to_json(),
        "engine": engine,
        "version": version,
        "threads": threads,
        "warnings": [*model.warnings, *_fixed_batch(model, axes)],
        "seconds": round(now() - began, 1),
        "curve": curve_to_json(curve, engine=engine, precision="int8" if model.is_quantized else "f32"),
    }


def check_curve_options(curve: bool, *, only_with: Mapping[str, object], never_with: Mapping[str, object]) -> None:
    """Raises UsageError (`usage.bad-option`) for an option that would do nothing, with or without `--curve`."""
    idle, hint = (never_with, "leave it out: --curve varies it itself") if curve else (only_with, "add --curve")
    for option, value in idle.items():
        if value not in (None, False):
            raise UsageError("usage.bad-option", f"{option} does nothing here", got=option, hint=hint)


def parse_counts(option: str, text: str | None) -> tuple[int, ...] | None:
    """Returns the whole numbers above 0 that `text` lists, None where there is none.

    Example:
        >>> parse_counts("--streams", "1,2")
        (1, 2)
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise UsageError(
            "usage.bad-option",
            f"{option} takes whole numbers above 0",
            got=text,
            expected="as 1,2,4",
            hint=f"{option} 1,2,4",
        )
    return tuple(int(part) for part in parts)


def axes_for(
    inputs: Sequence[TensorSpec],
    *,
    threads: int,
    streams: Sequence[int] | None = None,
    batches: Sequence[int] | None = None,
    largest_batch: int = LARGEST_BATCH,
) -> Axes:
    """Returns what a curve may vary; raises UsageError (`usage.bad-option`) for what this model or machine has not."""
    free = has_free_batch(inputs)
    chosen_streams = tuple(sorted(set(streams or streams_of(threads))))
    chosen_batches = tuple(sorted(set(batches or (batches_to(largest_batch) if free else (1,)))))
    if chosen_streams[-1] > threads:
        raise UsageError(
            "usage.bad-option",
            "there are more streams than threads",
            got=chosen_streams[-1],
            expected=f"at most {threads}",
            hint=f"--streams {','.join(map(str, streams_of(threads)))}, or more --threads",
        )
    if not free and chosen_batches != (1,):
        raise UsageError(
            "usage.bad-option",
            "the model's batch is not free",
            got=", ".join(spec.name + spec.describe_shape() for spec in inputs),
            expected="a free size on the batch axis",
            hint="leave --batches out, or export the model with a free batch axis",
        )
    return Axes(chosen_streams, chosen_batches, DEPTHS)


def has_free_batch(inputs: Sequence[TensorSpec]) -> bool:
    """Whether a request may hold several samples: every input has a batch axis, and its size is free."""
    axes = batch_axes(inputs)
    return bool(inputs) and all(
        spec.name in axes and not isinstance(spec.shape[axes[spec.name]], int) for spec in inputs
    )


def _fixed_batch(model: Model, axes: Axes) -> list[str]:
    if has_free_batch(model.inputs):
        return []
    shapes = ", ".join(spec.name + spec.describe_shape() for spec in model.inputs)
    return [f"the model's batch is fixed ({shapes}), so only batch 1 was measured"]
