"""What `strop doctor` finds: the machine, the engines, the noise."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from strop import __version__
from strop.compiler.probe import attainable
from strop.engines.registry import engines
from strop.machine import cache_directory, machine
from strop.measure.contention import observe
from strop.measure.noise import self_test
from strop.optimize.events import Event, Listener, nobody

SCHEMA = "strop.doctor/1"
CONTENTION_SECONDS = 1.0


def diagnose(*, noise_seconds: float = 10.0, rates: bool = False, on_event: Listener = nobody) -> dict[str, Any]:
    """Returns the document `strop.doctor/1`.

    noise_seconds: how long the A/A self-test takes, 0 leaves it out; rates: measure what one thread attains.
    """
    here = machine()
    found = []
    for name, engine in engines().items():
        availability = engine.available()
        knobs = [knob.name for knob in engine.knobs(here)] if availability.available else []
        found.append(
            {
                "name": name,
                "available": availability.available,
                "version": availability.version,
                "why": availability.why,
                "knobs": knobs,
            }
        )
    measured = None
    if rates:
        on_event(Event("stage", "measure what one thread attains"))
        measured = attainable().to_json()
    on_event(Event("stage", "look for who else wants the cores"))
    contention = observe(CONTENTION_SECONDS).to_json()
    noise = None
    if noise_seconds > 0:
        on_event(Event("stage", f"compare a kernel with itself for {noise_seconds:.0f} s"))
        noise = asdict(self_test(noise_seconds))
    return {
        "schema": SCHEMA,
        "strop": __version__,
        "machine": here.to_json(),
        "cache_directory": str(cache_directory()),
        "engines": found,
        "attainable": measured,
        "contention": contention,
        "noise": noise,
    }
