"""The confirmation: what is reported comes from the saved bundle, in fresh processes, on samples not used before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.engines.contract import Objective, Settings
from strop.engines.remote import RemoteModel, measure_first_inference
from strop.errors import FileError, LimitError, StropError, WorkerError
from strop.measure.comparison import Compared
from strop.measure.estimate import SPEEDUP_OF_ITSELF, Speedup, Verdict
from strop.measure.worker import DEFAULT_TIMEOUT, Timeout
from strop.optimize.accuracy import Judgement
from strop.optimize.afterwards import Confirmed
from strop.optimize.job import Job, Kept
from strop.optimize.limit_checks import LimitCheck, all_met, checks_of, per_second, summary, total_excess
from strop.optimize.plan import CONFIRMATION_RACE_SECONDS, OTHER_RACE_SECONDS, SHORTEST_RACE_SECONDS, fit_to_time
from strop.optimize.racing import Contender, contend, open_contender, race
from strop.optimize.trial import Role, Samples, TrialSpec
from strop.optimize.trials import NEARER
from strop.quality.contract import DataSet
from strop.runtime.remote import first_inference_of_bundle, open_remote_bundle

Kinds = Mapping[Objective, Mapping[str, Compared] | None]
"""The races by what was compared in them; None where one was left out."""
_ROLES: tuple[Role, ...] = ("before", "after")
LONGEST_LIMITS_SECONDS = 30.0
"""For the requests that a percentile needs and the race did not have."""


def confirm_best(job: Job, data: DataSet) -> Confirmed:
    """Returns the confirmed result, from the best form down to the first that holds; the baseline always does.

    A form holds where its saved bundle, in a fresh process, is faster than the baseline in a fresh process and the
    judge accepts its accuracy on `data`.
    """
    candidate = job.output.with_name(f".{job.output.name}.candidate")
    refused: list[dict[str, object]] = []
    for form in job.kept:
        form.contender.close()
    try:
        while True:
            form = job.best
            spare = job.budget.remaining - job.shortest_confirmation
            fitting = fit_to_time(data, job.sample_seconds, spare)
            job.narrator.stage(f"confirm {form.spec.label} on {len(fitting)} samples, in fresh processes")
            try:
                if refused and spare < 0 and form is not job.baseline:
                    raise LimitError("limit.budget", "no time is left to confirm it", hint="give a larger --budget")
                job.write(form, candidate, {"decisions": job.study.decisions()})
                found = _confirm_once_more(job, form, candidate, fitting)
                reason = found.why_not()
            except StropError as error:
                if form is job.baseline:
                    raise
                reason = error.in_a_line
            if reason is None:
                break
            refused.append({"label": form.spec.label, "reason": reason})
            job.narrator.decide(f"not confirmed: {form.spec.label}, {reason}", key=form.spec.key)
            job.kept.pop()
        for check in found.limits_after:
            job.narrator.decide(f"confirmed {form.spec.label}: {check.words}", key="confirmation")
        report = found.to_json() | _first_inferences(job, candidate) | {"not_confirmed": refused}
        report["samples"] = len(fitting)
        try:
            job.study.fact("confirmation", report)
            job.study.add_samples(form.spec.key, found.samples)
            # The report joins the same model, engine and settings that were just measured.
            job.write(form, candidate, {"confirmation": report, "decisions": job.study.decisions()})
        except FileError as error:
            job.narrator.warn(f"the bundle or the study goes without the report: {error.in_a_line}")
        try:
            candidate.replace(job.output)
        except OSError as error:
            raise FileError(
                "file.write",
                "the bundle could not be put in its place",
                where=str(job.output),
                got=error.strerror,
                hint="write to a name that is no folder, where you may create files (-o)",
            ) from error
        return Confirmed(form, job.output, fitting, report)
    finally:
        candidate.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What the saved bundle did against the baseline: figures of both, and the judge's word."""

    spec: TrialSpec
    settings: Mapping[str, object]
    before: Mapping[str, object]
    after: Mapping[str, object]
    speedup: Speedup | None
    judgement: Judgement
    samples: Sequence[Samples]
    limits_before: Sequence[LimitCheck] = ()
    limits_after: Sequence[LimitCheck] = ()

    def why_not(self) -> str | None:
        """Returns why the form is not handed over, None where it is; the baseline always is.

        Where the baseline is beyond a limit, a form that comes nearer is handed over whatever its speed.
        """
        if self.speedup is None:
            return None
        if not self.judgement.within:
            return self.judgement.words
        before, after = total_excess(self.limits_before), total_excess(self.limits_after)
        if after > before:
            return summary(self.limits_after)
        if after < NEARER * before:
            return None
        ratio = self.speedup.ratio
        if self.speedup.verdict is not Verdict.FASTER:
            return (
                f"{self.speedup.verdict} when confirmed: {ratio.point:.2f} x ({ratio.low:.2f} to {ratio.high:.2f}) "
                "against the baseline"
            )
        return None

    def to_json(self) -> dict[str, Any]:
        """Returns everything as a JSON object."""
        return {
            "confirmed": True,
            "gained": self.speedup is not None,
            "engine": self.spec.engine,
            "precision": self.spec.precision,
            "label": self.spec.label,
            "settings": dict(self.settings),
            "before": dict(self.before),
            "after": dict(self.after),
            "speedup": self.speedup.to_json() if self.speedup else SPEEDUP_OF_ITSELF,
            "accuracy": dict(self.judgement.details),
            "certified": self.judgement.certified,
            "accuracy_words": self.judgement.words,
            "limits": [
                {**after.to_json(), "before": {"value": before.value, "met": before.met}}
                for before, after in zip(self.limits_before, self.limits_after, strict=True)
            ],
            "limits_met": all_met(self.limits_after),
        }


