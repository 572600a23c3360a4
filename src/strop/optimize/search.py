"""The main job: the fastest form of a model that keeps its accuracy, found by racing, confirmed on what was saved.

`search` is the table of contents: baseline, plan, float trials, quantization, INT8 trials, confirmation. A step is
kept only where it is measured faster than the best so far and the accuracy holds, so what is handed over is never worse
than what came in.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from strop.errors import FileError, LimitError, NotSupportedError, StropError, WorkerError
from strop.machine import machine
from strop.measure.latency import Latency, measure_latency
from strop.model.model import Model
from strop.optimize.afterwards import run_afterwards
from strop.optimize.confirm import confirm_best
from strop.optimize.forecasting import forecast
from strop.optimize.int8_forms import int8_forms
from strop.optimize.job import TIMED_SAMPLES, Inputs, Job, Kept, frequent_shapes, inputs_to_time
from strop.optimize.limit_checks import check_limits
from strop.optimize.plan import FEW_LABELS, Shares, divide, fit_shares
from strop.optimize.racing import open_contender
from strop.optimize.refining import refine
from strop.optimize.resume import planned_shares, reopen_best
from strop.optimize.space import Precision
from strop.optimize.trial import Samples, TrialResult, TrialSpec
from strop.optimize.trials import LIMITS_SECONDS, race_all, revive, unfinished
from strop.quality.contract import DataSet
from strop.quality.split import split

BASELINE_ENGINE = "onnxruntime"
"""What most users run today, with its defaults: the form every gain is measured against."""
CHECKED_SAMPLES = 3
QUIET_SCATTER = 0.1
"""Of the middle half of the baseline's calls, over their median."""


def search(job: Job) -> dict[str, Any]:
    """Returns what was found, as JSON; the bundle is at `job.output`, every trial in `job.study`.

    Trials in `job.finished` are not measured again. Raises LimitError where the baseline is near chance or the budget
    too small. Ctrl-C or an error once trials run writes the best so far, unconfirmed, before it goes on.
    """
    try:
        return _search(job)
    except OSError as error:
        raise FileError(
            "file.write",
            "a file could not be written",
            where=error.filename,
            got=error.strerror or error,
            hint="free some space; what was finished is in the study, and --resume goes on from it",
        ) from error


