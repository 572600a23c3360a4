"""What a second thread and those after it bring, from trials that differ in their threads only."""

from __future__ import annotations

from strop.report.phrases import confidence, ratio_interval, times_as
from strop.report.reading import Figure, count, mapping
from strop.report.record import Record, Trial
from strop.report.why.contract import Explanation

POOR = 0.65
"""Of as many times as fast as there are threads."""


def explain(record: Record) -> Explanation | None:
    """Speaks up where all threads together bring less than two thirds of what they could, in a direct race."""
    if record.objective != "latency":
        return None
    found = [pair for trial in record.trials if (pair := _raced_by_itself(record, trial)) is not None]
    best = record.best
    own = [pair for pair in found if best and (pair[0].engine, pair[0].precision) == (best.engine, best.precision)]
    if not own:
        return None
    trial, few, many, gain = own[-1]
    if gain.point > POOR * many / few:
        return None
    words = (
        f"{many} threads are only {times_as(gain.point)} as fast as {few}."
        if gain.low > 1
        else f"{many} threads are no faster than {few}."
    )
    return Explanation(
        "thread scaling",
        words,
        (
            f"{trial.engine} {trial.precision}, {many} threads against {few}, raced in turns: "
            f"{ratio_interval(gain)} times as fast ({confidence(gain)})",
            f"{many / few:g} would be the most",
        ),
        "several requests at once: one stream a core gives more inferences per second (`--objective throughput`)",
    )


def _raced_by_itself(record: Record, trial: Trial) -> tuple[Trial, int, int, Figure] | None:
    """Returns the trial, fewer and more threads, and how much faster more are, where both were raced directly."""
    other = next((one for one in record.trials if one.label == trial.against), None)
    if other is None or trial.ratio is None:
        return None
    if (other.engine, other.precision, other.batch) != (trial.engine, trial.precision, trial.batch):
        return None
    mine, theirs = _threads(record, trial), _threads(record, other)
    if mine is None or theirs is None or mine == theirs:
        return None
    gain = trial.ratio if mine > theirs else trial.ratio.inverse()
    return trial, min(mine, theirs), max(mine, theirs), gain


def _threads(record: Record, trial: Trial) -> int | None:
    """Returns a trial's threads; the baseline has its engine's default, all usable cores."""
    if "streams" in trial.settings:
        return None
    if not trial.settings:
        return count(mapping(record.facts.get("machine")).get("cores"))
    return count(trial.settings.get("threads"))
