"""The trials of one precision: each raced against the best so far, kept only where it is faster and accurate enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from strop.errors import NotSupportedError, StropError, WorkerError
from strop.machine import machine
from strop.measure.clock import now
from strop.measure.estimate import Verdict
from strop.model.model import Model
from strop.optimize.job import Job, Kept
from strop.optimize.plan import RACE_SECONDS, SHORTEST_RACE_SECONDS
from strop.optimize.racing import Contender, check_agreement, open_contender, race
from strop.optimize.space import BATCHES, Precision, candidates
from strop.optimize.trial import Samples, TrialResult, TrialSpec
from strop.quality.contract import DataSet


def specs(job: Job, precision: Precision) -> list[TrialSpec]:
    """Returns what is to be tried at `precision`, in order; not the baseline once more under another name."""
    found = candidates(
        job.engines,
        precision,
        job.objective,
        model=job.model.sha256,
        data=job.data.fingerprint,
        machine=machine(),
        batches=BATCHES if job.objective == "throughput" and _can_batch(job) else (1,),
    )
    return [spec for spec in found if not _is_baseline(job, spec)]


def _is_baseline(job: Job, spec: TrialSpec) -> bool:
    baseline, in_force = job.baseline.spec, job.baseline.contender.remote.settings
    same_kind = (spec.engine, spec.precision, spec.batch) == (baseline.engine, baseline.precision, baseline.batch)
    return same_kind and all(in_force.get(name) == value for name, value in spec.settings.items())


def _can_batch(job: Job) -> bool:
    """Whether a request may hold several samples: every first size is free, and the samples have one shape."""
    free = all(spec.shape and not isinstance(spec.shape[0], int) for spec in job.model.inputs)
    shapes = {tuple(array.shape for array in inputs.values()) for inputs in job.timed_inputs}
    return free and len(shapes) == 1


def race_seconds(job: Job, races: int, *, later_seconds: float = 0.0) -> float:
    """Returns how long each of `races` races may take within the search's share, `later_seconds` of it left alone."""
    share = (job.budget.for_search - later_seconds) / max(1, races) - job.opening_seconds()
    return min(RACE_SECONDS, max(SHORTEST_RACE_SECONDS, share))


def race_all(
    job: Job,
    precision: Precision,
    forms: Mapping[str, Model],
    choosing: DataSet,
    *,
    races_later: int = 0,
    later_seconds: float = 0.0,
) -> None:
    """Tries every candidate of `precision`; those that win are appended to `job.kept`.

    forms: the model that each engine runs; an engine without one is left out; one that refuses it, or loses too much
    accuracy with it, does so with any settings and is not tried again. races_later: how many races still come;
    later_seconds: what comes before those.
    """
    evaluation_seconds = len(choosing) * job.sample_seconds if _quantized_here(job, precision) else 0.0
    waiting = [spec for spec in specs(job, precision) if spec.engine in forms]
    hopeless: dict[str, TrialResult] = {}
    for number, spec in enumerate(waiting):
        if spec.engine in hopeless:
            earlier = hopeless[spec.engine]
            _finish(job, TrialResult(spec, earlier.status, f"as {earlier.spec.label}: {earlier.reason}"))
        elif job.budget.for_search - later_seconds < job.shortest_trial(spec.engine) + evaluation_seconds:
            _finish(job, TrialResult(spec, "not tried", "the budget's share for the search is used up"))
        else:
            job.narrator.progress(f"trial: {spec.label}")
            seconds = race_seconds(job, len(waiting) - number + races_later, later_seconds=later_seconds)
            result = _try(job, spec, forms[spec.engine], choosing, seconds)
            if result.status == "unsupported" or (result.status == "dropped" and result.accuracy is not None):
                hopeless[spec.engine] = result
            _finish(job, result)


def _try(job: Job, spec: TrialSpec, model: Model, choosing: DataSet, seconds: float) -> TrialResult:
    started = now()
    try:
        _revive(job)
        try:
            result = _run(job, spec, model, choosing, seconds)
        except WorkerError:
            if not _revive(job):
                raise  # its own worker failed
            result = _run(job, spec, model, choosing, seconds)
    except NotSupportedError as error:
        result = TrialResult(spec, "unsupported", error.in_a_line)
    except StropError as error:
        result = TrialResult(spec, "failed", error.in_a_line)
    return replace(result, seconds=now() - started)


def _revive(job: Job) -> bool:
    """Opens the baseline and the best again where their workers have ended; returns whether one had.

    A crash of theirs is not the next trial's fault, nor may it cost those that come after.
    """
    ended = [i for i in {0, len(job.kept) - 1} if not job.kept[i].contender.remote.alive]
    for index in ended:
        form = job.kept[index]
        form.contender.close()
        job.narrator.warn(f"the worker of {form.spec.label} ended by itself and was started again")
        contender = open_contender(
            form.spec, job.saved(form.model), job.timed_inputs, timeout=job.budget.search_patience
        )
        job.kept[index] = replace(form, contender=contender)
    return bool(ended)


def _run(job: Job, spec: TrialSpec, model: Model, choosing: DataSet, seconds: float) -> TrialResult:
    best = job.best
    doubtful = False
    quantized_here = _quantized_here(job, spec.precision)
    began = job.budget.elapsed
    challenger = open_contender(spec, job.saved(model), job.timed_inputs, timeout=job.budget.search_patience)
    won = False
    try:
        job.opened_in(spec.engine, job.budget.elapsed - began)
        slow = _too_slow_to_race(job, challenger)
        if slow:
            return TrialResult(spec, "dropped", slow)
        if not quantized_here:
            check_agreement(challenger, job.checked)
        raced = race({"best": best.contender, "challenger": challenger}, seconds=seconds)
        against, compared = raced["best"], raced["challenger"]
        ratio, verdict = compared.speedup.ratio, compared.verdict
        words = f"{ratio.point:.2f} x ({ratio.low:.2f} to {ratio.high:.2f}) against {best.spec.label}"
        result = TrialResult(
            spec,
            "dropped",
            f"{verdict}: {words}",
            latency=compared.estimate,
            speedup=compared.speedup,
            against=best.spec.label,
            settings=dict(challenger.remote.settings),
            samples=[
                Samples("challenger", job.objective, compared.samples),
                Samples("best", job.objective, against.samples),
            ],
        )
        if verdict is not Verdict.FASTER:
            return result
        if quantized_here:
            job.narrator.progress(f"accuracy of {spec.label}")
            judged = job.judge.judge(job.baseline.contender.remote, challenger.remote, choosing)
            if judged.hopeless:
                return replace(result, reason=f"faster, but {judged.words}", accuracy=judged.details)
            doubtful = not judged.within
            doubt = ", yet too near to it for so few samples: the confirmation decides" if doubtful else ""
            result = replace(result, reason=f"{result.reason}; {judged.words}{doubt}", accuracy=judged.details)
        won = True
        if best is not job.baseline:
            best.contender.close()
        job.kept.append(Kept(spec, model, challenger, compared.estimate, doubtful))
        job.budget.reserve(job.shortest_confirmation)
        return replace(result, status="kept")
    finally:
        if not won:
            challenger.close()


def _quantized_here(job: Job, precision: Precision) -> bool:
    return precision == "int8" and not job.model.is_quantized


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


def _finish(job: Job, result: TrialResult) -> None:
    job.study.add(result)
    job.narrator.decide(f"{result.spec.label}: {result.status}, {result.reason}", key=result.spec.key)
