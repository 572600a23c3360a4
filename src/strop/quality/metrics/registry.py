"""The metrics by the names users type."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from strop.errors import DataError, UsageError
from strop.quality.contract import MetricFactory
from strop.quality.metrics.accuracy import Accuracy
from strop.quality.metrics.average_precision import Map50, MeanAveragePrecision, VocMap
from strop.quality.metrics.base import RowMetric
from strop.quality.metrics.cer import Cer
from strop.quality.metrics.cosine import Cosine
from strop.quality.metrics.drawn import DrawnMetric
from strop.quality.metrics.f1 import F1, F1Macro
from strop.quality.metrics.function import FunctionMetric
from strop.quality.metrics.mae import Mae
from strop.quality.metrics.mean_iou import MeanIou
from strop.quality.metrics.mse import Mse
from strop.quality.metrics.pearson import Pearson
from strop.quality.metrics.perplexity import Perplexity
from strop.quality.metrics.precision import Precision, PrecisionMacro
from strop.quality.metrics.recall import Recall, RecallMacro
from strop.quality.metrics.rmse import Rmse
from strop.quality.metrics.spearman import Spearman
from strop.quality.metrics.top1 import Top1
from strop.quality.metrics.top5 import Top5
from strop.quality.metrics.wer import Wer
from strop.quality.plugin import is_plugin, load_plugin

METRICS: dict[str, type[RowMetric] | type[DrawnMetric]] = {
    metric.name: metric
    for metric in (
        *(Top1, Top5, Accuracy),
        *(F1, F1Macro, Precision, PrecisionMacro, Recall, RecallMacro),
        *(Mse, Mae, Rmse, Cosine, Pearson, Spearman),
        *(Cer, Wer, Perplexity),
        *(MeanIou, MeanAveragePrecision, Map50, VocMap),
    )
}


def get_metric(metric: str | Callable[..., object]) -> MetricFactory:
    """Returns what makes the metric a user named: one of METRICS, `file.py:function`, or a function or Metric class.

    A function takes (predictions, targets), two lists, and returns a number.

    Example:
        >>> top1 = get_metric("top1")()
        >>> top1.update(3, 3), top1.update(2, 1), top1.value()
        (None, None, 0.5)
    """
    if not isinstance(metric, str):
        return _users(metric, getattr(metric, "__name__", "metric"))
    if is_plugin(metric):
        return _users(load_plugin(metric), metric)
    name, _, option = metric.partition(":")
    if name == MeanIou.name and option:
        return _mean_iou(metric, option)
    if metric not in METRICS:
        raise UsageError(
            "usage.bad-option",
            "no metric has this name",
            got=metric,
            expected=", ".join((*METRICS, "miou:ignore=N", "file.py:function")),
            hint="top1 is for classes, cer for text, mse for numbers",
        )
    return METRICS[metric]


def _mean_iou(metric: str, option: str) -> MetricFactory:
    name, _, value = option.partition("=")
    if name != "ignore" or not (value == "none" or value.isdecimal()):
        raise UsageError(
            "usage.bad-option",
            "miou has no such option",
            got=metric,
            expected="miou, miou:ignore=N or miou:ignore=none",
            hint="ignore names the class of pixels that do not count, 255 by default",
        )
    ignored = None if value == "none" else int(value)
    return lambda: MeanIou(ignored)


def _users(value: object, name: str) -> MetricFactory:
    if isinstance(value, type) and all(hasattr(value, method) for method in ("update", "value", "per_sample")):
        return cast(MetricFactory, value)
    if not callable(value):
        raise DataError(
            "data.plugin",
            "the metric is no function",
            where=name,
            got=type(value).__name__,
            hint="write def metric(predictions, targets): ... and return a number",
        )
    function = value
    return lambda: FunctionMetric(function, name)
