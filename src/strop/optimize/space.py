"""Which ways of running a model are worth a trial on this machine, in the order they are tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from strop.machine import Machine
from strop.optimize.trial import TrialSpec

Precision = Literal["f32", "int8"]

BATCHES = (1, 4)
"""Tried for throughput where the model's batch is free: on a CPU streams usually win, and one batch shows it."""


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
