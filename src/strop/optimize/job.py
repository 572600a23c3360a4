"""What one search is about, and the forms of the model it has kept so far."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from strop import __version__
from strop.machine import machine
from strop.measure.clock import timestamp
from strop.measure.estimate import Estimate
from strop.model.model import Model
from strop.optimize.accuracy import Judge
from strop.optimize.budget import Budget
from strop.optimize.limits import Limit
from strop.optimize.narrator import Narrator
from strop.optimize.plan import CONFIRMING_REQUESTS, FEWEST_REQUESTS, LEAST_TURNS, SHORTEST_RACE_SECONDS
from strop.optimize.racing import Contender
from strop.optimize.schedule import Schedule
from strop.optimize.study import Study
from strop.optimize.trial import TrialSpec
from strop.quality.contract import DataSet
from strop.quality.task import TaskData, first_inputs
from strop.runtime.bundle import write_bundle

if TYPE_CHECKING:
    from strop.optimize.limit_checks import LimitCheck

Inputs = Mapping[str, np.ndarray]

Shapes = Mapping[str, tuple[int, ...]]

TIMED_SAMPLES = 6
"""Where shapes differ from sample to sample; otherwise one is as good as many."""

SHAPED_SAMPLES = 100
"""Whose shapes are counted where they differ: the bundle may hold code for the most frequent ones."""


def inputs_to_time(data: DataSet) -> tuple[list[Inputs], list[Inputs]]:
    """Returns the inputs of the first samples, and those of them that are timed: one, or all where shapes differ."""
    samples: list[Inputs] = list(first_inputs(data, TIMED_SAMPLES))
    shapes = {tuple(array.shape for array in inputs.values()) for inputs in samples}
    return samples, samples if len(shapes) > 1 else samples[:1]


def frequent_shapes(data: DataSet, timed: Sequence[Inputs]) -> list[Shapes]:
    """Returns the shapes that samples come in, the most frequent first."""
    if len(timed) > 1 and not isinstance(data, TaskData):  # a task's calls are known only by running it
        timed = first_inputs(data, SHAPED_SAMPLES)
    counted = Counter(tuple((name, array.shape) for name, array in inputs.items()) for inputs in timed)
    return [dict(shapes) for shapes, _ in counted.most_common()]


@dataclass(frozen=True, slots=True)
class Kept:
    """A form that was kept: its spec, the model it runs (float or quantized), its worker, its latency when raced.

    doubtful: its accuracy was too near the limit for the samples that chose, or a limit could not be told from the
    race; only the confirmation can tell. checks: of the limits on latency, memory and throughput.
    """

    spec: TrialSpec
    model: Model
    contender: Contender
    latency: Estimate
    doubtful: bool = False
    checks: Sequence[LimitCheck] = ()


@dataclass(slots=True)
class Job:
    """One search: what it was given, where it works, and what it has kept, the baseline first and the best last.

    timed_inputs: what is timed, one sample, or several where their shapes differ; checked: a few samples' inputs with
    the baseline's outputs; shapes: those of samples, by name, the most frequent first. request_seconds, sample_seconds:
    what a request to the baseline and the evaluation of a sample (reading and scoring included) take; openings: what
    the start of a worker has taken, by engine, at worst.
    limits: on latency, memory and throughput; finished: the trials of earlier runs of this study, by key, which are not
    measured again.
    """

    model: Model
    data: DataSet
    judge: Judge
    output: Path
    study: Study
    engines: Sequence[str]
    objective: Literal["latency", "throughput"]
    budget: Budget
    preprocess: str | None
    seed: int
    narrator: Narrator
    limits: Sequence[Limit] = ()
    finished: dict[str, tuple[TrialSpec, Mapping[str, Any]]] = field(default_factory=dict)
    folder: Path = Path()
    timed_inputs: list[Inputs] = field(default_factory=list)
    checked: list[tuple[Inputs, Inputs]] = field(default_factory=list)
    shapes: list[Shapes] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    request_seconds: float = 0.0
    sample_seconds: float = 0.0
    openings: dict[str, float] = field(default_factory=dict)

    @property
    def schedule(self) -> Schedule:
        """What is still to come."""
        return self.narrator.schedule

    @property
    def baseline(self) -> Kept:
        """What came in, as most users run it."""
        return self.kept[0]

    @property
    def best(self) -> Kept:
        """The fastest form so far that is accurate enough."""
        return self.kept[-1]

    @property
    def original(self) -> Path:
        """The model as the search works with it, saved for the workers."""
        return self.saved(self.model)

    def shortest_race(self, challenger_seconds: float | None = None) -> float:
        """Returns the seconds of the shortest race that earns a verdict, from what one request to each side takes."""
        both = self.request_seconds + (self.request_seconds if challenger_seconds is None else challenger_seconds)
        return LEAST_TURNS * FEWEST_REQUESTS[self.objective] * len(self.timed_inputs) * both

    def opening_seconds(self, engine: str | None = None) -> float:
        """Returns what the start of a worker takes: as seen of this engine, else as of the baseline's.

        Engines differ: one that compiles for seconds must not make another's trial look too long for the budget.
        """
        usual = self.openings.get(self.baseline.spec.engine, 0.0) if self.kept else max(self.openings.values())
        return self.openings.get(engine or "", usual)

    def shortest_trial(self, engine: str | None = None) -> float:
        """Returns the seconds of the least trial: a worker, its first requests, a race."""
        requests = (2 + len(self.checked)) * self.request_seconds
        return self.opening_seconds(engine) + requests + max(SHORTEST_RACE_SECONDS, self.shortest_race())

    @property
    def shortest_confirmation(self) -> float:
        """Seconds that the least confirmation takes: it starts the baseline again, and the best from its bundle."""
        requests = CONFIRMING_REQUESTS * self.request_seconds
        best = self.opening_seconds(self.best.spec.engine if self.kept else None)
        return self.opening_seconds() + best + requests + max(SHORTEST_RACE_SECONDS, self.shortest_race())

    def opened_in(self, engine: str, seconds: float) -> None:
        """Remembers how long the start of a worker took."""
        self.openings[engine] = max(self.openings.get(engine, 0.0), seconds)
        self.budget.reserve(self.shortest_confirmation)

    def saved(self, model: Model) -> Path:
        """Returns the file of a model, for the workers; written once."""
        folder = self.folder / model.sha256[:16]
        folder.mkdir(exist_ok=True)
        # The name is what an engine's message will call the model.
        path = folder / (re.sub(r"[^\w.-]+", "_", model.name)[:100] + ".onnx")
        return path if path.exists() else model.save(path)

    def write(self, form: Kept, path: Path, report: Mapping[str, object]) -> None:
        """Writes a form as a bundle, whole or not at all."""
        inputs, batch = self.timed_inputs[0], form.spec.batch
        shapes = [
            {name: (batch * shape[0], *shape[1:]) if batch > 1 else shape for name, shape in each.items()}
            for each in self.shapes
        ]
        write_bundle(
            path,
            model=form.model,
            engine=form.spec.engine,
            settings=form.spec.engine_settings(),
            test_vectors=[(inputs, form.contender.outputs_of_first)],
            report={"trial": form.spec.to_json(), **report},
            preprocess=self.preprocess,
            metadata={"strop": __version__, "machine": machine().fingerprint, "original": self.model.sha256},
            created=timestamp(),
            shapes=shapes,
        )
