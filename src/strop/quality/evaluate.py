"""Running a model over a data set and scoring it: one sample after the other, with n and an interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from strop.errors import DataError, UsageError
from strop.measure.estimate import Estimate
from strop.measure.statistics import paired_difference, proportion
from strop.quality.contract import DataSet, Decode, Metric, MetricFactory, Outputs, Prediction, Progress, Run
from strop.quality.decoders.argmax import Argmax, Ranking
from strop.quality.decoders.scores import class_scores
from strop.quality.fingerprint import fingerprint_of

RESAMPLES = 400
"""How many samples with repetition a bootstrap draws; 10 lie beyond each end of a 95 % interval."""
LARGEST_KEPT = 64
"""A prediction of more elements is kept as a hash: enough to see whether it changed."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a model is on a data set, and what it said to each sample.

    rows: one (numerator, denominator) per sample, [n, 2], or None for a user's function; keys, predictions and
    targets go with them (large arrays as hashes). without_prediction: samples whose outputs hold NaN, counted as
    wrong. classes: the number of class scores, where the decoder picks among them.
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

    @property
    def n(self) -> int:
        """The number of samples."""
        return len(self.keys)

    def to_json(self) -> dict[str, object]:
        """Returns metric, value with its interval, n, and the data's fingerprint as a JSON object."""
        return {
            "metric": self.metric.name,
            "higher_is_better": self.metric.higher_is_better,
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
    scorer, classes = metric(), None
    by_class = isinstance(decode, (Argmax, Ranking))  # then the position in the output is the class
    keys: list[str] = []
    predictions: list[Prediction] = []
    targets: list[object] = []
    for sample in data:
        outputs = run(sample.inputs)
        if not keys and by_class:
            classes = _class_count(outputs)
        if classes is not None:
            _check_class(sample.target, classes, f"{data.name} ({sample.key})")
        prediction = decode(outputs, sample.inputs)
        if isinstance(prediction, float) and np.isnan(prediction):
            prediction = None
        scorer.update(prediction, sample.target)
        keys.append(sample.key)
        predictions.append(_compact(prediction))
        targets.append(_compact(sample.target))
        if on_progress is not None:
            on_progress(len(keys), len(data))
    if not keys:
        raise DataError(
            "data.empty",
            "the data hold no samples",
            where=data.name,
            hint="give at least one; axis 0 of an array counts them",
        )
    rows = scorer.per_sample()
    return Evaluation(
        metric=scorer,
        value=value_with_interval(scorer, rows, len(keys), level=level),
        rows=rows,
        keys=tuple(keys),
        predictions=tuple(predictions),
        targets=tuple(targets),
        without_prediction=sum(prediction is None for prediction in predictions),
        classes=classes,
        data=data.fingerprint,
    )


def value_with_interval(metric: Metric, rows: np.ndarray | None, n: int, *, level: float) -> Estimate:
    """Returns a metric's value with its interval; without a finite value the interval is the value."""
    value = metric.value()
    if not np.isfinite(value):
        return Estimate(value, value, value, level, n, metric.name)
    if rows is None:
        draws = np.random.default_rng(0).integers(0, n, size=(RESAMPLES, n))
        values = [metric.value_of(indices) for indices in draws]
        low, high = np.quantile(values, ((1 - level) / 2, (1 + level) / 2))
        return Estimate(value, float(low), float(high), level, n, metric.name)
    if np.all(rows[:, 1] == 1) and np.all((rows[:, 0] == 0) | (rows[:, 0] == 1)):
        share = proportion(int(rows[:, 0].sum()), n, level=level)
        return Estimate(share.point, share.low, share.high, level, n, metric.name)
    nothing = np.column_stack([np.zeros(n), rows[:, 1]])  # a ratio is its difference from zero
    found = paired_difference(nothing, rows, level=level).difference
    low = max(found.low, 0.0) if np.all(rows >= 0) else found.low
    return Estimate(found.point, low, found.high, level, n, metric.name)


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


def _compact(value: object) -> object:
    """Returns what is kept of a prediction or target: plain values, small arrays as tuples, the rest as a hash."""
    if isinstance(value, np.ndarray) and value.size <= LARGEST_KEPT and value.dtype != object:
        return value.item() if value.ndim == 0 else tuple(value.reshape(-1).tolist())
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (str, int, float)):
        return value
    return f"{type(value).__name__} {fingerprint_of(value)}"
