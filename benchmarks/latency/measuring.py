"""One network at one thread count: all engines in workers, agreement, then turns with the probe kernel among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.latency.native_share import native_share
from benchmarks.latency.probe import Probe
from benchmarks.networks.registry import Network
from strop import __version__
from strop.engines.contract import Settings
from strop.engines.registry import engine_names
from strop.engines.remote import RemoteModel, open_remote
from strop.errors import NotSupportedError, StropError
from strop.machine import machine
from strop.measure.clock import timestamp
from strop.measure.comparison import Compared, compare_blocks
from strop.measure.estimate import Estimate
from strop.measure.turns import LocalTurn, Turn
from strop.quality.agreement import tensor_distance

SCHEMA = "strop.bench-latency/1"
OURS = "native"
ENGINES = (OURS, "openvino", "onnxruntime")
REFERENCE = "onnxruntime"
"""Whose outputs the others must agree with."""
ONE_THREAD = "native, one thread"
TOLERANCE = 1e-3
"""Largest relative L2 distance that still counts as the same network; the table shows the distance itself."""


def measure_network(
    network: Network, file: Path, *, threads: int, seconds: float, engines: Sequence[str] = ENGINES
) -> dict[str, Any]:
    """Returns the document of one network: per engine its times, agreement and share of the limit, and the ratios.

    Ratios are of seconds, `A/B` above 1 where B is faster, with 99 % intervals from the same rounds; B is ours, or the
    first engine that runs. p10: the 10th percentile of all calls of all rounds, of which there are at least 8.
    """
    inputs = network.inputs()
    found: dict[str, dict[str, Any]] = {name: {} for name in engines}
    with ExitStack() as stack:
        running: dict[str, RemoteModel] = {}
        for name in engines:
            try:
                running[name] = stack.enter_context(_opened(file, name, threads, inputs))
                found[name] = {"status": "ok", "version": running[name].version}
                found[name]["settings"] = dict(running[name].settings)
            except StropError as error:
                found[name] = _refusal(error)
        _check_agreement(running, inputs, found)
        turns: dict[str, Turn] = dict(running)
        if threads > 1 and OURS in running:
            turns[ONE_THREAD] = stack.enter_context(_opened(file, OURS, 1, inputs))
        probe = Probe()
        compared = _take_turns(turns, probe, seconds)
        for name, remote in running.items():
            found[name]["peak_memory_mb"] = round(remote.memory().peak_bytes / 1e6, 1)
    for name in running:
        found[name] |= _figures(compared[name], network.macs, threads, probe.rate)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "network": network.name,
        "title": network.title,
        "threads": threads,
        "when": timestamp(),
        "seconds": seconds,
        "strop": __version__,
        "machine": _machine(),
        "parameters": network.parameters,
        "macs": network.macs,
        "engines": found,
        "ratios": _ratios(compared, running),
        "probe": probe.to_json(),
    }
    if OURS in running:
        document["native"] = native_share(file, inputs)
        if ONE_THREAD in compared:
            document["native"]["times_one_thread"] = _inverse(compared[ONE_THREAD])
    return document


def _opened(file: Path, engine: str, threads: int, inputs: Mapping[str, np.ndarray]) -> RemoteModel:
    if engine not in engine_names():
        raise NotSupportedError(
            "unsupported.engine-missing", f"there is no engine {engine!r} in this version", hint="update Strop"
        )
    return open_remote(file, engine, Settings(threads=threads, precision="f32"), inputs=inputs)


def _refusal(error: StropError) -> dict[str, Any]:
    """Returns why an engine does not run, without the paths that a whole message may hold."""
    status = "unsupported" if isinstance(error, NotSupportedError) else "failed"
    return {"status": status, "reason": error.what, "code": error.code}


def _check_agreement(
    running: dict[str, RemoteModel], inputs: Mapping[str, np.ndarray], found: Mapping[str, dict[str, Any]]
) -> None:
    """Adds each engine's distance from the reference; one that fails or gives something else is closed."""
    outputs = {}
    for name, remote in list(running.items()):
        try:
            outputs[name] = remote(inputs)
        except StropError as error:
            found[name].update(_refusal(error))
            running.pop(name).close()
    if REFERENCE not in outputs:
        return
    for name, values in outputs.items():
        distance = tensor_distance(outputs[REFERENCE], values)
        found[name]["relative_l2"] = distance.relative_l2
        if not (distance.finite and distance.relative_l2 <= TOLERANCE):
            found[name] |= {"status": "failed", "reason": f"relative L2 {distance.relative_l2:.2g} from {REFERENCE}"}
            running.pop(name).close()


def _take_turns(turns: dict[str, Turn], probe: Probe, seconds: float) -> dict[str, Compared]:
    """Returns what the turns gave; with nothing to take turns with there is nothing to report."""
    if not turns:
        return {}
    return compare_blocks({**turns, "probe": LocalTurn(probe.block)}, seconds=seconds)


def _figures(compared: Compared, macs: int, threads: int, rate: Estimate | None) -> dict[str, Any]:
    milliseconds = compared.estimate.scaled(1e3)
    figures: dict[str, Any] = {
        "latency_ms": milliseconds.to_json(),
        "p10_ms": float(np.percentile(compared.samples, 10)) * 1e3,
        "rounds": compared.speedup.ratio.n,
        "first_ms": compared.first_seconds * 1e3,
    }
    if rate is not None:
        figures["percent_of_limit"] = 100 * 2 * macs / (compared.estimate.point * rate.point * threads)
    return figures


def _ratios(compared: Mapping[str, Compared], running: Mapping[str, RemoteModel]) -> dict[str, Any]:
    """Returns the seconds of each engine over those of the first; what was measured is the inverse."""
    if not running:
        return {}
    first = next(iter(running))
    return {f"{name}/{first}": _inverse(compared[name]) for name in running if name != first}


def _inverse(compared: Compared) -> dict[str, Any]:
    ratio = compared.speedup.ratio
    return {
        "point": 1 / ratio.point,
        "low": 1 / ratio.high,
        "high": 1 / ratio.low,
        "level": ratio.level,
        "n": ratio.n,
    }


def _machine() -> dict[str, object]:
    here = machine()
    names = ("fingerprint", "cpu_name", "cores", "isa", "caches", "virtual", "system", "python")
    return {name: getattr(here, name) for name in names}
