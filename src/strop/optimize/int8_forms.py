"""The INT8 forms of a model: quantized the way each engine runs it best, looked at before anything is timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from strop.engines.registry import get_engine
from strop.errors import DataError, LimitError, StropError
from strop.model.load import load_model
from strop.model.model import Model
from strop.optimize.job import Job
from strop.optimize.plan import CALIBRATION_SAMPLES
from strop.quality.contract import DataSet
from strop.quality.task import calls_of
from strop.quantize.config import QuantizeConfig, config_for
from strop.quantize.quantize import quantize_model
from strop.quantize.sanity import SAMPLES, check_sanity

FACT = "int8_forms"
"""In the study: by engine the hash of its INT8 model, null where it was not worth timing."""
MOST_KEPT_BYTES = 256 * 2**20


def int8_forms(job: Job, calibration: DataSet, choosing: DataSet) -> dict[str, Model]:
    """Returns the INT8 model by engine; where there is none worth timing, why is a decision.

    What an earlier run of this study has made, or found not worth it, is not made again.
    """
    made = _made_before(job)
    forms = {engine: model for engine, model in made.items() if model is not None}
    missing = [engines for engines in groups(job) if not set(engines) <= set(made)]
    if missing:
        calibration, choosing = calls_of(calibration, limit=CALIBRATION_SAMPLES), calls_of(choosing, limit=SAMPLES)
    for engines in missing:
        if job.budget.for_search < job.shortest_trial():
            job.schedule.skip("quantization")
            names = ", ".join(engines)
            job.narrator.decide(f"INT8 for {names} not tried: the budget's share for the search is used up")
            continue
        with job.schedule.working("quantization"):
            found, final = _make(job, engines, calibration, choosing)
        if found is not None:
            forms |= dict.fromkeys(engines, found)
        if final:
            made |= dict.fromkeys(engines, found)
            job.study.fact(FACT, {engine: None if form is None else form.sha256 for engine, form in made.items()})
    job.schedule.skip("quantization", None)
    return forms


def _make(job: Job, engines: Sequence[str], calibration: DataSet, choosing: DataSet) -> tuple[Model | None, bool]:
    """Returns the INT8 model for engines that want the same, None where it is not worth timing.

    Also returns whether that is final: with more time it may turn out otherwise.
    """
    names = ", ".join(engines)
    job.narrator.stage(f"quantize for {names} with {len(calibration)} samples")
    try:
        quantized = quantize_model(
            job.model,
            calibration,
            samples=len(calibration),
            config=config_for(engines[0]),
            on_progress=lambda fraction: _stop_in_time(job, fraction),
        )
        verdict = check_sanity(job.model, quantized.model, choosing, samples=_sanity_samples(job))
    except StropError as error:
        job.narrator.decide(f"INT8 for {names} dropped: {error.in_a_line}")
        if isinstance(error, DataError):
            job.narrator.warn(f"the data are bad at {error.where}: {error.in_a_line}; {error.hint}")
        return None, error.code != "limit.budget"
    job.study.fact(f"quantization for {names}", {**quantized.report.to_json(), "sanity": verdict.to_json()})
    if not verdict.ok:
        job.narrator.decide(f"INT8 for {names} dropped before it was timed: {verdict.reason}")
        return None, True
    _keep(job, quantized.model)
    return quantized.model, True


def _keep(job: Job, model: Model) -> None:
    """Puts the model into the study; without it there, a run that goes on, or a replay, makes it again or refuses."""
    try:
        content = model.to_bytes()
        if len(content) <= MOST_KEPT_BYTES:
            job.study.add_model(model.sha256, model.name, content)
    except StropError as error:
        job.narrator.warn(f"the INT8 model is not kept in the study: {error.in_a_line}")


def models_made_before(job: Job) -> dict[str, Model]:
    """Returns the INT8 model by engine that an earlier run of this study made."""
    return {engine: model for engine, model in _made_before(job).items() if model is not None}


def _made_before(job: Job) -> dict[str, Model | None]:
    """Returns what an earlier run made for each engine, None where that was not worth timing."""
    found: dict[str, Model | None] = {}
    recorded = job.study.facts().get(FACT)
    for engine, sha256 in (recorded if isinstance(recorded, dict) else {}).items():
        content = None if sha256 is None else job.study.model(sha256)
        if sha256 is None:
            found[engine] = None
        elif content is not None:
            found[engine] = replace(load_model(content), name=job.model.name)
    return found


def _stop_in_time(job: Job, fraction: float) -> None:
    """Raises LimitError (`limit.budget`) where no time would be left to race what calibration gives."""
    if job.budget.for_search < job.shortest_trial():
        raise LimitError(
            "limit.budget",
            "the budget's share for the search is used up",
            got=f"{fraction:.0%} of the calibration done",
            hint="give a larger --budget",
        )


def _sanity_samples(job: Job) -> int:
    """Returns how many samples a tenth of what the search has left is enough for."""
    if job.budget.seconds is None:
        return SAMPLES
    return max(4, min(SAMPLES, int(0.1 * job.budget.for_search / (2 * job.sample_seconds + 1e-9))))


def groups(job: Job) -> list[list[str]]:
    """Returns the engines of a search in groups that share one quantized model."""
    found: dict[QuantizeConfig, list[str]] = {}
    for name in job.engines:
        if get_engine(name).available().available:
            found.setdefault(config_for(name), []).append(name)
    return list(found.values())
