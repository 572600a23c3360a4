"""Several engines on one model, side by side in one run: agreement, then turns, then first inference and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from strop import __version__
from strop.engines.contract import Settings
from strop.engines.registry import parse_engine
from strop.engines.remote import RemoteModel, measure_first_inference, open_remote
from strop.errors import NotSupportedError, StropError, UsageError, WorkerError
from strop.machine import machine
from strop.measure.comparison import compare_blocks
from strop.measure.estimate import SPEEDUP_OF_ITSELF, Estimate
from strop.measure.latency import measure_latency
from strop.model.model import Model
from strop.optimize.events import Event, Listener, nobody
from strop.quality.agreement import tensor_distance

SCHEMA = "strop.compare/1"
TOLERANCE = {"f32": 1e-3, "int8": 0.1}
"""Largest relative L2 distance to the baseline's outputs that still counts as agreement."""


def compare_engines(
    model: Model,
    engines: Sequence[str],
    inputs: Mapping[str, np.ndarray],
    *,
    precision: Literal["f32", "int8"] = "f32",
    threads: int | None = None,
    seconds: float | None = None,
    first_inference: bool = True,
    command: str = "",
    on_event: Listener = nobody,
) -> dict[str, Any]:
    """Returns the document `strop.compare/1`: each engine against the first, on the same inputs, in the same rounds.

    Each engine lives in a process of its own and its threads are idle while another has its turn. threads: for every
    engine that carries no threads of its own (default: the usable cores); seconds: of the turns together. An engine
    that refuses the model, or fails, is a result with its error; so is one that disagrees.
    """
    if len(engines) < 2:
        raise UsageError(
            "usage.too-few-engines",
            "a comparison needs at least two engines",
            got=", ".join(engines),
            hint="--engines onnxruntime,openvino; the same engine may be named twice with other settings",
        )
    plans = [_plan(text, precision, threads) for text in engines]
    warnings: list[str] = list(model.warnings)
    results: list[dict[str, Any]] = [{"engine": text} for text in engines]
    with TemporaryDirectory(prefix="strop-") as folder, ExitStack() as stack:
        path = model.save(Path(folder) / "model.onnx")
        running: dict[int, RemoteModel] = {}
        for index, (name, settings) in enumerate(plans):
            on_event(Event("stage", f"compile with {engines[index]}"))
            try:
                running[index] = stack.enter_context(open_remote(path, name, settings, inputs=inputs))
            except UsageError:
                raise  # a setting that no engine of this name has: nothing about the model
            except StropError as error:
                status = "unsupported" if isinstance(error, NotSupportedError) else "failed"
                results[index] |= {"status": status, "error": error.to_json()}
        reference = None
        for index, remote in list(running.items()):
            results[index] |= {"status": "ok", "settings": dict(remote.settings), "version": remote.version}
            try:
                outputs = remote(inputs)
                if index == 0:
                    reference = outputs
                if reference is None:
                    continue
                distance = tensor_distance(reference, outputs)
            except StropError as error:
                results[index] |= {"status": "failed", "error": error.to_json()}
                running.pop(index).close()
                continue
            agreement = distance.to_json() | {"ok": distance.finite and distance.relative_l2 <= TOLERANCE[precision]}
            results[index]["agreement"] = agreement
            if not agreement["ok"]:
                warnings.append(f"{engines[index]} disagrees with {engines[0]}: relative L2 {distance.relative_l2:.2g}")
        warnings += _precision_warnings(engines, running)
        while 0 in running:
            on_event(Event("stage", "take turns"))
            try:
                for index, figures in _take_turns(running, seconds, on_event).items():
                    results[index] |= figures
                break
            except WorkerError as error:
                crashed = [index for index, remote in running.items() if not remote.alive]
                if not crashed:
                    raise
                for index in crashed:
                    results[index] |= {"status": "failed", "error": error.to_json()}
                    running.pop(index).close()
        for index, remote in running.items():
            results[index]["peak_memory_mb"] = round(remote.memory().peak_bytes / 1e6, 1)
        stack.close()
        if first_inference:
            for index in running:
                on_event(Event("stage", f"first inference with {engines[index]}, in fresh processes"))
                name, settings = plans[index]
                try:
                    stages = measure_first_inference(path, name, settings, inputs=inputs)
                except StropError as error:
                    warnings.append(f"no first inference of {engines[index]}: {error.in_a_line}")
                    continue
                results[index] |= {"first_inference_ms": stages.total_ms, "first_inference_stages_ms": stages.parts_ms}
    for result in results:
        for field in (
            "settings",
            "version",
            "latency_ms",
            "speedup",
            "agreement",
            "first_inference_ms",
            "peak_memory_mb",
        ):
            result.setdefault(field, None)
    return {
        "schema": SCHEMA,
        "strop": __version__,
        "command": command,
        "model": {"name": model.name, "sha256": model.sha256, "opset": model.opset, "precision": precision},
        "machine": machine().to_json(),
        "baseline": engines[0],
        "warnings": warnings,
        "results": results,
    }


def enough_ran(document: Mapping[str, object]) -> bool:
    """Whether the baseline and at least one more engine ran."""
    results = document["results"]
    assert isinstance(results, list)
    return bool(results[0]["status"] == "ok") and sum(result["status"] == "ok" for result in results) >= 2


def _plan(text: str, precision: Literal["f32", "int8"], threads: int | None) -> tuple[str, Settings]:
    engine, settings = parse_engine(text)
    given: dict[str, object] = {}
    if settings.threads is None:
        given["threads"] = threads or machine().cores
    if settings.precision is None:
        given["precision"] = precision
    return engine.name, settings.updated(given)


def _take_turns(
    running: Mapping[int, RemoteModel], seconds: float | None, on_event: Listener
) -> dict[int, dict[str, Any]]:
    """Returns the figures of each engine that runs; the baseline may be the only one."""

    def progress(fraction: float) -> None:
        on_event(Event("progress", "take turns", fraction))

    if len(running) == 1:
        alone = measure_latency(running[0].block, seconds=seconds, on_progress=progress).estimate
        return {0: _figures(alone, SPEEDUP_OF_ITSELF)}
    turns = {str(index): remote for index, remote in running.items()}
    compared = compare_blocks(turns, seconds=seconds, on_progress=progress)
    return {index: _figures(compared[str(index)].estimate, compared[str(index)].speedup.to_json()) for index in running}


def _figures(latency: Estimate, speedup: Mapping[str, object]) -> dict[str, Any]:
    return {"latency_ms": latency.scaled(1e3).to_json(), "speedup": dict(speedup), "calls": latency.n}


def _precision_warnings(engines: Sequence[str], running: Mapping[int, RemoteModel]) -> list[str]:
    """Says where the comparison would be unfair: engines that compute in different precisions."""
    used = {index: str(remote.settings.get("precision")) for index, remote in running.items()}
    if len(set(used.values())) < 2:
        return []
    return ["engines compute in different precisions: " + ", ".join(f"{engines[i]} {p}" for i, p in used.items())]
