"""After the confirmation: which predictions changed, and which class or group lost most, on the same samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strop.optimize.afterwards import Confirmed
    from strop.optimize.job import Job


def flips_step(job: Job, confirmed: Confirmed) -> Mapping[str, object] | None:
    """Returns the changed predictions; None where the form handed over is the baseline itself."""
    return job.judge.changes().flips if confirmed.gained else None


def slices_step(job: Job, confirmed: Confirmed) -> Mapping[str, object] | None:
    """Returns the worst class or group; None where the form handed over is the baseline itself."""
    return job.judge.changes().slices if confirmed.gained else None
