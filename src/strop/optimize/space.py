"""Which ways of running a model are worth a trial on this machine, in the order they are tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from strop.engines.contract import Knob, KnobValue
from strop.machine import Machine
from strop.optimize.trial import TrialSpec

Precision = Literal["f32", "int8"]

BATCHES = (1, 4)
"""Tried for throughput where the model's batch is free: on a CPU streams usually win, and one batch shows it."""
LARGEST_BATCH = 64
BATCH_STEP = 4
"""Where a batch has won, this many times as much is tried next."""

WORTH_TRYING: Mapping[str, tuple[KnobValue, ...]] = {
    "cpu_pinning": (True, False),
    "partitioner": ("static", "auto"),
    "hyper_threading": (True, False),
    "core_type": ("performance",),
    "allow_spinning": (True, False),
    "inter_op_threads": (2,),
    "winograd": ("off",),
}
"""Values of engines' knobs that may make the best faster and change no result beyond rounding, in this order."""
SAVE_MEMORY: Mapping[str, tuple[KnobValue, ...]] = {"arena": (False,), "memory_pattern": (False,)}
"""Those that are tried only where memory has a limit."""
TUNE = "tune"
"""The knob of an engine that chooses its kernels by measuring them; it takes longest, so it comes last."""


def settings_space(objective: Literal["latency", "throughput"], machine: Machine) -> list[dict[str, object]]:
    """Returns the settings to try, likeliest first.

    For latency: the usable cores as threads, halved down to 1 (small models lose by sharing). For throughput:
    every split of the usable cores into streams of equal threads.
    """
    counts = []
    count = machine.cores
    while count >= 1:
        counts.append(count)
        count //= 2
    if objective == "latency":
        return [{"threads": count} for count in counts]
    return [{"threads": machine.cores, "streams": count} for count in counts]


def candidates(
    engines: Sequence[str],
    precision: Precision,
    objective: Literal["latency", "throughput"],
    *,
    model: str,
    data: str,
    machine: Machine,
    batches: Sequence[int] = (1,),
) -> list[TrialSpec]:
    """Returns the specs of one precision: settings outermost, so that each engine's likeliest comes early."""
    return [
        TrialSpec(model, data, engine, precision, objective, settings, batch)
        for batch in batches
        for settings in settings_space(objective, machine)
        for engine in engines
    ]


Change = tuple[str, KnobValue]
"""One knob and its value; "batch" is a knob here, too."""


def refinements(
    spec: TrialSpec,
    in_force: Mapping[str, object],
    knobs: Sequence[Knob],
    *,
    batches: bool,
    save_memory: bool,
) -> list[Change]:
    """Returns what to change in the best form, one thing at a time: a larger batch, then its engine's own knobs.

    in_force: its settings, read back; a value that is in force already changes nothing and is left out, and so is a
    knob that the engine has not, or does not report. batches: whether a request may hold several samples.
    """
    found: list[Change] = []
    if batches and BATCHES[-1] <= spec.batch < LARGEST_BATCH:
        found.append(("batch", spec.batch * BATCH_STEP))
    known = {knob.name: knob for knob in knobs if knob.read_back}
    for name, values in {**WORTH_TRYING, **(SAVE_MEMORY if save_memory else {})}.items():
        for value in values:
            if name in known and _is_allowed(known[name], value) and in_force.get(name) != value:
                found.append((name, value))
    return found


def changed(spec: TrialSpec, in_force: Mapping[str, object], change: Change) -> TrialSpec:
    """Returns the spec with one change; what a spec without settings leaves to the engine's defaults becomes explicit.

    Otherwise setting one thing would let the objective choose the others anew.
    """
    name, value = change
    settings = dict(spec.settings) or {each: in_force[each] for each in ("threads", "streams") if each in in_force}
    batch = spec.batch
    if name == "batch":
        batch = int(value)
    else:
        settings[name] = value
    return TrialSpec(spec.model, spec.data, spec.engine, spec.precision, spec.objective, settings, batch)


def _is_allowed(knob: Knob, value: KnobValue) -> bool:
    if knob.kind == "choice":
        return value in knob.choices
    if knob.kind == "int":
        return isinstance(value, int) and (knob.low or 0) <= value <= (value if knob.high is None else knob.high)
    return True
