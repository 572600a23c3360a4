"""The verdict: one sentence first, then what stands behind it."""

from __future__ import annotations

from dataclasses import dataclass

from strop.quality.agreement import CLOSE
from strop.report.metric_words import metric_words
from strop.report.phrases import confidence, counted, percent, ratio, ratio_interval, sentence, times_as
from strop.report.reading import count, figure, mapping, number, words
from strop.report.record import Record
from strop.report.sections.limits import keeps_limits_better, limits_sentence

_DAMAGED = "It says that a result was confirmed, but not which: copy the file again, or run the search again."
VAGUE = 1.5
"""Where an interval's high end is more than this many times its low end, the point alone would claim too much."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The sentence in three parts, of which the middle is what counts; notes: the sentences below it.

    tone: "gained", "same" or "open" (nothing is confirmed).
    """

    lead: str
    strong: str
    rest: str
    notes: tuple[str, ...]
    tone: str

    @property
    def sentence(self) -> str:
        """The verdict as one string."""
        return f"{self.lead}{self.strong}{self.rest}"


def verdict(record: Record) -> Verdict:
    """Returns the verdict of a record, whatever state it is in.

    Example:
        >>> verdict(Record({"model": {"name": "mlp"}})).sentence
        'Unfinished: mlp has no confirmed result.'
    """
    if record.state != "confirmed":
        return _open(record)
    if record.confirmation.get("gained") is False:
        return _nothing_gained(record)
    speedup = record.speedup
    if not record.gained or speedup is None:
        return Verdict("Unreadable: ", f"the study of {record.name} is damaged.", "", (_DAMAGED,), "open")
    what = "does " if record.objective == "throughput" else "runs "
    rest = " as many inferences per second as before." if record.objective == "throughput" else " as fast as before."
    is_vague = speedup.high > VAGUE * speedup.low
    strong = f"at least {times_as(speedup.low)}" if is_vague else times_as(speedup.point)
    measured = (
        f"{ratio_interval(speedup)} times ({confidence(speedup)}), measured on the saved bundle in fresh processes "
        "that took turns."
    )
    if is_vague:
        measured = (
            f"The machine was noisy: {times_as(speedup.point)} is the middle of {ratio_interval(speedup)} "
            f"({confidence(speedup)}), measured on the saved bundle in fresh processes that took turns."
        )
    now = f"Before: {record.baseline}. Now: {record.label}."
    kept = limits_sentence(record)
    if speedup.low <= 1:
        # Handed over for a limit that it keeps, or comes nearer to, at whatever speed.
        strong = "keeps a limit that was not kept" if keeps_limits_better(record) else "comes nearer to its limits"
        speed = f"{times_as(speedup.point)} as fast as before, {measured}"
        return Verdict(f"{record.name} ", strong, ".", (kept, speed, accuracy_sentence(record), now), "gained")
    return Verdict(f"{record.name} {what}", strong, rest, (measured, accuracy_sentence(record), kept, now), "gained")


def accuracy_sentence(record: Record) -> str:
    """Returns what the confirmation says of the accuracy, nothing where it says nothing."""
    accuracy = mapping(record.confirmation.get("accuracy"))
    n = count(accuracy.get("n"))
    samples = counted(n, "sample") if n else "samples"
    agreeing = figure(accuracy.get("agreeing"))
    if agreeing is not None:
        same = "It answers as the original does"
        if accuracy.get("criterion") == "relative_l2":
            same = f"Its outputs lie within {percent(CLOSE)} of the original's (relative L2)"
        return f"{same} on {percent(agreeing.point, 2)} of {samples} kept apart."
    before, after = (figure(accuracy.get(side)) for side in ("before", "after"))
    if before is None or after is None:
        return sentence(words(record.confirmation.get("accuracy_words")))
    metric = metric_words(accuracy)
    drop, bound = number(accuracy.get("drop")), number(accuracy.get("bound"))
    if before.point == after.point:
        text = f"{metric.name} is {metric.value(after.point)} before and after, on {samples} kept apart"
    else:
        change = f"{metric.value(before.point)} to {metric.value(after.point)}"
        text = f"{metric.name} went from {change} on {samples} kept apart"
    if not record.gained or drop is None or bound is None:
        return f"{text}."
    limit = number(accuracy.get("limit"))
    if record.confirmation.get("certified") is True:
        return f"{text}; with 95 % confidence it loses at most {metric.at_most(bound)}: certified."
    if limit is not None:
        return f"{text}: within the limit of {metric.size(limit)}, not certified by so few samples."
    return f"{text}."


def _nothing_gained(record: Record) -> Verdict:
    raced = [trial for trial in record.tried if trial.ratio is not None]
    faster = [trial for trial in raced if trial.ratio and trial.ratio.low > 1]
    tried = counted(len(record.tried), "other form was", "other forms were")
    if not record.tried:
        why = "No other form could be tried."
    elif not faster:
        why = f"{tried} tried, and none was measured faster."
    else:
        why = f"{tried} tried, and none was both measured faster and accurate enough."
    return Verdict(
        "Nothing gained: ",
        f"{record.name} stays as it is.",
        "",
        (
            why,
            limits_sentence(record),
            f"The bundle runs {record.label}, what you had: as fast and as accurate as before.",
        ),
        "same",
    )


def _open(record: Record) -> Verdict:
    best = record.best
    notes = []
    if record.state == "interrupted":
        lead, strong = "Interrupted: ", "best so far, not confirmed."
        if record.decisions:
            notes.append(sentence(record.decisions[-1].words))
    else:
        lead, strong = "Unfinished: ", f"{record.name} has no confirmed result."
        notes.append("The search did not reach its confirmation: it still runs, was killed, or failed.")
    if best is not None and record.trials and best is not record.trials[0] and best.ratio is not None:
        notes.append(
            f"Best so far: {best.label}, {ratio(best.ratio.point)} against {best.against} "
            f"({ratio_interval(best.ratio)}), as raced while searching."
        )
    elif record.trials:
        notes.append("No form was found faster so far.")
    return Verdict(lead, strong, "", tuple(notes), "open")