def _confirm_once_more(job: Job, form: Kept, bundle: Path, data: DataSet) -> Confirmation:
    """Returns the confirmation; a worker that ends, as it does for lack of memory, gets a second chance."""
    try:
        return _confirm(job, form, bundle, data)
    except WorkerError as error:
        if error.code != "worker.died" or job.budget.remaining < job.shortest_confirmation:
            raise
        job.narrator.warn(
            f"a worker ended while {form.spec.label} was confirmed, which is done again: {error.in_a_line}"
        )
        return _confirm(job, form, bundle, data)


def _confirm(job: Job, form: Kept, bundle: Path, data: DataSet) -> Confirmation:
    baseline, inputs = job.baseline, job.timed_inputs
    # The baseline is the last resort: whatever it takes.
    timeout: Timeout = DEFAULT_TIMEOUT if form is baseline else job.budget.patience
    with (
        open_contender(baseline.spec, job.original, inputs, timeout=timeout) as before,
        contend(
            form.spec, open_remote_bundle(bundle, inputs=inputs, batch=form.spec.batch, timeout=timeout), inputs
        ) as after,
    ):
        seconds = max(SHORTEST_RACE_SECONDS, min(CONFIRMATION_RACE_SECONDS, 0.3 * job.budget.remaining))
        contenders = {"before": before, "after": after}
        further = min(CONFIRMATION_RACE_SECONDS, 0.1 * job.budget.remaining)
        compared = race(
            contenders,
            seconds=seconds,
            further_seconds=0.0 if form is baseline else further,
            on_progress=lambda fraction: job.narrator.progress(f"confirm {form.spec.label}"),
        )
        judgement = job.judge.judge(before.remote, after.remote, data)
        other = _other_figure(job, contenders)
        kinds: Kinds = (
            {"latency": other, "throughput": compared}
            if job.objective == "throughput"
            else {"latency": compared, "throughput": other}
        )
        figures = {name: _figures(contender.remote, kinds, name) for name, contender in contenders.items()}
        settings = dict(after.remote.settings)
        before_checks = _limits(job, before, compared["before"], after)
        after_checks = _limits(job, after, compared["after"], before)
    speedup = None if form is baseline else compared["after"].speedup
    samples = [Samples(role, kind, found[role].samples) for kind, found in kinds.items() if found for role in _ROLES]
    return Confirmation(
        form.spec,
        settings,
        figures["before"],
        figures["after"],
        speedup,
        judgement,
        samples,
        before_checks,
        after_checks,
    )


def _limits(job: Job, contender: Contender, raced: Compared, other: Contender) -> tuple[LimitCheck, ...]:
    """Returns the checks of the limits, with as much time as the percentiles need, within reason and the budget."""
    seconds = min(LONGEST_LIMITS_SECONDS, max(0.2, 0.15 * job.budget.remaining))
    return checks_of(job, contender, raced, others=[other], seconds=seconds)


def _other_figure(job: Job, contenders: Mapping[str, Contender]) -> Mapping[str, Compared] | None:
    """Returns the race for what the search was not after, None where time is short."""
    seconds = min(OTHER_RACE_SECONDS, 0.1 * job.budget.remaining)
    if 200 * job.request_seconds > 0.2 * job.budget.remaining or seconds < SHORTEST_RACE_SECONDS:
        return None
    return race(contenders, seconds=seconds, kind="latency" if job.objective == "throughput" else "throughput")


def _figures(
    remote: RemoteModel, kinds: Mapping[Objective, Mapping[str, Compared] | None], name: str
) -> dict[str, Any]:
    latency, throughput = kinds["latency"], kinds["throughput"]
    return {
        "latency_ms": latency[name].estimate.scaled(1e3).to_json() if latency else None,
        "throughput_per_second": per_second(throughput[name].estimate).to_json() if throughput else None,
        "peak_memory_mb": round(remote.memory().peak_bytes / 1e6, 1),
    }


def _first_inferences(job: Job, bundle: Path) -> dict[str, object]:
    """Returns the first-inference latency of both, from five fresh processes each; nothing where time is short."""
    if job.budget.remaining < 6 * (job.opening_seconds() + job.opening_seconds(job.best.spec.engine)):
        return {"first_inference_ms": None}
    try:
        before = measure_first_inference(job.original, job.baseline.spec.engine, Settings(), inputs=job.timed_inputs[0])
        after = first_inference_of_bundle(bundle, inputs=job.timed_inputs[0])
    except StropError as error:
        job.narrator.warn(f"no first inference: {error.in_a_line}")
        return {"first_inference_ms": None}
    return {
        "first_inference_ms": {"before": before.total_ms, "after": after.total_ms},
        "first_inference_stages_ms": {"before": before.parts_ms, "after": after.parts_ms},
    }
