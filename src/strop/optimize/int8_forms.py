"""The INT8 forms of a model: quantized the way each engine runs it best, looked at before anything is timed."""

from __future__ import annotations

from collections.abc import Sequence

from strop.engines.registry import get_engine
from strop.errors import DataError, LimitError, StropError
from strop.model.model import Model
from strop.optimize.job import Job
from strop.optimize.plan import CALIBRATION_SAMPLES
from strop.quality.contract import DataSet
from strop.quality.task import calls_of
from strop.quantize.config import QuantizeConfig, config_for
from strop.quantize.quantize import quantize_model
from strop.quantize.sanity import SAMPLES, check_sanity


def int8_forms(job: Job, calibration: DataSet, choosing: DataSet) -> dict[str, Model]:
    """Returns the INT8 model by engine; where there is none worth timing, why is a decision."""
    forms: dict[str, Model] = {}
    calibration, checked = calls_of(calibration, limit=CALIBRATION_SAMPLES), calls_of(choosing, limit=SAMPLES)
    for engines in _by_config([name for name in job.engines if get_engine(name).available().available]):
        config = config_for(engines[0])
        names = ", ".join(engines)
        if job.budget.for_search < job.shortest_trial():
            job.narrator.decide(f"INT8 for {names} not tried: the budget's share for the search is used up")
            continue
        job.narrator.stage(f"quantize for {names} with {len(calibration)} samples")
        try:
            quantized = quantize_model(
                job.model,
                calibration,
                samples=len(calibration),
                config=config,
                on_progress=lambda fraction: _stop_in_time(job, fraction),
            )
            verdict = check_sanity(job.model, quantized.model, checked, samples=_sanity_samples(job))
        except StropError as error:
            job.narrator.decide(f"INT8 for {names} dropped: {error.in_a_line}")
            if isinstance(error, DataError):
                job.narrator.warn(f"the data are bad at {error.where}: {error.in_a_line}; {error.hint}")
            continue
        job.study.fact(f"quantization for {names}", {**quantized.report.to_json(), "sanity": verdict.to_json()})
        if verdict.ok:
            forms |= dict.fromkeys(engines, quantized.model)
        else:
            job.narrator.decide(f"INT8 for {names} dropped before it was timed: {verdict.reason}")
    return forms


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


def _by_config(engines: Sequence[str]) -> list[list[str]]:
    """Returns the engines in groups that share one quantized model."""
    groups: dict[QuantizeConfig, list[str]] = {}
    for name in engines:
        groups.setdefault(config_for(name), []).append(name)
    return list(groups.values())
