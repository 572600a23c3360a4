"""What a run will cost, worked out when the baseline is known, and the schedule that its parts then correct."""

from __future__ import annotations

import math

from strop.optimize.int8_forms import groups
from strop.optimize.job import Job
from strop.optimize.plan import (
    CONFIRMATION_RACE_SECONDS,
    FRESH_PROCESSES,
    OTHER_RACE_SECONDS,
    Forecast,
    Shares,
)
from strop.optimize.refining import expected_refinements, expected_tuning_seconds
from strop.optimize.trials import race_seconds, unfinished

EVALUATED_CANDIDATES = 3
"""INT8 candidates that win their race and are evaluated, about."""
EARLY_SHARE = 0.8
"""Of a race's time, on average: some end early."""
CALIBRATION_REQUESTS = 3
"""What calibrating with a sample takes, in samples evaluated."""
QUANTIZING_SECONDS = 2.5
"""What else an INT8 form takes: the graph is rewritten and looked at."""


def forecast(job: Job, shares: Shares) -> Forecast:
    """Returns what the run will cost, and fills the job's schedule with its parts."""
    int8 = len(unfinished(job, "int8")) if shares.calibration else 0
    trials = len(unfinished(job, "f32" if not job.model.is_quantized else "int8")) + int8
    race = max(EARLY_SHARE * race_seconds(job, trials), job.shortest_race())
    trial = race + job.opening_seconds() + (2 + len(job.checked)) * job.request_seconds
    forms = len(groups(job)) if shares.calibration else 0
    calibration = QUANTIZING_SECONDS + shares.calibration * job.sample_seconds * CALIBRATION_REQUESTS
    evaluation = shares.choosing * job.sample_seconds
    evaluated = min(int8, EVALUATED_CANDIDATES)
    refinements, tuning = expected_refinements(job), expected_tuning_seconds(job)
    confirmation = _confirmation_seconds(job, shares)
    schedule = job.schedule
    schedule.expect("baseline", 1, evaluation)
    schedule.expect("trials", trials, trial + evaluated * evaluation / max(1, trials))
    schedule.expect("quantization", forms, calibration)
    schedule.expect("refinements", refinements, trial)
    schedule.expect("tuning", 1 if tuning else 0, tuning)
    schedule.expect("confirmation", 1, confirmation)
    return Forecast(
        search_seconds=trials * trial,
        quantization_seconds=forms * calibration,
        evaluation_seconds=(1 + evaluated) * evaluation,
        refinement_seconds=refinements * trial + tuning,
        confirmation_seconds=confirmation,
        memory_bytes=3 * (job.baseline.contender.remote.memory().peak_bytes + job.original.stat().st_size),
    )


def _confirmation_seconds(job: Job, shares: Shares) -> float:
    """Returns what the confirmation will take ; first inferences are what it leaves out first."""
    reserved = math.inf if job.budget.seconds is None else job.budget.reserved
    race = max(min(CONFIRMATION_RACE_SECONDS, 0.3 * reserved), job.shortest_race())
    openings = 2 * job.opening_seconds()
    fresh = (FRESH_PROCESSES - 1) * openings
    whole = race + min(OTHER_RACE_SECONDS, 0.1 * reserved) + openings + 2 * shares.confirmation * job.sample_seconds
    return whole + (fresh if reserved - whole >= FRESH_PROCESSES * openings else 0.0)
