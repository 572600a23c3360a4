"""The trials of one precision: each raced against the best so far, kept only where it is faster and accurate enough.

Where limits on latency, memory or throughput are set and the best so far exceeds them, what comes nearer is better than
what is faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from strop.errors import NotSupportedError, StropError, WorkerError
from strop.machine import machine
from strop.measure.comparison import Compared
from strop.measure.estimate import Verdict
from strop.model.model import Model
from strop.optimize.job import Job, Kept
from strop.optimize.limit_checks import LimitCheck, checks_of, summary, total_excess
from strop.optimize.plan import RACE_SECONDS, SHORTEST_RACE_SECONDS
from strop.optimize.racing import Contender, check_agreement, open_contender, race
from strop.optimize.space import BATCHES, Precision, candidates
from strop.optimize.trial import Samples, Status, TrialResult, TrialSpec
from strop.optimize.worth_racing import why_not_race
from strop.quality.contract import DataSet

FURTHER_SECONDS = 2 * RACE_SECONDS
"""How much longer a race goes on that cannot tell, where time is ample."""
LIMITS_SECONDS = 3.0
"""For what a race does not show of a limit, at most."""
NEARER = 0.97
"""Of two forms beyond the limits, one is nearer where its excess is less than this share of the other's."""

Hopeless = dict[str, tuple[Status, str]]
"""By engine: what became of a trial whose reason holds for its other settings, too, and that reason."""


def specs(job: Job, precision: Precision) -> list[TrialSpec]:
    """Returns what is to be tried at `precision`, in order; not the baseline once more under another name."""
    found = candidates(
        job.engines,
        precision,
        job.objective,
        model=job.model.sha256,
        data=job.data.fingerprint,
        machine=machine(),
        batches=BATCHES if job.objective == "throughput" and can_batch(job) else (1,),
    )
    return [spec for spec in found if not _is_baseline(job, spec)]


def unfinished(job: Job, precision: Precision) -> list[TrialSpec]:
    """Returns those of `specs` that no earlier run of this study has finished."""
    return [spec for spec in specs(job, precision) if spec.key not in job.finished]


def _is_baseline(job: Job, spec: TrialSpec) -> bool:
    baseline, in_force = job.baseline.spec, job.baseline.contender.remote.settings
    same_kind = (spec.engine, spec.precision, spec.batch) == (baseline.engine, baseline.precision, baseline.batch)
    return same_kind and all(in_force.get(name) == value for name, value in spec.settings.items())


def can_batch(job: Job) -> bool:
    """Whether a request may hold several samples: every first size is free, and the samples have one shape."""
    free = all(spec.shape and not isinstance(spec.shape[0], int) for spec in job.model.inputs)
    shapes = {tuple(array.shape for array in inputs.values()) for inputs in job.timed_inputs}
    return free and len(shapes) == 1


def race_share(job: Job, races: int, *, later_seconds: float = 0.0) -> float:
    """Returns what each of `races` races may take of the search's share, `later_seconds` of it left alone."""
    return (job.budget.for_search - later_seconds) / max(1, races) - job.opening_seconds()


def race_seconds(job: Job, races: int, *, later_seconds: float = 0.0) -> float:
    """Returns how long each of `races` races is to take."""
    return min(RACE_SECONDS, max(SHORTEST_RACE_SECONDS, race_share(job, races, later_seconds=later_seconds)))


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
    evaluation_seconds = len(choosing) * job.sample_seconds if quantized_here(job, precision) else 0.0
    waiting = unfinished(job, precision)
    hopeless = _found_hopeless(job, precision)
    for number, spec in enumerate(waiting):
        if spec.engine not in forms:
            job.schedule.skip("trials")
        elif spec.engine in hopeless:
            job.schedule.skip("trials")
            finish(job, TrialResult(spec, *hopeless[spec.engine]))
        elif job.budget.for_search - later_seconds < job.shortest_trial(spec.engine) + evaluation_seconds:
            job.schedule.skip("trials")
            finish(job, TrialResult(spec, "not tried", "the budget's share for the search is used up"))
        else:
            share = race_share(job, len(waiting) - number + races_later, later_seconds=later_seconds)
            with job.schedule.working("trials"):
                job.narrator.progress(f"trial: {spec.label}")
                result = attempt(job, spec, forms[spec.engine], choosing, share)
                finish(job, result)
            if result.status == "unsupported" or (result.status == "dropped" and result.accuracy is not None):
                hopeless[spec.engine] = (result.status, f"as {spec.label}: {result.reason}")


def _found_hopeless(job: Job, precision: Precision) -> Hopeless:
    """Returns what an earlier run of this study found to be hopeless."""
    found: Hopeless = {}
    for spec, trial in job.finished.values():
        status = trial["status"]
        if spec.precision == precision and (status == "unsupported" or (status == "dropped" and trial["accuracy"])):
            found.setdefault(spec.engine, (status, f"as {spec.label}: {trial['reason']}"))
    return found


def attempt(job: Job, spec: TrialSpec, model: Model, choosing: DataSet, share: float) -> TrialResult:
    """Returns what came of a trial; one that wins is appended to `job.kept`. share: seconds that its race may take."""
    started = job.budget.elapsed
    try:
        revive(job)
        try:
            result = _run(job, spec, model, choosing, share)
        except WorkerError:
            if not revive(job):
                raise  # its own worker failed
            result = _run(job, spec, model, choosing, share)
    except NotSupportedError as error:
        result = TrialResult(spec, "unsupported", error.in_a_line)
    except StropError as error:
        result = TrialResult(spec, "failed", error.in_a_line)
    return replace(result, seconds=job.budget.elapsed - started)


