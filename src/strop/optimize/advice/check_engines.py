"""Every engine with its defaults, in one race; then threads, and what a request's time goes into, on the fastest."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np

from strop.compiler.probe import attainable
from strop.engines.contract import Settings
from strop.engines.registry import engines
from strop.engines.remote import RemoteModel, measure_first_inference
from strop.errors import NotSupportedError, StropError
from strop.machine import machine
from strop.model.cost import node_costs, total_macs
from strop.model.save import weight_bytes
from strop.optimize.advice.commands import BASELINE
from strop.optimize.advice.examination import Examination
from strop.optimize.advice.situation import Bound, EngineFigure, FirstInference
from strop.optimize.comparison import TOLERANCE
from strop.quality.agreement import tensor_distance

PROFILE_REPEATS = 20
FRESH_PROCESSES = 5


def check_engines(examination: Examination) -> None:
    """Finds `engines` and `best`: the fastest that gives the baseline's outputs."""
    figures: dict[str, EngineFigure] = {}
    with ExitStack() as stack:
        remotes: dict[str, RemoteModel] = {}
        for name in (BASELINE, *(name for name in engines() if name not in (BASELINE, "reference"))):
            try:
                remotes[name] = examination.open(stack, name)
                expected = remotes[BASELINE](examination.inputs)
                distance = tensor_distance(expected, remotes[name](examination.inputs))
            except StropError as error:
                if name == BASELINE:
                    raise
                figures[name] = EngineFigure(name, why_not=_refusal(error))
                remotes.pop(name, None)
                continue
            precision = "int8" if examination.model.is_quantized else "f32"
            if not distance.finite or distance.relative_l2 > TOLERANCE[precision]:
                remotes.pop(name).close()
                why = f"its outputs are not the baseline's (relative L2 {distance.relative_l2:.2g})"
                figures[name] = EngineFigure(name, why_not=why)
        examination.request_seconds = min(remotes[BASELINE].block(2))
        if len(remotes) == 1:
            latency = remotes[BASELINE].latency(seconds=min(1.5, max(0.1, examination.budget.remaining)))
            figures[BASELINE] = EngineFigure(BASELINE, latency)
        else:
            for name, one in examination.race(remotes).items():
                figures[name] = EngineFigure(name, one.estimate, one.speedup, remotes[name].memory().steady_bytes)
    examination.found["engines"] = tuple(sorted(figures.values(), key=lambda one: one.name != BASELINE))
    faster = [one for one in figures.values() if one.is_faster and one.speedup]
    best = max(faster, key=lambda one: one.speedup.ratio.point if one.speedup else 0.0, default=figures[BASELINE])
    examination.found["best"] = best.name
    if best.latency is not None:
        examination.request_seconds = max(examination.request_seconds, best.latency.point)


def check_threads(examination: Examination) -> None:
    """Finds `one_thread` and `bound`."""
    cores = machine().cores
    with ExitStack() as stack:
        single = examination.open(stack, examination.best, threads=1)
        if cores > 1:
            every = examination.open(stack, examination.best, threads=cores)
            raced = examination.race({"all": every, "one": single})["one"]
            examination.found["one_thread"] = raced.speedup
            call = raced.estimate.point
        else:
            call = single.latency(seconds=1.0).point
        examination.found["bound"] = _bound(examination, single, call)


def check_first_inference(examination: Examination) -> None:
    """Finds `first`: of the baseline and the fastest engine, each in fresh processes."""
    path = examination.path(examination.model)
    found = {
        name: measure_first_inference(
            path, name, Settings(), inputs=examination.inputs, repeats=FRESH_PROCESSES
        ).total_ms
        for name in dict.fromkeys((BASELINE, examination.best))
    }
    examination.found["first"] = FirstInference(found)


def _bound(examination: Examination, single: RemoteModel, call: float) -> Bound:
    operations: float | None = None
    try:
        # Calls and profile at the same moment: the machine may run at another speed by now than in the race.
        around = single.block(PROFILE_REPEATS)
        rows = single.profile(examination.inputs, repeats=PROFILE_REPEATS)
        call = float(np.median([*around, *single.block(PROFILE_REPEATS)]))
        together = sum(row.milliseconds for row in rows) / 1e3
        operations = together if 0 < together <= call else None  # the profile's own cost may exceed what it leaves
    except NotSupportedError as error:
        examination.miss("operations", error.in_a_line)
    rates, here = attainable(), machine()
    macs = total_macs(node_costs(examination.model, examination.inputs))
    flops = None if examination.model.is_quantized else rates.flops.get(here.isa)
    size = weight_bytes(examination.model.to_proto())
    level = next((name for name in ("L2", "L3") if here.caches.get(name, 0) >= size), "memory")
    bandwidth = rates.bandwidth.get(level) or rates.bandwidth.get("memory")
    return Bound(
        call,
        operations,
        None if macs is None or not flops else 2 * macs / flops,
        None if not bandwidth else size / bandwidth,
        level,
    )


def _refusal(error: StropError) -> str:
    return f"{error.in_a_line}; {error.hint}" if isinstance(error, NotSupportedError) else error.in_a_line
