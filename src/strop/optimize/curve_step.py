"""After a search for throughput: the curve of what was handed over, so that a setting can be chosen for a limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from strop.engines.remote import RemoteModel, open_remote
from strop.errors import LimitError
from strop.machine import machine
from strop.optimize.benchmark_curve import axes_for
from strop.optimize.curve import Measuring
from strop.optimize.curve_grid import ROUNDS, SECONDS_A_POINT
from strop.optimize.curve_words import curve_to_json

if TYPE_CHECKING:
    from strop.optimize.afterwards import Confirmed
    from strop.optimize.job import Job

LARGEST_BATCH = 8
"""The search tries 1 and 4; the curve shows one step more."""
LEAST_SECONDS = 5.0
SHARE = 0.8
"""Of what is left of the budget."""


def curve_of(job: Job, confirmed: Confirmed) -> Mapping[str, Any] | None:
    """Returns the fact `curve`, None where latency was the objective; raises LimitError where no time is left."""
    if job.objective != "throughput" or len(job.timed_inputs) != 1:
        return None
    form, threads = confirmed.form, machine().cores
    axes = axes_for(form.model.inputs, threads=threads, largest_batch=LARGEST_BATCH)
    opening = (len(axes.streams) + 1) * job.opening_seconds(form.spec.engine)
    left = float("inf") if job.budget.seconds is None else SHARE * job.budget.remaining - opening
    if left < LEAST_SECONDS or left < ROUNDS * 8 * job.request_seconds:
        raise LimitError(
            "limit.budget",
            "no time is left for a curve of latency and throughput",
            got=f"{max(0.0, job.budget.remaining):.0f} s left",
            expected=f"about {(opening + max(LEAST_SECONDS, ROUNDS * 8 * job.request_seconds)) / SHARE:.0f} s",
            hint="give a larger --budget, or run `strop benchmark --curve`",
        )
    path = job.saved(form.model)
    settings = replace(form.spec.engine_settings(), threads=threads, objective="throughput", streams=None)

    def open_with(streams: int | None) -> RemoteModel:
        chosen = replace(settings, streams=streams)
        return open_remote(path, form.spec.engine, chosen, inputs=job.timed_inputs[0], timeout=job.budget.patience)

    measuring = Measuring(open_with, job.timed_inputs[0], axes, None, SECONDS_A_POINT)
    curve = measuring.curve(largest_seconds=left)
    return curve_to_json(curve, engine=form.spec.engine, precision=form.spec.precision)