def _search(job: Job) -> dict[str, Any]:
    with TemporaryDirectory(prefix="strop-", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        job.folder = Path(folder)
        stack.callback(_close, job)
        noise = _start_baseline(job)
        shares = _plan(job, noise)
        calibration, choosing, confirmation = split(
            job.data,
            calibration=shares.calibration,
            choosing=shares.choosing,
            confirmation=shares.confirmation,
            overlap=shares.overlap,
            seed=job.seed,
        )
        with job.schedule.working("baseline"):
            _check_baseline(job, choosing)
        try:
            if job.finished:
                reopen_best(job)
            _try_all(job, shares, calibration, choosing)
            with job.schedule.working("confirmation"):
                confirmed = confirm_best(job, confirmation)
        except BaseException as error:
            _save_best(job, error)
            raise
        return {**confirmed.report, **run_afterwards(job, confirmed)}


def _try_all(job: Job, shares: Shares, calibration: DataSet, choosing: DataSet) -> None:
    """Races what there is to race: the model as it came, its INT8 forms, and refinements of the best."""
    later = len(unfinished(job, "int8")) if shares.calibration else 0
    original = dict.fromkeys(job.engines, job.model)
    quantizing = job.schedule.remaining(["quantization"]) + job.shortest_trial() if later else 0.0
    reserved = min(quantizing, max(0.0, 0.5 * job.budget.for_search))
    race_all(job, own_precision(job.model), original, choosing, races_later=later, later_seconds=reserved)
    if shares.calibration:
        race_all(job, "int8", int8_forms(job, calibration, choosing), choosing)
    job.schedule.skip("trials", None)
    refine(job, choosing)


def _start_baseline(job: Job) -> str:
    """Opens and times the baseline; returns what its calls say about the machine's noise."""
    job.narrator.stage(f"baseline: {BASELINE_ENGINE} with its defaults")
    began = job.budget.elapsed
    samples, job.timed_inputs = inputs_to_time(job.data)
    reading_seconds = (job.budget.elapsed - began) / min(TIMED_SAMPLES, len(job.data))
    job.shapes = frequent_shapes(job.data, job.timed_inputs)
    try:
        latency = _time_baseline(job, samples)
    except WorkerError as error:
        job.narrator.warn(f"the baseline's worker ended and was started again: {error.in_a_line}")
        latency = _time_baseline(job, samples)
    job.sample_seconds = reading_seconds + 1.5 * latency.estimate.point
    form = job.baseline
    if form.spec.key not in job.finished:
        result = TrialResult(
            form.spec,
            "kept",
            "the baseline",
            latency=latency.estimate,
            settings=dict(form.contender.remote.settings),
            samples=[Samples("best", "latency", latency.samples)],
        )
        job.study.add(result)
    scatter = latency.dispersion.iqr_over_median
    if scatter < QUIET_SCATTER:
        return f"the machine is quiet (calls scatter by {scatter:.0%})"
    return f"the machine is noisy (calls scatter by {scatter:.0%}): verdicts take longer, some will say `cannot tell`"


def _time_baseline(job: Job, samples: Sequence[Inputs]) -> Latency:
    """Opens the baseline, puts it on `job.kept`, and returns the latency of its requests."""
    spec = TrialSpec(job.model.sha256, job.data.fingerprint, BASELINE_ENGINE, own_precision(job.model), job.objective)
    began = job.budget.elapsed
    try:
        contender = open_contender(spec, job.original, job.timed_inputs, timeout=job.budget.patience)
    except NotSupportedError as error:
        raise NotSupportedError(
            error.code,
            f"the baseline cannot run this model: {error.what}",
            where=error.where,
            got=error.got,
            hint=f"gains are measured against {BASELINE_ENGINE}; `strop compare` shows what other engines do",
        ) from error
    opened = job.budget.elapsed
    try:
        contender.remote(job.timed_inputs[0])
        job.request_seconds = job.budget.elapsed - opened
        job.opened_in(BASELINE_ENGINE, opened - began)
        _check_budget(job)
        job.checked = [(inputs, contender.remote(inputs)) for inputs in samples[:CHECKED_SAMPLES]]
        latency = measure_latency(contender.remote.block, seconds=max(0.1, min(2.0, 0.05 * job.budget.remaining)))
        alone = latency.samples if job.objective == "latency" and len(job.timed_inputs) == 1 else None
        seconds = min(LIMITS_SECONDS, max(0.1, 0.05 * job.budget.remaining))
        checks = check_limits(job, contender, latencies=alone, rate=None, seconds=seconds)
    except BaseException:
        contender.close()
        raise
    job.kept = [Kept(spec, job.model, contender, latency.estimate, checks=checks)]
    job.request_seconds = latency.estimate.point
    return latency


def _check_budget(job: Job) -> None:
    """Raises LimitError (`limit.budget`) where not even one trial could be raced and confirmed."""
    needed = job.shortest_trial() + job.shortest_confirmation
    if job.budget.seconds is not None and job.budget.remaining < needed:
        enough = job.budget.elapsed + 2 * needed
        raise LimitError(
            "limit.budget",
            "the budget is too small to measure anything",
            got=f"{job.budget.seconds:.0f} s, {job.budget.elapsed:.0f} of them gone; "
            f"an inference: {job.request_seconds:.2g} s",
            expected=f"at least {enough:.0f} s",
            hint=f"--budget {enough / 60 + 1:.0f}m",
        )


def _plan(job: Job, noise: str) -> Shares:
    """Returns how the samples are divided, after telling that and what it will all cost."""
    shares = planned_shares(job.study) or fit_shares(
        divide(len(job.data), quantizing=not job.model.is_quantized), job.sample_seconds, job.budget
    )
    expected = forecast(job, shares)
    job.narrator.planned = True
    trials = job.schedule.parts["trials"].left
    seconds = job.budget.elapsed + job.narrator.remaining
    limits = ", ".join([job.judge.limit_words, *(limit.words for limit in job.limits)])
    job.narrator.plan(
        f"plan: {trials} trials on {machine().cores} cores; {limits}; of {len(job.data)} samples "
        f"{shares.calibration} calibrate, {shares.choosing} choose, {shares.confirmation} confirm; "
        f"about {seconds:.0f} s and {expected.memory_bytes / 1e6:.0f} MB; {noise}",
        {**expected.to_json(), "trials": trials, "shares": shares.to_json()},
    )
    job.study.fact("forecast", {**expected.to_json(), "whole_run_seconds": round(seconds, 1)})
    for check in job.baseline.checks:
        job.narrator.decide(f"baseline: {check.words}", key=job.baseline.spec.key)
    if job.judge.needs_labels and shares.confirmation < FEW_LABELS:
        job.narrator.warn(
            f"only {shares.confirmation} labelled samples confirm: below {FEW_LABELS}, a loss of a point can hardly be "
            "told from luck"
        )
    needed = job.judge.plan(shares.confirmation)
    if needed is not None:
        job.study.fact("sample_plan", needed.to_json())
        job.narrator.decide(needed.words)
    if shares.overlap:
        job.narrator.warn(f"only {len(job.data)} samples: the same ones calibrate, choose and confirm, which flatters")
    return shares


def _check_baseline(job: Job, choosing: DataSet) -> None:
    job.narrator.stage(f"accuracy of the baseline on {len(choosing)} samples")
    began = job.budget.elapsed
    try:
        found = job.judge.baseline(job.baseline.contender.remote, choosing)
    except WorkerError:
        if not revive(job):
            raise
        found = job.judge.baseline(job.baseline.contender.remote, choosing)
    if job.judge.needs_labels:
        job.sample_seconds = max(job.request_seconds, (job.budget.elapsed - began) / len(choosing))
    job.study.fact("baseline_accuracy", dict(found.details))
    if found.words:
        job.narrator.decide(found.words, key=job.baseline.spec.key)
    if found.near_chance:
        raise LimitError(
            "quality.near-chance",
            "the model is no better than guessing before anything was changed",
            got=found.near_chance,
            hint="the preprocessing (mean, scale, channel order, layout) or the order of the labels is probably wrong",
        )


def _save_best(job: Job, error: BaseException) -> None:
    """Writes the best so far; what keeps it from that, a full disk say, must not hide why the run ended."""
    why = error.what if isinstance(error, StropError) else "interrupted"
    if not isinstance(error, (StropError, KeyboardInterrupt)):
        why = f"{type(error).__name__}: {error}"
    best = next(form for form in reversed(job.kept) if not form.doubtful)
    try:
        job.write(best, job.output, {"confirmed": False, "decisions": job.study.decisions()})
        words = f"{why}: the best so far is written, not confirmed: {best.spec.label} -> {job.output}"
    except StropError as failure:
        words = f"{why}: the best so far, {best.spec.label}, could not be written: {failure.in_a_line}"
    try:
        job.study.fact("interrupted", True)
        job.narrator.decide(f"{words}; --resume goes on from here")
    except FileError:
        job.narrator.warn(f"{words}; the study could not be written either")


def own_precision(model: Model) -> Precision:
    """Returns the precision of the model as it came."""
    return "int8" if model.is_quantized else "f32"


def _close(job: Job) -> None:
    for form in job.kept:
        form.contender.close()
