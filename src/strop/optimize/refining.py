"""Refines the best form, one knob at a time: larger batches, what its engine offers, and at last tuned kernels."""

from __future__ import annotations

from collections.abc import Mapping

from strop.engines.contract import Knob
from strop.engines.registry import get_engine
from strop.machine import machine
from strop.optimize.job import Job
from strop.optimize.plan import RACE_SECONDS
from strop.optimize.space import TUNE, Change, changed, refinements
from strop.optimize.trial import TrialSpec
from strop.optimize.trials import attempt, can_batch, finish
from strop.quality.contract import DataSet

TUNING_SECONDS = (30, 10)
"""How long tuning may measure kernels: the first that the budget has room for."""
TUNING_SHARE = 1.5
"""What a trial with tuning takes, times that: kernels are compiled, too."""


def expected_refinements(job: Job) -> int:
    """Returns how many refinements there will be, as far as that can be told before the best is known.

    One value of each knob is in force already, whichever that is.
    """
    counts = [len({name for name, _ in _changes(job, job.baseline.spec, _knobs(engine), {})}) for engine in job.engines]
    return max(counts, default=0)


def expected_tuning_seconds(job: Job) -> float:
    """Returns what tuning will take, 0 where no engine that is searched can be tuned."""
    tunable = any(_can_tune(job, engine) for engine in job.engines)
    return TUNING_SECONDS[0] * TUNING_SHARE + RACE_SECONDS if tunable else 0.0


def refine(job: Job, choosing: DataSet) -> None:
    """Tries one change of the best form after another; each that wins is the best from then on."""
    tried: set[tuple[str, Change]] = set()
    while True:
        spec, in_force = job.best.spec, job.best.contender.remote.settings
        open_ = [
            change
            for change in _changes(job, spec, _knobs(spec.engine), in_force)
            if (spec.engine, change) not in tried and changed(spec, in_force, change).key not in job.finished
        ]
        if not open_ or job.budget.for_search < job.shortest_trial(spec.engine) + _evaluation(job, spec, choosing):
            break
        tried.add((spec.engine, open_[0]))
        job.schedule.expect("refinements", len(open_), job.shortest_trial(spec.engine) + RACE_SECONDS / 2)
        with job.schedule.working("refinements"):
            _try(job, changed(spec, in_force, open_[0]), choosing, job.budget.for_search / len(open_))
    job.schedule.skip("refinements", None)
    _tune(job, choosing)
    job.schedule.skip("tuning", None)


def _tune(job: Job, choosing: DataSet) -> None:
    """Lets the best form's engine choose its kernels by measuring them, where it can and there is time for it."""
    form = job.best
    if not _can_tune(job, form.spec.engine):
        if TUNE in {knob.name for knob in _knobs(form.spec.engine)}:
            words = f"{form.spec.label} is not tuned: sizes of its inputs are free, and --shape fixes them"
            job.narrator.decide(words, key=form.spec.key)
        return
    needed = job.shortest_trial(form.spec.engine) + _evaluation(job, form.spec, choosing)
    left = job.budget.for_search - needed
    seconds = next((each for each in TUNING_SECONDS if each * TUNING_SHARE <= left), None)
    if seconds is None:
        job.narrator.decide(f"{form.spec.label} is not tuned: the budget has no room for it", key=form.spec.key)
        return
    in_force = form.contender.remote.settings
    spec = changed(changed(form.spec, in_force, (TUNE, True)), in_force, ("tune_seconds", seconds))
    if spec.key not in job.finished:
        job.schedule.expect("tuning", 1, seconds * TUNING_SHARE)
        with job.schedule.working("tuning"):
            _try(job, spec, choosing, RACE_SECONDS)


def _try(job: Job, spec: TrialSpec, choosing: DataSet, share: float) -> None:
    job.narrator.progress(f"refine: {spec.label}")
    finish(job, attempt(job, spec, job.best.model, choosing, share))


def _changes(job: Job, spec: TrialSpec, knobs: tuple[Knob, ...], in_force: Mapping[str, object]) -> list[Change]:
    batches = job.objective == "throughput" and can_batch(job)
    memory = any(limit.kind == "memory" for limit in job.limits)
    return refinements(spec, in_force, knobs, batches=batches, save_memory=memory)


def _knobs(engine: str) -> tuple[Knob, ...]:
    return get_engine(engine).knobs(machine())


def _can_tune(job: Job, engine: str) -> bool:
    """Whether the engine has the knob, and the model's sizes are all known: for others nothing is tuned."""
    return all(spec.is_static for spec in job.model.inputs) and TUNE in {knob.name for knob in _knobs(engine)}


def _evaluation(job: Job, spec: TrialSpec, choosing: DataSet) -> float:
    return len(choosing) * job.sample_seconds if spec.precision == "int8" and not job.model.is_quantized else 0.0
