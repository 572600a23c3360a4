"""Running a model over a data set and scoring it: one sample after the other, with n and an interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from strop.errors import DataError, UsageError
from strop.measure.estimate import Estimate
from strop.measure.statistics import paired_difference, proportion
from strop.quality.compact import compact
from strop.quality.contract import (
    DataSet,
    Decode,
    Metric,
    MetricFactory,
    Outputs,
    PredictingData,
    Prediction,
    Progress,
    Run,
    Sample,
)
from strop.quality.decoders.argmax import Argmax, Ranking
from strop.quality.decoders.scores import class_scores, top_share

RESAMPLES = 400
"""How many samples with repetition a bootstrap draws; 10 lie beyond each end of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a model is on a data set, and what it said to each sample.

    rows: one (numerator, denominator) per sample, [n, 2], or None for a user's function; keys, predictions and
    targets go with them (large arrays as hashes). without_prediction: samples whose outputs hold NaN, counted as
    wrong. classes: the number of class scores, where the decoder picks among them; confidences: the share of the best
    class, by sample, where it does.
    """

    metric: Metric
    value: Estimate
    rows: np.ndarray | None
    keys: tuple[str, ...]
    predictions: tuple[Prediction, ...]
    targets: tuple[object, ...]
    without_prediction: int
    classes: int | None
    data: str
    confidences: tuple[float | None, ...] = ()

    @property
    def n(self) -> int:
        """The number of samples."""
        return len(self.keys)

    def part(self, positions: Sequence[int], *, level: float = 0.95) -> Evaluation:
        """Returns the evaluation of just these samples, without running anything again."""
        places = np.asarray(positions, dtype=np.int64)
        metric = _PartOfMetric(self.metric, places)
        rows = None if self.rows is None else self.rows[places]
        predictions = tuple(self.predictions[index] for index in positions)
        return Evaluation(
            metric=metric,
            value=value_with_interval(metric, rows, len(places), level=level),
            rows=rows,
            keys=tuple(self.keys[index] for index in positions),
            predictions=predictions,
            targets=tuple(self.targets[index] for index in positions),
            without_prediction=sum(prediction is None for prediction in predictions),
            classes=self.classes,
            data=self.data,
            confidences=tuple(self.confidences[index] for index in positions) if self.confidences else (),
        )

    def to_json(self) -> dict[str, object]:
        """Returns metric, value with its interval, n, and the data's fingerprint as a JSON object."""
        return {
            "metric": self.metric.name,
            "higher_is_better": self.metric.higher_is_better,
            "is_fraction": self.metric.is_fraction,
            **self.value.to_json(),
            "without_prediction": self.without_prediction,
            "data": self.data,
        }


def evaluate(
    run: Run,
    data: DataSet,
    *,
    decode: Decode,
    metric: MetricFactory,
    on_progress: Progress | None = None,
    level: float = 0.95,
) -> Evaluation:
    """Returns the metric of `run` over labelled data.

    The interval is Wilson's for a share of samples, the delta method's for another ratio of sums, and a bootstrap's
    (seeded) for a user's function. Outputs with NaN count as wrong.
    Raises UsageError (`usage.missing-labels`), DataError (`data.labels`) for a class the model does not have.

    Example:
        >>> from strop.model.specs import TensorSpec
        >>> from strop.quality.data import open_data
        >>> from strop.quality.decoders.registry import get_decoder
        >>> from strop.quality.metrics.registry import get_metric
        >>> scores = np.eye(4, dtype=np.float32)
        >>> data = open_data(scores, inputs=(TensorSpec("x", "float32", (None, 4)),), labels=[0, 1, 2, 0])
        >>> found = evaluate(lambda inputs: inputs, data, decode=get_decoder("argmax"), metric=get_metric("top1"))
        >>> found.value.point, found.n
        (0.75, 4)
    """
    if not data.has_targets:
        raise UsageError(
            "usage.missing-labels",
            "an evaluation needs labels",
            where=data.name,
            hint="give --labels; without labels, agreement with the original can be measured",
        )
    evaluator = Evaluator(decode, metric, where=data.name)
    for count in evaluator.add_all(run, data):
        if on_progress is not None:
            on_progress(count, len(data))
    return evaluator.result(data.fingerprint, level=level)


