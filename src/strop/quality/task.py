"""Work that is not one call a sample: a user's task says what its samples are, how a model serves one, and the score.

Sentence pairs (two calls and a cosine), audio whose state goes from call to call, text that is decoded step by step:
each is an object with four things, named `file.py:Task` on the command line or handed over in Python. The search times
and calibrates on the inputs that `predict` really fed to the model.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Protocol, cast

import numpy as np

from strop.errors import DataError, InputError
from strop.model.specs import TensorSpec
from strop.quality.contract import DataSet, MetricFactory, Outputs, Predicted, Prediction, Run, Sample
from strop.quality.data import open_data
from strop.quality.fingerprint import fingerprint_of
from strop.quality.metrics.function import FunctionMetric
from strop.quality.metrics.registry import get_metric
from strop.quality.plugin import load_plugin, running
from strop.quality.sources.contract import Raw, Source
from strop.quality.sources.samples import called, function_source

Inputs = Mapping[str, np.ndarray]


class Task(Protocol):
    """What a task is. `predict` calls `run` as often as it likes, with inputs by name, and gets outputs by name.

    Instead of `score` and `higher_is_better` a task may have `metric`: a metric's name, or a function. Optional:
    `name`, and `is_fraction` (whether `1%` of the score means 0.01).
    """

    higher_is_better: bool

    def samples(self) -> Iterable[tuple[object, object]]:
        """Returns pairs (sample, target), the same ones each time it is called."""

    def predict(self, run: Run, sample: object) -> Prediction:
        """Returns the prediction for one sample; None where there is none, which counts as wrong."""

    def score(self, predictions: list[object], targets: list[object]) -> float:
        """Returns how good the predictions are."""


class TaskData:
    """A task's samples as a data set. Iterating gives, for each sample, the call in the middle of those it makes.

    run: the original model; the inputs of calls may depend on outputs of earlier ones, so it takes a model to tell.
    """

    has_targets = True

    def __init__(
        self,
        task: Task,
        source: Source,
        *,
        run: Run,
        inputs: tuple[TensorSpec, ...],
        indices: Sequence[int] | None = None,
        source_fingerprint: Callable[[], str] | None = None,
    ):
        self._task, self._source, self._run, self._inputs = task, source, run, inputs
        self._source_fingerprint = source_fingerprint or cache(source.fingerprint)  # shared with subsets
        self._indices = range(len(source)) if indices is None else tuple(indices)

    @property
    def name(self) -> str:
        """What the user called it."""
        return self._source.name

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should be told about it."""
        return self._source.notes

    @property
    def fingerprint(self) -> str:
        """A hash of samples and targets, the task's own code where it can be read, and the choice of samples."""
        which = None if isinstance(self._indices, range) else self._indices
        return fingerprint_of(self._source_fingerprint(), _code(self._task), which)

    @property
    def metric(self) -> MetricFactory:
        """Makes what scores the predictions."""
        named = getattr(self._task, "metric", None)
        if named is not None:
            return get_metric(named)
        task, name = self._task, getattr(self._task, "name", type(self._task).__name__)
        return lambda: FunctionMetric(
            task.score,
            str(name),
            higher_is_better=bool(task.higher_is_better),
            is_fraction=bool(getattr(task, "is_fraction", False)),
        )

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[Sample]:
        for raw in self._raws():
            calls = self._recorded(raw)
            yield Sample(raw.key, calls[len(calls) // 2], raw.target)

    def keys(self) -> list[str]:
        """Returns the samples' names, in order."""
        known = getattr(self._source, "keys", None)
        return [str(index) if known is None else known[index] for index in self._indices]

    def subset(self, indices: Sequence[int]) -> TaskData:
        """Returns the task with just these samples (positions in this one), in this order."""
        return TaskData(
            self._task,
            self._source,
            run=self._run,
            inputs=self._inputs,
            indices=[self._indices[index] for index in indices],
            source_fingerprint=self._source_fingerprint,
        )

    def predictions(self, run: Run) -> Iterator[Predicted]:
        """Yields what the task predicts with `run`, sample by sample."""
        for raw in self._raws():
            with running(self._where(raw)):
                prediction = self._task.predict(self._guarded(run), raw.inputs)
            yield Predicted(raw.key, prediction, raw.target)

    def calls(self, *, limit: int, seed: int = 0) -> DataSet:
        """Returns at most `limit` of the calls that all samples make, drawn at random (seeded), in their order.

        A reservoir: each call is kept with the same chance, and no more than `limit` are ever in memory.
        """
        kept: list[tuple[int, dict[str, np.ndarray]]] = []
        generator, count = random.Random(seed), 0
        for raw in self._raws():
            for inputs in self._recorded(raw):
                place = count if count < limit else generator.randrange(count + 1)
                if place < limit:
                    kept[place : place + 1] = [(count, inputs)]
                count += 1
        ordered = [Sample(f"call {number}", inputs) for number, inputs in sorted(kept, key=lambda pair: pair[0])]
        return _Recorded(ordered, self.name, self._inputs)

    def first_calls(self, count: int) -> list[Inputs]:
        """Returns `count` of the calls that the first `count` samples make, evenly spread over them."""
        calls: list[Inputs] = [
            inputs for raw in self.subset(range(min(count, len(self))))._raws() for inputs in self._recorded(raw)
        ]
        return [calls[index * len(calls) // count] for index in range(count)] if len(calls) > count else calls

    def _raws(self) -> Iterator[Raw]:
        return self._source.read(self._indices)

    def _where(self, raw: Raw) -> str:
        return f"{self.name}: predict of sample {raw.key}"

    def _recorded(self, raw: Raw) -> list[dict[str, np.ndarray]]:
        calls: list[dict[str, np.ndarray]] = []
        with running(self._where(raw)):
            self._task.predict(self._guarded(self._run, calls), raw.inputs)
        if not calls:
            raise DataError(
                "data.plugin",
                "the task's predict made no call of the model",
                where=self._where(raw),
                hint="call run({input name: array}) in predict, and make the prediction of what it returns",
            )
        return calls

    def _guarded(self, run: Run, record: list[dict[str, np.ndarray]] | None = None) -> Run:
        """Returns `run` for a task: outputs are its own to keep, and what is called is recorded in `record`."""

        def guarded(inputs: Inputs) -> Outputs:
            named = self._named(inputs)
            if record is not None:
                record.append({name: np.array(value) for name, value in named.items()})  # a task may reuse its arrays
            try:
                outputs = run(named)
            except InputError as error:
                error.where = error.where or f"{self.name}: a call in predict"
                raise
            # A state that goes back in must not lie where the engine writes the next one.
            return {name: np.array(value) for name, value in outputs.items()}

        return guarded

    def _named(self, inputs: Inputs | np.ndarray) -> Inputs:
        if isinstance(inputs, Mapping):
            return inputs
        if isinstance(inputs, np.ndarray) and len(self._inputs) == 1:
            return {self._inputs[0].name: inputs}
        raise DataError(
            "data.plugin",
            "predict called the model without names",
            where=self.name,
            got=type(inputs).__name__,
            expected=f"a dict with {', '.join(spec.name for spec in self._inputs)}",
            hint="call run({input name: array})",
        )


class _Recorded:
    """Recorded calls as a data set, each checked like any other sample when it is read."""

    has_targets = False

    def __init__(self, samples: Sequence[Sample], name: str, inputs: tuple[TensorSpec, ...]):
        self.name, self._samples, self._inputs = name, samples, inputs

    @property
    def fingerprint(self) -> str:
        return fingerprint_of([sample.inputs for sample in self._samples])

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(open_data(self._samples, inputs=self._inputs))

    def subset(self, indices: Sequence[int]) -> _Recorded:
        return _Recorded([self._samples[index] for index in indices], self.name, self._inputs)


def open_task(task: object, *, run: Run, inputs: tuple[TensorSpec, ...]) -> TaskData:
    """Returns the data set of a task: an object, a class, or `file.py:Task`; run: the original model, with `inputs`.

    Raises DataError (`data.plugin`) for what is no task, and for code of it that fails.

    Example:
        >>> class Sums:
        ...     higher_is_better = False
        ...     def samples(self): return [(np.ones(2, np.float32), 4.0), (np.zeros(2, np.float32), 0.0)]
        ...     def predict(self, run, sample): return float(run({"x": run({"x": sample})["y"]})["y"].sum())
        ...     def score(self, predictions, targets): return max(abs(p - t) for p, t in zip(predictions, targets))
        >>> data = open_task(Sums(), run=lambda i: {"y": i["x"] + 1}, inputs=(TensorSpec("x", "float32", (2,)),))
        >>> len(data), [predicted.prediction for predicted in data.predictions(lambda i: {"y": 2 * i["x"]})]
        (2, [8.0, 0.0])
    """
    name = task if isinstance(task, str) else getattr(task, "__name__", type(task).__name__)
    found = load_plugin(task) if isinstance(task, str) else task
    if isinstance(found, type):
        with running(str(name)):
            found = found()
    checked = _checked(found, str(name))
    samples = cast(Callable[[], object], checked.samples)
    source = function_source(samples, called(samples, str(name)), str(name))
    if len(source) == 0:
        raise DataError(
            "data.empty", "the task has no samples", where=str(name), hint="yield (sample, target) in samples()"
        )
    if not source.has_targets:
        raise DataError(
            "data.plugin",
            "the task's samples have no targets",
            where=str(name),
            expected="pairs (sample, target)",
            hint="yield (sample, target) in samples(); a sample may be anything that predict understands",
        )
    return TaskData(checked, source, run=run, inputs=inputs)


def first_inputs(data: DataSet, count: int) -> list[Inputs]:
    """Returns what a model is fed first: the first `count` samples, or of a task, calls that its first samples make."""
    if isinstance(data, TaskData):
        return data.first_calls(count)
    return [sample.inputs for sample in data.subset(range(min(count, len(data))))]


def calls_of(data: DataSet, *, limit: int) -> DataSet:
    """Returns what a model is fed over a data set: the samples, or of a task, at most `limit` of the calls it makes."""
    return data.calls(limit=limit) if isinstance(data, TaskData) else data


def _checked(task: object, name: str) -> Task:
    missing = [method for method in ("samples", "predict") if not callable(getattr(task, method, None))]
    if getattr(task, "metric", None) is None:
        missing += [] if callable(getattr(task, "score", None)) else ["score (or metric)"]
        missing += [] if isinstance(getattr(task, "higher_is_better", None), bool) else ["higher_is_better"]
    if missing:
        raise DataError(
            "data.plugin",
            "it is no task",
            where=name,
            got=f"a {type(task).__name__} without {', '.join(missing)}",
            expected="samples(), predict(run, sample), score(predictions, targets), higher_is_better",
            hint="write a class with these four; docs/examples holds three",
        )
    return cast(Task, task)


def _code(task: Task) -> str:
    try:
        return inspect.getsource(type(task))
    except (OSError, TypeError):
        return type(task).__qualname__
