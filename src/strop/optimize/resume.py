"""Goes on with a study that an earlier run left: only with the same model, data, machine and limits."""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from strop.documents import plain
from strop.errors import FileError, StropError, UsageError, WorkerError
from strop.measure.estimate import Estimate
from strop.model.model import Model
from strop.optimize.int8_forms import models_made_before
from strop.optimize.job import Job, Kept
from strop.optimize.limit_checks import check_limits
from strop.optimize.plan import Shares
from strop.optimize.racing import open_contender
from strop.optimize.study import Study, read_study
from strop.optimize.trial import TrialSpec
from strop.optimize.trials import LIMITS_SECONDS

SAME: Mapping[str, tuple[str, ...]] = {
    "model": ("sha256",),
    "data": ("sha256",),
    "machine": ("fingerprint",),
    "objective": (),
    "accuracy": (),
    "limits": (),
    "versions": (),
}
"""Facts that must be what they were, as every figure in the study rests on them; where named, that field of it."""


def continued_study(path: Path, facts: Mapping[str, Any]) -> Study:
    """Returns the study at `path`, open for writing, after comparing what it is of with `facts`.

    Raises UsageError (`study.other`) where it is of something else, FileError where there is none.
    """
    if not path.exists():
        raise FileError(
            "file.read",
            "there is no study to resume",
            where=str(path),
            hint="leave --resume out for a new one, or give the -o of the run that is to go on",
        )
    if path.stat().st_size:  # a run that was killed before it wrote anything has nothing that could differ
        reading = read_study(path)
        recorded = reading.facts()
        reading.close()
        _check_same(path, recorded, facts)
    return Study(path)


def sweep(output: Path) -> None:
    """Removes what a run that was killed left of bundles that it was writing; their own names they never had."""
    for torn in output.parent.glob(f".{glob.escape(output.name)}.*"):
        if torn.name.endswith((".part", ".candidate")):
            torn.unlink(missing_ok=True)


def _check_same(path: Path, recorded: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    for name, fields in SAME.items():
        before, now = (_field(source.get(name), fields) for source in (recorded, facts))
        if name in recorded and json.dumps(plain(before), sort_keys=True) != json.dumps(plain(now), sort_keys=True):
            raise UsageError(
                "study.other",
                f"the study is of another {_WORDS[name]}",
                where=str(path),
                got=now,
                expected=before,
                hint="leave --resume out for a new study (the old one is kept, under another name), or repeat what it "
                f"was made with: {recorded.get('command') or 'the same call'}",
            )


_WORDS = {
    "model": "model",
    "data": "data set",
    "machine": "machine",
    "objective": "objective",
    "accuracy": "limit on accuracy",
    "limits": "limit",
    "versions": "version of Strop or an engine",
}


def _field(value: Any, fields: tuple[str, ...]) -> Any:
    for name in fields:
        value = value.get(name) if isinstance(value, Mapping) else value
    return value


def finished_trials(study: Study) -> dict[str, tuple[TrialSpec, Mapping[str, Any]]]:
    """Returns the trials that are not to be measured again, by key; those that had no time are forgotten."""
    study.forget_untried()
    found = {}
    for record in study.trials():
        trial: Any = record
        try:
            spec = TrialSpec.from_json(trial["trial"])
        except (KeyError, TypeError, ValueError) as error:
            raise FileError(
                "study.not-a-study",
                "a trial of the study cannot be read",
                where=str(study.path),
                got=error,
                hint="the file was changed: leave --resume out for a new study",
            ) from error
        found[spec.key] = (spec, trial)
    return found


def planned_shares(study: Study) -> Shares | None:
    """Returns how an earlier run divided the samples: what confirms must still be what has chosen nothing."""
    plan = study.facts().get("plan")
    shares = plan.get("shares") if isinstance(plan, Mapping) else None
    return Shares(**shares) if isinstance(shares, Mapping) else None


def reopen_best(job: Job) -> None:
    """Opens the best form of an earlier run again and puts it on `job.kept`, the forms before it below it.

    One that cannot be opened any more is tried anew.
    """
    quantized = models_made_before(job)
    for spec, trial in list(job.finished.values()):
        if trial["status"] != "kept" or spec.key == job.baseline.spec.key:
            continue
        here = job.model if spec.precision == "f32" or job.model.is_quantized else quantized.get(spec.engine)
        try:
            form = _reopened(job, spec, trial, here)
        except StropError as error:
            job.narrator.warn(f"{spec.label} cannot be opened again, so it is tried anew: {error.in_a_line}")
            del job.finished[spec.key]
            continue
        if job.best is not job.baseline:
            job.best.contender.close()
        job.kept.append(form)
    best = "" if job.best is job.baseline else f"; the best so far is {job.best.spec.label}"
    job.narrator.decide(f"resumed: {len(job.finished)} trials are not measured again{best}")


def _reopened(job: Job, spec: TrialSpec, trial: Mapping[str, Any], model: Model | None) -> Kept:
    if model is None:
        raise FileError("file.read", "its INT8 model is not in the study", hint="it is made again")
    try:
        contender = open_contender(spec, job.saved(model), job.timed_inputs, timeout=job.budget.search_patience)
    except WorkerError:  # what ends a worker once, as a lack of memory does, need not end it twice
        contender = open_contender(spec, job.saved(model), job.timed_inputs, timeout=job.budget.search_patience)
    try:
        others = [job.baseline.contender, *([] if job.best is job.baseline else [job.best.contender])]
        checks = check_limits(job, contender, latencies=None, rate=None, seconds=LIMITS_SECONDS, others=others)
        latency = Estimate(**trial["latency_ms"]).scaled(1e-3)
    except BaseException:
        contender.close()
        raise
    return Kept(spec, model, contender, latency, bool(trial.get("doubtful")), checks)
