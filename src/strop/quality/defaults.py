"""Decoder and metric where the user named none: what fits the labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from strop.errors import UsageError
from strop.quality.contract import DataSet, Decode, MetricFactory
from strop.quality.decoders.ctc import METADATA_KEY
from strop.quality.decoders.registry import get_decoder
from strop.quality.metrics.registry import get_metric

_DECODERS = {
    "top1": "argmax",
    "accuracy": "argmax",
    "top5": "top5",
    **dict.fromkeys((f"{name}{how}" for name in ("f1", "precision", "recall") for how in ("", "_macro")), "argmax"),
    "miou": "classmap",
}
"""By metric; numbers are compared as they come."""
BOXES = frozenset({"map", "map50", "voc_map"})


def choose_quality(
    data: DataSet,
    *,
    decode: str | Decode | None = None,
    metric: str | Callable[..., object] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> tuple[Decode, MetricFactory]:
    """Returns decoder and metric as named, or as the labels suggest.

    Class numbers: top1 of argmax. Text: cer of the model's own CTC dictionary. Other numbers: mse of the output.
    """
    chosen_metric = _metric_for(data) if metric is None else metric
    if decode is None:
        decode = _decoder_for(chosen_metric, metadata or {})
    return get_decoder(decode, metadata), get_metric(chosen_metric)


def _metric_for(data: DataSet) -> str:
    target = next(iter(data)).target
    if target is None:
        raise UsageError(
            "usage.missing-labels",
            "a metric needs labels",
            where=data.name,
            hint="give --labels; without labels, --min-agreement compares with the original",
        )
    if isinstance(target, str):
        return "cer"
    array = np.asarray(target)
    return "top1" if array.dtype.kind in "iub" and array.size == 1 else "mse"


def _decoder_for(metric: str | Callable[..., object], metadata: Mapping[str, str]) -> str:
    if metric in ("cer", "wer"):
        if METADATA_KEY in metadata:
            return "ctc:metadata"
        raise UsageError(
            "usage.bad-option",
            "how the outputs become text is not said",
            got=f"--metric {metric}",
            expected=f"a decoder (the model's metadata has no {METADATA_KEY!r})",
            hint="give --decode ctc:dictionary.txt or --decode file.py:function",
        )
    if metric in BOXES:
        raise UsageError(
            "usage.bad-option",
            "how the outputs become boxes is not said",
            got=f"--metric {metric}",
            expected="a decoder that gives boxes, scores and classes",
            hint="give --decode file.py:function that returns a dict of the three, or use --task",
        )
    return _DECODERS.get(metric.partition(":")[0], "identity") if isinstance(metric, str) else "identity"
