"""What `strop advise MODEL` does: look at the model, check it on this machine, apply the rules, write it all down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np

from strop import __version__
from strop.errors import StropError, UsageError
from strop.machine import machine
from strop.model.cost import node_costs, total_macs
from strop.model.inspect import remarks
from strop.model.load import load_model
from strop.model.model import Model
from strop.model.random_inputs import runnable_inputs
from strop.model.save import weight_bytes
from strop.model.weights import zero_share
from strop.optimize.accuracy import AgreementJudge, Judge, MetricJudge
from strop.optimize.advice.checks import EXPECTED_SECONDS, examine
from strop.optimize.advice.examination import Examination
from strop.optimize.advice.path import path_for
from strop.optimize.advice.recommendation import Recommendation
from strop.optimize.advice.rules import recommend
from strop.optimize.advice.situation import Goal, ModelFacts, Resources, Situation
from strop.optimize.benchmark_curve import has_free_batch
from strop.optimize.budget import Budget, parse_seconds
from strop.optimize.events import Event, Listener, nobody
from strop.optimize.scoring import choose_scoring
from strop.quality.contract import DataSet
from strop.quality.data import open_data
from strop.quantize.coverage import Coverage, quantization_coverage
from strop.quantize.quantize import DOT_PRODUCT_FLAGS

SCHEMA = "strop.advice/1"
CHECK_SECONDS = 90.0
"""No check begins later than this."""
CHECK_SHARE = 0.25
"""Of the time for optimizing that the checks may take."""
LEAST_CHECK_SECONDS = 20.0
DEFAULT_MAX_DROP = "1%"
LEAST_AGREEMENT = 0.99


def advise(
    source: str,
    *,
    data: str | None = None,
    labels: str | None = None,
    preprocess: str | None = None,
    decode: str | None = None,
    metric: str | None = None,
    max_drop: str | None = None,
    goal: str = "latency",
    training: bool = False,
    time: str | None = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    command: str = "",
    on_event: Listener = nobody,
) -> dict[str, Any]:
    """Returns the document `strop.advice/1`: recommendations with their figures, and the way from here.

    time: how long optimizing may take (`10m`); the checks themselves take about 45 s, at most 90 s, and at most a
    quarter of it (but 20 s). training: whether the model can be trained again. goal: what is to become better.
    """
    _check_options(data, {"--labels": labels, "--preprocess": preprocess, "--decode": decode, "--metric": metric})
    model = load_model(source, shapes=shapes)
    opened = None if data is None else open_data(data, inputs=model.inputs, labels=labels, preprocess=preprocess)
    seconds = None if time is None else parse_seconds(time)
    resources = Resources(
        model=source,
        data=data,
        labels=labels,
        preprocess=preprocess,
        training=training,
        seconds=seconds,
        max_drop=max_drop,
        goal=checked_goal(goal),
        int8_instructions=bool(DOT_PRODUCT_FLAGS & set(machine().flags)),
        labelled=opened is not None and opened.has_targets,
    )
    inputs = _inputs(model, opened)
    covered = _coverage(model, inputs)
    facts = model_facts(model, inputs, covered)
    allowed = CHECK_SECONDS if seconds is None else min(CHECK_SECONDS, max(LEAST_CHECK_SECONDS, CHECK_SHARE * seconds))
    budget = Budget(allowed)
    expected = min(allowed, EXPECTED_SECONDS)
    on_event(Event("plan", f"checks on this machine: about {expected:.0f} s", data={"seconds": expected}))
    with TemporaryDirectory(prefix="strop-") as folder:
        examination = Examination(
            model,
            resources,
            inputs,
            Path(folder),
            budget,
            on_event,
            data=opened,
            judge=_judge(model, opened, decode, metric, max_drop),
            int8_operators=facts.int8_operators,
            int8_mac_share=facts.int8_mac_share,
        )
        measured = examine(examination)
    found = recommend(Situation(resources, facts, measured))
    return {
        **_head(command),
        "model": {"name": model.name, "sha256": model.sha256, "opset": model.opset},
        "goal": resources.goal,
        "recommendations": [one.to_json() for one in found],
        "path": [step.to_json() for step in path_for(resources, facts)],
        "not_measured": dict(measured.not_measured),
        "warnings": [*model.warnings, *(opened.notes if opened else ())],
        "seconds": round(budget.elapsed, 1),
    }


def advice_document(command: str, found: Sequence[Recommendation], **more: object) -> dict[str, Any]:
    """Returns the document `strop.advice/1` for recommendations that come from elsewhere."""
    return {**_head(command), **more, "recommendations": [one.to_json() for one in found]}


def checked_goal(text: str) -> Goal:
    """Returns the goal that `text` names; raises UsageError (`usage.bad-option`)."""
    for goal in get_args(Goal):
        if text == goal:
            return goal  # type: ignore[no-any-return]
    raise UsageError(
        "usage.bad-option",
        "unknown objective",
        got=text,
        expected=", ".join(get_args(Goal)),
        hint="--objective latency",
    )


def model_facts(model: Model, inputs: Mapping[str, np.ndarray], covered: Coverage) -> ModelFacts:
    """Returns what the rules want to know of the model itself."""
    return ModelFacts(
        name=model.name,
        is_quantized=model.is_quantized,
        is_half=any(remark.code == "half-precision" for remark in remarks(model)),
        macs=total_macs(node_costs(model, inputs)),
        weight_bytes=weight_bytes(model.to_proto()),
        zero_share=zero_share(model),
        int8_operators=len(covered.heavy),
        int8_mac_share=covered.mac_share,
        free_batch=has_free_batch(model.inputs),
    )


def _head(command: str) -> dict[str, Any]:
    return {"schema": SCHEMA, "strop": __version__, "command": command, "machine": machine().to_json()}


def _check_options(data: str | None, needing: Mapping[str, object]) -> None:
    for name, value in needing.items():
        if data is None and value is not None:
            raise UsageError("usage.bad-option", f"{name} does nothing without data", got=name, hint="give --data, too")


def _inputs(model: Model, data: DataSet | None) -> Mapping[str, np.ndarray]:
    if data is None:
        return runnable_inputs(model)
    return next(iter(data)).inputs


def _coverage(model: Model, inputs: Mapping[str, np.ndarray]) -> Coverage:
    if model.is_quantized:
        return Coverage({}, {}, None)
    try:
        return quantization_coverage(model, inputs)
    except StropError:  # what cannot be rewritten cannot be quantized either; the checks will say more
        return Coverage({}, {}, None)


def _judge(
    model: Model, data: DataSet | None, decode: str | None, metric: str | None, max_drop: str | None
) -> Judge | None:
    if data is None:
        return None
    if not data.has_targets:
        return AgreementJudge(LEAST_AGREEMENT)
    scoring = choose_scoring(
        data, model.metadata, decode=decode, metric=metric, max_drop=max_drop, default_drop=DEFAULT_MAX_DROP
    )
    return None if scoring is None else MetricJudge(scoring)
