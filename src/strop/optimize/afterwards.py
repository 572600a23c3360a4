"""What runs after the confirmation, within what is left of the budget: each step adds one finding, or nothing.

The bundle is in its place by then. A step that fails is a warning and costs nothing but its finding; a new one is a
function in a file of its own, and a line in STEPS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.errors import StropError
from strop.optimize.ablation import ablate
from strop.optimize.changes import flips_step, slices_step
from strop.optimize.compile_cache import compile_cache
from strop.optimize.curve_step import curve_of
from strop.optimize.job import Job, Kept
from strop.optimize.layers import layers
from strop.optimize.racing import Contender, contend, open_contender
from strop.quality.contract import DataSet
from strop.runtime.remote import open_remote_bundle


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What the confirmation handed over: the form, its bundle, the samples that confirmed it, the report on it."""

    form: Kept
    bundle: Path
    data: DataSet
    report: Mapping[str, Any]

    @property
    def gained(self) -> bool:
        """Whether the form is another one than the baseline."""
        return bool(self.report["gained"])

    def open_before(self, job: Job) -> Contender:
        """Returns the baseline in a fresh worker; close it."""
        return open_contender(job.baseline.spec, job.original, job.timed_inputs, timeout=job.budget.patience)

    def open_after(self, job: Job) -> Contender:
        """Returns the saved bundle in a fresh worker; close it."""
        spec, inputs = self.form.spec, job.timed_inputs
        remote = open_remote_bundle(self.bundle, inputs=inputs, batch=spec.batch, timeout=job.budget.patience)
        return contend(spec, remote, inputs)


Step = tuple[str, Callable[[Job, Confirmed], Mapping[str, object] | None]]
"""A name, and a function that returns a finding as a JSON object, or None where there is nothing to say.

The name is that of the fact in the study and of the key in the document.
"""

STEPS: Sequence[Step] = (
    ("flips", flips_step),  # these two look at what the confirmation compared: before anything else is compared
    ("slices", slices_step),
    ("layers", layers),
    ("ablation", ablate),
    ("curve", curve_of),
    ("cache", compile_cache),
)
"""In this order: the first come to what is left of the budget first. Each looks at `job.budget.remaining` itself."""


def run_afterwards(job: Job, confirmed: Confirmed, steps: Sequence[Step] | None = None) -> dict[str, Any]:
    """Returns the findings by name; what was left out, for lack of time or by a failure, is a warning."""
    findings: dict[str, Any] = {}
    for name, step in STEPS if steps is None else steps:
        if job.budget.remaining <= 0:
            job.narrator.warn(f"no {name}: the budget is used up")
            continue
        job.narrator.stage(f"afterwards: {name}")
        try:
            found = step(job, confirmed)
            if found is not None:
                findings[name] = dict(found)
                job.study.fact(name, found)
        except StropError as error:
            job.narrator.warn(f"no {name}: {error.in_a_line}")
        except Exception as error:  # a mistake in a step must not cost what is confirmed
            job.narrator.warn(f"no {name}: {type(error).__name__}: {error}")
    return findings