def revive(job: Job) -> bool:
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


def _run(job: Job, spec: TrialSpec, model: Model, choosing: DataSet, share: float) -> TrialResult:
    best = job.best
    began = job.budget.elapsed
    challenger = open_contender(spec, job.saved(model), job.timed_inputs, timeout=job.budget.search_patience)
    won = False
    try:
        if "tune" not in spec.settings:  # its bundle holds what tuning found
            job.opened_in(spec.engine, job.budget.elapsed - began)
        why_not = why_not_race(job, challenger)
        if why_not:
            return TrialResult(spec, "dropped", why_not, settings=dict(challenger.remote.settings))
        if not quantized_here(job, spec.precision):
            check_agreement(challenger, job.checked)
        result, raced = _race(job, challenger, share)
        result, checks = _hold_against_limits(job, challenger, result, raced)
        if result.status != "kept":
            return result
        doubtful = any(check.met is None for check in checks)
        if quantized_here(job, spec.precision):
            job.narrator.progress(f"accuracy of {spec.label}")
            judged = job.judge.judge(job.baseline.contender.remote, challenger.remote, choosing, early=True)
            result = replace(result, accuracy=judged.details)
            if judged.hopeless:
                return replace(result, status="dropped", reason=f"faster, but {judged.words}")
            doubt = "" if judged.within else ", yet too near to it for so few samples: the confirmation decides"
            doubtful = doubtful or not judged.within
            result = replace(result, reason=f"{result.reason}; {judged.words}{doubt}")
        won = True
        if best is not job.baseline:
            best.contender.close()
        job.kept.append(Kept(spec, model, challenger, raced.estimate, doubtful, checks))
        job.budget.reserve(job.shortest_confirmation)
        return replace(result, doubtful=doubtful)
    finally:
        if not won:
            challenger.close()


def _race(job: Job, challenger: Contender, share: float) -> tuple[TrialResult, Compared]:
    """Races it against the best so far; the result is "kept" where it is faster."""
    best = job.best
    raced = race(
        {"best": best.contender, "challenger": challenger},
        seconds=min(RACE_SECONDS, max(SHORTEST_RACE_SECONDS, share)),
        further_seconds=min(FURTHER_SECONDS, job.narrator.spare, max(0.0, share - RACE_SECONDS)),
        # Where the best is beyond a limit, a slower form may be better.
        early=total_excess(best.checks) == 0,
        on_progress=lambda fraction: job.narrator.progress(f"trial: {challenger.spec.label}"),
    )
    against, compared = raced["best"], raced["challenger"]
    ratio = compared.speedup.ratio
    words = f"{ratio.point:.2f} x ({ratio.low:.2f} to {ratio.high:.2f}) against {best.spec.label}"
    if compared.stopped:
        reason = f"{Verdict.SLOWER}, seen after {ratio.n} rounds: {words}"
    else:
        reason = f"{compared.verdict}: {words}"
    result = TrialResult(
        challenger.spec,
        "kept" if compared.verdict is Verdict.FASTER else "dropped",
        reason,
        latency=compared.estimate,
        speedup=compared.speedup,
        against=best.spec.label,
        settings=dict(challenger.remote.settings),
        samples=[
            Samples("challenger", job.objective, compared.samples),
            Samples("best", job.objective, against.samples),
        ],
    )
    return result, compared


def _hold_against_limits(
    job: Job, challenger: Contender, result: TrialResult, raced: Compared
) -> tuple[TrialResult, tuple[LimitCheck, ...]]:
    """Returns the result with what the limits make of it, and their checks."""
    before = total_excess(job.best.checks)
    if not job.limits or (result.status != "kept" and before == 0):
        return result, ()
    seconds = min(LIMITS_SECONDS, max(0.2, 0.1 * job.budget.for_search))
    checks = checks_of(job, challenger, raced, others=[job.best.contender], seconds=seconds)
    excess = total_excess(checks)
    result = replace(result, limits=[check.to_json() for check in checks])
    beyond = summary([check for check in checks if check.met is False])
    unknown = summary([check for check in checks if check.met is None])
    if before == 0 and excess > 0:
        return replace(result, status="dropped", reason=f"{result.reason}, but {beyond}"), checks
    if excess < NEARER * before:
        nearer = "keeps the limits" if excess == 0 else f"nearer to the limits ({beyond})"
        result = replace(
            result, status="kept", reason=f"{nearer}, which {job.best.spec.label} does not; {result.reason}"
        )
    elif excess > before:
        result = replace(result, status="dropped", reason=f"{result.reason}, but further beyond the limits: {beyond}")
    return (replace(result, reason=f"{result.reason}; {unknown}") if unknown else result), checks


def quantized_here(job: Job, precision: Precision) -> bool:
    """Whether forms of this precision were quantized by this run, so that their accuracy is in question."""
    return precision == "int8" and not job.model.is_quantized


def finish(job: Job, result: TrialResult) -> None:
    """Records a trial and tells of it; nothing loses it from here on."""
    job.study.add(result)
    job.narrator.decide(f"{result.spec.label}: {result.status}, {result.reason}", key=result.spec.key)