class Evaluator:
    """Scores samples as they come; `result` may be asked for after any of them."""

    def __init__(self, decode: Decode, metric: MetricFactory, *, where: str):
        self._decode, self._where = decode, where
        self._scorer = metric()
        self._by_class = isinstance(decode, (Argmax, Ranking))  # then the position in the output is the class
        self._classes: int | None = None
        self._keys: list[str] = []
        self._predictions: list[Prediction] = []
        self._targets: list[object] = []
        self._confidences: list[float | None] = []

    def add_all(self, run: Run, data: DataSet) -> Iterator[int]:
        """Adds what `run` predicts for each sample of `data`, and yields how many there are by then."""
        if isinstance(data, PredictingData):
            for predicted in data.predictions(run):
                self._add(predicted.key, predicted.prediction, predicted.target, None)
                yield len(self._keys)
            return
        for sample in data:
            self.add(sample, run(sample.inputs))
            yield len(self._keys)

    def add(self, sample: Sample, outputs: Outputs) -> None:
        """Adds a sample by the outputs that a model gave for it."""
        if not self._keys and self._by_class:
            self._classes = _class_count(outputs)
        if self._classes is not None:
            _check_class(sample.target, self._classes, f"{self._where} ({sample.key})")
        prediction = self._decode(outputs, sample.inputs)
        confidence = top_share(outputs) if self._by_class and prediction is not None else None
        self._add(sample.key, prediction, sample.target, confidence)

    def result(self, data: str, *, level: float = 0.95) -> Evaluation:
        """Returns the evaluation of what was added; data: the fingerprint of the samples."""
        if not self._keys:
            raise DataError(
                "data.empty",
                "the data hold no samples",
                where=self._where,
                hint="give at least one; axis 0 of an array counts them",
            )
        rows = self._scorer.per_sample()
        return Evaluation(
            metric=self._scorer,
            value=value_with_interval(self._scorer, rows, len(self._keys), level=level),
            rows=rows,
            keys=tuple(self._keys),
            predictions=tuple(self._predictions),
            targets=tuple(self._targets),
            without_prediction=sum(prediction is None for prediction in self._predictions),
            classes=self._classes,
            data=data,
            confidences=tuple(self._confidences),
        )

    def _add(self, key: str, prediction: Prediction, target: object, confidence: float | None) -> None:
        if isinstance(prediction, (float, np.floating)) and np.isnan(prediction):
            prediction = None
        self._scorer.update(prediction, target)
        self._keys.append(key)
        self._predictions.append(compact(prediction))
        self._targets.append(compact(target))
        self._confidences.append(confidence)


class _PartOfMetric:
    """A metric over some of the samples it has seen."""

    def __init__(self, whole: Metric, places: np.ndarray):
        self.name, self.higher_is_better, self.is_fraction = whole.name, whole.higher_is_better, whole.is_fraction
        self._whole, self._places = whole, places

    def update(self, prediction: Prediction, target: object) -> None:
        raise NotImplementedError("a part of an evaluation takes no more samples")

    def value(self) -> float:
        return self._whole.value_of(self._places)

    def per_sample(self) -> np.ndarray | None:
        rows = self._whole.per_sample()
        return None if rows is None else rows[self._places]

    def value_of(self, indices: np.ndarray) -> float:
        return self._whole.value_of(self._places[indices])


def value_with_interval(metric: Metric, rows: np.ndarray | None, n: int, *, level: float) -> Estimate:
    """Returns a metric's value with its interval; without a finite value the interval is the value."""
    value = metric.value()
    if not np.isfinite(value):
        return Estimate(value, value, value, level, n, metric.name)
    if rows is None:
        draws = np.random.default_rng(0).integers(0, n, size=(RESAMPLES, n))
        values = [metric.value_of(indices) for indices in draws]
        low, high = np.quantile(values, ((1 - level) / 2, (1 + level) / 2)).tolist()
        if low == high:  # nothing varies: every answer is right, or none
            low, high = (value - unseen(metric, value, n, level), value + unseen(metric, value, n, level))
            low, high = (min(max(end, min(0.0, value)), 1.0) if metric.is_fraction else end for end in (low, high))
        return Estimate(value, low, high, level, n, metric.name)
    if np.all(rows[:, 1] == 1) and np.all((rows[:, 0] == 0) | (rows[:, 0] == 1)):
        share = proportion(int(rows[:, 0].sum()), n, level=level)
        return Estimate(share.point, share.low, share.high, level, n, metric.name)
    nothing = np.column_stack([np.zeros(n), rows[:, 1]])  # a ratio is its difference from zero
    found = paired_difference(nothing, rows, level=level).difference
    low = max(found.low, 0.0) if np.all(rows >= 0) else found.low
    return Estimate(found.point, low, found.high, level, n, metric.name)


def unseen(metric: Metric, value: float, n: int, level: float) -> float:
    """Returns how much a metric may be off although n samples did not show it: the rule of three.

    With probability `level`, less than 1 - (1 - level)^(1 / n) of all samples are of a kind that none of n is of; each
    of those may cost a fraction all of its share, any other metric is reckoned to change by its own value.
    """
    share = 1 - (1 - level) ** (1 / n)
    return float(share * (1.0 if metric.is_fraction else abs(value) or 1.0))


def _class_count(outputs: Outputs) -> int | None:
    if not outputs:
        return None
    scores = class_scores(np.asarray(next(iter(outputs.values()))))
    return None if scores is None else scores.size


def _check_class(target: object, classes: int, where: str) -> None:
    array = np.asarray(target)
    if array.dtype.kind in "iu" and array.size == 1 and not 0 <= int(array.reshape(())) < classes:
        raise DataError(
            "data.labels",
            "a label is no class of the model",
            where=where,
            got=int(array.reshape(())),
            expected=f"0 to {classes - 1} (the model's first output has {classes} scores)",
            hint="labels may count from 1, or belong to another model",
        )
