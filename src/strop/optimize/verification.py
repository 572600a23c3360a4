"""Model against model on the same samples: how much accuracy was lost, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from typing import Any

from strop import __version__
from strop.engines.compile import compile_model
from strop.engines.contract import CompiledModel
from strop.errors import InputError
from strop.loader.format import MODEL
from strop.machine import machine
from strop.model.load import load_model
from strop.model.preprocess import Preprocess
from strop.optimize.events import Event, Listener, nobody
from strop.optimize.samples import open_samples
from strop.optimize.scoring import DecodeSource, LabelSource, MetricSource, Scoring, choose_scoring
from strop.quality.agreement import agreement
from strop.quality.comparison import compare_evaluations
from strop.quality.contract import DataSet
from strop.quality.evaluate import Evaluation, evaluate
from strop.runtime.load import load

SCHEMA = "strop.verify/1"


def open_runnable(source: str) -> tuple[CompiledModel, Mapping[str, str]]:
    """Returns a bundle as it was shipped, or an ONNX file on ONNX Runtime, ready to run, and the model's metadata."""
    if source.endswith(".strop"):
        bundle = load(source)
        return bundle, load_model(bytes(bundle.bundle.member(MODEL))).metadata
    model = load_model(source)
    return compile_model(model, engine="onnxruntime"), model.metadata


def verify(
    a: str,
    b: str,
    data: object = None,
    *,
    task: object = None,
    labels: LabelSource | None = None,
    preprocess: str | Preprocess | None = None,
    decode: DecodeSource | None = None,
    metric: MetricSource | None = None,
    max_drop: str | float | None = None,
    relative: bool = False,
    command: str = "",
    on_event: Listener = nobody,
) -> dict[str, Any]:
    """Returns the document `strop.verify/1` for two files (ONNX or bundles) on the same samples.

    With labels: both figures, their paired difference b - a in the metric's unit, and the drop (positive = loss).
    Without: the agreement of b's outputs with a's; `max_drop` is then refused. task: instead of data, what makes
    several calls a sample (see `strop.quality.task`).
    """
    with ExitStack() as stack:
        first, metadata = open_runnable(a)
        stack.enter_context(closing(first))
        second, _ = open_runnable(b)
        stack.enter_context(closing(second))
        opened = open_samples(
            data, inputs=first.inputs, original=first, stack=stack, labels=labels, preprocess=preprocess, task=task
        )
        for name, run in ((a, first), (b, second)):
            _check_takes(name, run, opened)
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "strop": __version__,
            "command": command,
            "machine": machine().to_json(),
            "data": {"name": opened.name, "sha256": opened.fingerprint},
            "models": [a, b],
            "n": len(opened),
        }
        scoring = choose_scoring(opened, metadata, decode=decode, metric=metric, max_drop=max_drop, relative=relative)
        if scoring is None:
            on_event(Event("stage", f"run both on {len(opened)} samples"))
            return document | {"metric": None, "agreement": agreement(first, second, opened).to_json()}
        before, after = (_evaluate(name, run, opened, scoring, on_event) for name, run in ((a, first), (b, second)))
        difference = compare_evaluations(before, after, max_drop=scoring.max_drop, relative=scoring.relative)
        return document | {**difference.to_json(), "verdict": difference.verdict}


def exceeds(document: Mapping[str, object]) -> bool:
    """Whether a limit was given and the drop is above it."""
    return document.get("limit") is not None and not document["within"]


def _check_takes(name: str, run: CompiledModel, data: DataSet) -> None:
    """Raises InputError that names the model where it does not take the first sample."""
    sample = next(iter(data), None)
    if sample is None:
        return
    try:
        run(sample.inputs)
    except InputError as error:
        error.where = name
        raise


def _evaluate(name: str, run: CompiledModel, data: DataSet, scoring: Scoring, on_event: Listener) -> Evaluation:
    on_event(Event("stage", f"evaluate {name} on {len(data)} samples"))
    return evaluate(
        run,
        data,
        decode=scoring.decode,
        metric=scoring.metric,
        on_progress=lambda done, total: on_event(Event("progress", f"evaluate {name}", done / total)),
    )
