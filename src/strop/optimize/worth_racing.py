"""Whether a trial that is open is worth a race at all."""

from __future__ import annotations

from strop.optimize.job import Job
from strop.optimize.limit_checks import check_memory, total_excess
from strop.optimize.racing import Contender


def why_not_race(job: Job, challenger: Contender) -> str | None:
    """Returns why the race would show nothing, or could not end in time; None where it is worth it."""
    return _idle_setting(job, challenger) or _too_much_memory(job, challenger) or _too_slow_to_race(job, challenger)


def _idle_setting(job: Job, challenger: Contender) -> str | None:
    """Returns why its settings make no difference: the engine did not take one, or all are in force in the best."""
    in_force, best = challenger.remote.settings, job.best
    for name, value in challenger.spec.settings.items():
        if name not in ("threads", "streams", "objective", "precision") and in_force.get(name) != value:
            return f"{name} {value} is not in force: the engine reports {in_force.get(name, 'nothing')}"
    same = (challenger.spec.engine, challenger.spec.precision, challenger.spec.batch) == (
        best.spec.engine,
        best.spec.precision,
        best.spec.batch,
    )
    if same and challenger.spec.key != best.spec.key and dict(in_force) == dict(best.contender.remote.settings):
        return f"what is in force is the same as in {best.spec.label}"
    return None


def _too_much_memory(job: Job, challenger: Contender) -> str | None:
    """Returns by how much it exceeds a limit on memory before it was raced, where the best so far keeps all limits."""
    if total_excess(job.best.checks) > 0:
        return None
    for limit in job.limits:
        if limit.kind == "memory":
            check = check_memory(limit, challenger.remote.memory().peak_bytes)
            if not check.met:
                return check.words
    return None


def _too_slow_to_race(job: Job, challenger: Contender) -> str | None:
    """Returns why even the shortest race with it would take more than the search has left."""
    began = job.budget.elapsed
    challenger.remote(job.timed_inputs[0])
    request = (job.budget.elapsed - began) * challenger.spec.batch
    shortest = job.shortest_race(request)
    if shortest <= job.budget.for_search:
        return None
    return (
        f"a request takes {request:.2g} s: the shortest race would take {shortest:.0f} s, more than the search has left"
    )
