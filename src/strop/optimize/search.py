"""The main job: the fastest form of a model that keeps its accuracy, found by racing, confirmed on what was saved.

`search` is the table of contents: baseline, plan, float trials, quantization, INT8 trials, confirmation. A step is
kept only where it is measured faster than the best so far and the accuracy holds, so what is handed over is never worse
than what came in.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from strop.errors import LimitError, NotSupportedError, StropError
from strop.machine import machine
from strop.measure.latency import measure_latency
from strop.model.model import Model
from strop.optimize.afterwards import run_afterwards
from strop.optimize.confirm import confirm_best
from strop.optimize.int8_forms import int8_forms
from strop.optimize.job import Inputs, Job, Kept
from strop.optimize.plan import FEW_LABELS, Forecast, Shares, divide, fit_shares, forecast
from strop.optimize.racing import open_contender
from strop.optimize.space import Precision
from strop.optimize.trial import Samples, TrialResult, TrialSpec
from strop.optimize.trials import race_all, race_seconds, specs
from strop.quality.contract import DataSet
from strop.quality.split import split
from strop.quality.task import first_inputs

BASELINE_ENGINE = "onnxruntime"
"""What most users run today, with its defaults: the form every gain is measured against."""
TIMED_SAMPLES = 6
"""Where shapes differ from sample to sample; otherwise one is as good as many."""
CHECKED_SAMPLES = 3
QUIET_SCATTER = 0.1
"""Of the middle half of the baseline's calls, over their median."""


def search(job: Job) -> dict[str, Any]:
    """Returns what was found, as JSON; the bundle is at `job.output`, every trial in `job.study`.

    Raises LimitError where the baseline is near chance or the budget too small. Ctrl-C or an error once trials run
    writes the best so far, unconfirmed, before it goes on.
    """
    with TemporaryDirectory(prefix="strop-") as folder, ExitStack() as stack:
        job.folder = Path(folder)
        stack.callback(_close, job)
        noise = _start_baseline(job)
        shares, expected = _plan(job, noise)
        calibration, choosing, confirmation = split(
            job.data,
            calibration=shares.calibration,
            choosing=shares.choosing,
            confirmation=shares.confirmation,
            overlap=shares.overlap,
            seed=job.seed,
        )
        _check_baseline(job, choosing)
        try:
            later = len(specs(job, "int8")) if shares.calibration else 0
            original = dict.fromkeys(job.engines, job.model)
            quantizing = expected.quantization_seconds + job.shortest_trial() if later else 0.0
            reserved = min(quantizing, max(0.0, 0.5 * job.budget.for_search))
            race_all(job, own_precision(job.model), original, choosing, races_later=later, later_seconds=reserved)
            if shares.calibration:
                race_all(job, "int8", int8_forms(job, calibration, choosing), choosing)
            confirmed = confirm_best(job, confirmation)
        except (KeyboardInterrupt, StropError) as error:
            _save_best(job, "interrupted" if isinstance(error, KeyboardInterrupt) else error.what)
            raise
        return {**confirmed.report, **run_afterwards(job, confirmed)}


def _start_baseline(job: Job) -> str:
    """Opens and times the baseline; returns what its calls say about the machine's noise."""
    job.narrator.stage(f"baseline: {BASELINE_ENGINE} with its defaults")
    began = job.budget.elapsed
    samples: list[Inputs] = first_inputs(job.data, TIMED_SAMPLES)
    reading_seconds = (job.budget.elapsed - began) / min(TIMED_SAMPLES, len(job.data))
    shapes = {tuple(array.shape for array in inputs.values()) for inputs in samples}
    job.timed_inputs = samples if len(shapes) > 1 else samples[:1]
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
    except BaseException:
        contender.close()
        raise
    job.kept = [Kept(spec, job.model, contender, latency.estimate)]
    job.request_seconds = latency.estimate.point
    job.sample_seconds = reading_seconds + 1.5 * latency.estimate.point
    result = TrialResult(
        spec,
        "kept",
        "the baseline",
        latency=latency.estimate,
        settings=dict(contender.remote.settings),
        samples=[Samples("best", "latency", latency.samples)],
    )
    job.study.add(result)
    scatter = latency.dispersion.iqr_over_median
    if scatter < QUIET_SCATTER:
        return f"the machine is quiet (calls scatter by {scatter:.0%})"
    return f"the machine is noisy (calls scatter by {scatter:.0%}): verdicts take longer, some will say `cannot tell`"


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


def _plan(job: Job, noise: str) -> tuple[Shares, Forecast]:
    """Returns how the samples are divided and what it will all cost, after telling so."""
    shares = fit_shares(divide(len(job.data), quantizing=not job.model.is_quantized), job.sample_seconds, job.budget)
    races = len(specs(job, "f32")) + (len(specs(job, "int8")) if shares.calibration else 0)
    memory = 3 * (job.baseline.contender.remote.memory().peak_bytes + job.original.stat().st_size)
    expected = forecast(
        races,
        shares,
        job.sample_seconds,
        race_seconds=race_seconds(job, races),
        shortest_race=job.shortest_race(),
        memory_bytes=memory,
    )
    seconds = job.budget.elapsed + expected.seconds
    if job.budget.seconds is not None:
        seconds = min(seconds, job.budget.seconds)
    job.narrator.planned_seconds = seconds
    job.narrator.plan(
        f"plan: {races} trials on {machine().cores} cores; {job.judge.limit_words}; of {len(job.data)} samples "
        f"{shares.calibration} calibrate, {shares.choosing} choose, {shares.confirmation} confirm; "
        f"about {seconds:.0f} s and {memory / 1e6:.0f} MB; {noise}",
        expected.to_json() | {"trials": races, "shares": shares.to_json()},
    )
    if job.judge.needs_labels and shares.confirmation < FEW_LABELS:
        job.narrator.warn(
            f"only {shares.confirmation} labelled samples confirm: below {FEW_LABELS}, a loss of a point can hardly be "
            "told from luck"
        )
    if shares.overlap:
        job.narrator.warn(f"only {len(job.data)} samples: the same ones calibrate, choose and confirm, which flatters")
    return shares, expected


def _check_baseline(job: Job, choosing: DataSet) -> None:
    job.narrator.stage(f"accuracy of the baseline on {len(choosing)} samples")
    began = job.budget.elapsed
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


def _save_best(job: Job, why: str) -> None:
    best = next(form for form in reversed(job.kept) if not form.doubtful)
    job.write(best, job.output, {"confirmed": False, "decisions": job.study.decisions()})
    job.study.fact("interrupted", True)
    job.narrator.decide(f"{why}: the best so far is written, not confirmed: {best.spec.label} -> {job.output}")


def own_precision(model: Model) -> Precision:
    """Returns the precision of the model as it came."""
    return "int8" if model.is_quantized else "f32"


def _close(job: Job) -> None:
    for form in job.kept:
        form.contender.close()
