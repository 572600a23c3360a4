"""What a study holds, as the page and the explanations see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from strop.report.reading import Figure, count, items, mapping, number, positive_figure, rows, verbatim, words

State = Literal["confirmed", "interrupted", "unfinished"]
Objective = Literal["latency", "throughput"]
Side = Literal["before", "after"]
SIDES: tuple[Side, Side] = ("before", "after")


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision in words, the trial it is about and the command that replays it, where the study says them."""

    words: str
    trial: str = ""
    command: str = ""
    made: str = ""


@dataclass(frozen=True, slots=True)
class Samples:
    """Raw samples of one side of a race; trial: the key of the trial raced; kind: "latency" or "throughput".

    seconds: of a request, or of wall time per inference with many in flight; taken: how many, before thinning.
    """

    trial: str
    role: str
    kind: str
    seconds: tuple[float, ...]
    taken: int


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial as it was recorded; ratio is against the form named `against`."""

    key: str
    label: str
    status: str
    reason: str
    engine: str
    precision: str
    settings: Mapping[str, Any]
    batch: int
    latency_ms: Figure | None
    ratio: Figure | None
    against: str
    seconds: float | None
    is_judged: bool


@dataclass(frozen=True, slots=True)
class Record:
    """Everything a study holds: facts by name, trials and decisions in order, raw samples.

    Example:
        >>> Record({"model": {"name": "mlp"}, "interrupted": True}).state
        'interrupted'
    """

    facts: Mapping[str, Any]
    trials: Sequence[Trial] = ()
    decisions: Sequence[Decision] = ()
    samples: Sequence[Samples] = field(default=(), repr=False)

    @property
    def confirmation(self) -> Mapping[str, Any]:
        """What the confirmation found, empty where the search did not get there."""
        return mapping(self.facts.get("confirmation"))

    @property
    def state(self) -> State:
        """Whether the result was confirmed, the run was interrupted, or simply did not reach its end."""
        if self.confirmation.get("confirmed") is True:
            return "confirmed"
        return "interrupted" if self.facts.get("interrupted") else "unfinished"

    @property
    def gained(self) -> bool:
        """Whether a form was confirmed that is faster than what came in."""
        return self.state == "confirmed" and self.confirmation.get("gained") is True and self.speedup is not None

    @property
    def name(self) -> str:
        """The model's name."""
        return words(mapping(self.facts.get("model")).get("name")) or "the model"

    @property
    def baseline(self) -> str:
        """How the model ran before."""
        return words(self.facts.get("baseline")) or "the baseline"

    @property
    def label(self) -> str:
        """How it runs now, as confirmed."""
        return words(self.confirmation.get("label")) or "another form"

    @property
    def objective(self) -> Objective:
        """What the search was after."""
        return "throughput" if self.facts.get("objective") == "throughput" else "latency"

    @property
    def speedup(self) -> Figure | None:
        """The confirmed ratio."""
        return positive_figure(self.confirmation.get("speedup"))

    @property
    def warnings(self) -> Sequence[str]:
        """What the run warned of."""
        return [text for value in items(self.facts.get("warnings")) if (text := words(value))]

    @property
    def tried(self) -> Sequence[Trial]:
        """The trials without the baseline."""
        return self.trials[1:]

    @property
    def best(self) -> Trial | None:
        """The last trial that was kept; the baseline where no other was."""
        return next((trial for trial in reversed(self.trials) if trial.status == "kept"), None)

    @property
    def batch(self) -> int:
        """How many samples a request of the confirmed form holds."""
        return next((trial.batch for trial in reversed(self.trials) if trial.label == self.label), 1)

    def side(self, which: Side) -> Mapping[str, Any]:
        """Returns the confirmed figures of the baseline or the bundle."""
        return mapping(self.confirmation.get(which))

    def latency_ms(self, which: Side) -> Figure | None:
        """Returns the confirmed milliseconds of a request."""
        return positive_figure(self.side(which).get("latency_ms"))

    def throughput(self, which: Side) -> Figure | None:
        """Returns the confirmed inferences per second."""
        return positive_figure(self.side(which).get("throughput_per_second"))

    def confirmed_samples(self, which: Side, kind: Objective) -> Sequence[float]:
        """Returns the raw seconds of one side of the last confirmation's race; nothing where the study has none."""
        found = (one.seconds for one in reversed(self.samples) if one.role == which and one.kind == kind)
        return next(found, ())


def trial_of(row: Mapping[str, Any]) -> Trial:
    """Returns a trial from the JSON object that the study keeps."""
    spec = mapping(row.get("trial"))
    return Trial(
        key=words(spec.get("key")),
        label=words(row.get("label")) or "a trial without a name",
        status=words(row.get("status")) or "not told",
        reason=words(row.get("reason")),
        engine=words(spec.get("engine")),
        precision=words(spec.get("precision")),
        settings=mapping(spec.get("settings")),
        batch=count(spec.get("batch")) or 1,
        latency_ms=positive_figure(row.get("latency_ms")),
        ratio=positive_figure(row.get("speedup")),
        against=words(row.get("against")),
        seconds=number(row.get("seconds")),
        is_judged=bool(mapping(row.get("accuracy"))),
    )


def samples_of(row: Mapping[str, Any]) -> Samples:
    """Returns raw samples from a row of the study; what is no time above 0 is left out."""
    seconds = (number(value) for value in items(row.get("seconds")))
    kept = tuple(value for value in seconds if value is not None and value > 0)
    taken = count(row.get("taken")) or len(kept)
    return Samples(words(row.get("key")), words(row.get("role")), words(row.get("kind")) or "latency", kept, taken)


def decision_of(row: object) -> Decision:
    """Returns a decision, from its words alone or with trial and command."""
    if isinstance(row, str):
        return Decision(words(row))
    held = mapping(row)
    return Decision(
        words(held.get("words")), words(held.get("key")), verbatim(held.get("command")), words(held.get("made"))
    )


def record_of(document: Mapping[str, Any]) -> Record:
    """Returns the record of `{"facts", "trials", "decisions", "samples"}`, the contents of a study as JSON."""
    return Record(
        mapping(document.get("facts")),
        tuple(map(trial_of, rows(document.get("trials")))),
        tuple(map(decision_of, items(document.get("decisions")))),
        tuple(map(samples_of, rows(document.get("samples")))),
    )
