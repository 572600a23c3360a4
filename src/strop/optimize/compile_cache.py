"""What the engine's own compile cache would do for the first inference: the one knob that no race shows.

A bundle must not name a folder of the machine it was made on, so it is for whoever loads it to say.
"""

from __future__ import annotations

import math
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from strop.engines.remote import measure_first_inference, open_remote
from strop.errors import NotSupportedError
from strop.optimize.job import Job

if TYPE_CHECKING:
    from strop.optimize.afterwards import Confirmed

PROCESSES = 12
"""Fresh ones: five each way, one to see whether there is a cache, one to spare."""
LEAST_GAIN = 0.9
"""Of the time without; less is not worth a folder to look after."""


def compile_cache(job: Job, confirmed: Confirmed) -> dict[str, object] | None:
    """Returns the first inference with a cache that is filled and without; None where that is no gain.

    That is where the engine keeps none, or has one at hand anyway. Where there is no time for it, nothing is said.
    """
    spec, inputs = confirmed.form.spec, job.timed_inputs[0]
    if not math.isinf(job.budget.remaining) and job.budget.remaining < PROCESSES * job.opening_seconds(spec.engine):
        return None
    path, settings = job.saved(confirmed.form.model), spec.engine_settings()
    with TemporaryDirectory(prefix="strop-", ignore_cleanup_errors=True) as folder:
        cached = settings.updated({"cache": folder})
        try:
            with open_remote(path, spec.engine, cached, timeout=job.budget.patience) as remote:
                if remote.settings.get("cache") != folder:
                    return None
        except NotSupportedError:
            return None
        with_cache = measure_first_inference(path, spec.engine, cached, inputs=inputs).total_ms
    without = measure_first_inference(path, spec.engine, settings, inputs=inputs).total_ms
    if with_cache > LEAST_GAIN * without:
        return None
    return {
        "first_inference_ms": {"without": without, "with": with_cache},
        "words": f"{spec.engine} keeps compiled models in a folder that you name: the first inference of a process "
        f"takes {with_cache:.0f} ms with it and {without:.0f} ms without; strop.load(bundle, cache=FOLDER)",
    }
