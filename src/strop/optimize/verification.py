"""Model against model on the same samples: how much accuracy was lost, where, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from typing import Any

from strop import __version__
from strop.engines.compile import compile_model
from strop.engines.contract import CompiledModel
from strop.errors import InputError, UsageError
from strop.loader.format import MODEL
from strop.machine import machine
from strop.model.load import load_model
from strop.model.model import Model
from strop.model.preprocess import Preprocess
from strop.optimize.events import Event, Listener, nobody
from strop.optimize.samples import open_samples
from strop.optimize.scoring import DecodeSource, GroupSource, LabelSource, MetricSource, Scoring, choose_scoring
from strop.quality.agreement import agreement
from strop.quality.chance import near_chance
from strop.quality.comparison import compare_evaluations, plan_from
from strop.quality.contract import DataSet
from strop.quality.data_range import check_range
from strop.quality.evaluate import Evaluation, evaluate
from strop.quality.flips import agreement_flips, flips_report
from strop.quality.groups import read_groups
from strop.quality.sequential import evaluate_early
from strop.quality.slices import slices_report
from strop.quality.split import evenly_spread
from strop.quality.task import TaskData, calls_of
from strop.runtime.load import load

SCHEMA = "strop.verify/1"
PILOT_SAMPLES = 200
"""What `plan` runs to see how many samples flip."""
DISTANCE_SAMPLES = 200
"""On which the outputs themselves are compared, where labels compare the rest."""


def open_runnable(source: str) -> tuple[CompiledModel, Model]:
    """Returns a bundle as it was shipped, or an ONNX file on ONNX Runtime, ready to run, and the model itself."""
    if source.endswith(".strop"):
        bundle = load(source)
        return bundle, load_model(bytes(bundle.bundle.member(MODEL)))
    model = load_model(source)
    return compile_model(model, engine="onnxruntime"), model


def verify(
    a: str,
    b: str,
    data: object = None,
    *,
    task: object = None,
    labels: LabelSource | None = None,
    groups: GroupSource | None = None,
    preprocess: str | Preprocess | None = None,
    decode: DecodeSource | None = None,
    metric: MetricSource | None = None,
    max_drop: str | float | None = None,
    relative: bool = False,
    plan: bool = False,
    stop_early: bool = False,
    command: str = "",
    on_event: Listener = nobody,
) -> dict[str, Any]:
    """Returns the document `strop.verify/1` for two files (ONNX or bundles) on the same samples.

    With labels: both figures, their paired difference b - a in the metric's unit, the drop (positive = loss), the
    samples that changed (`flips`), the worst class or group (`slices`), how far the outputs lie apart (`agreement`),
    and with a limit how many samples would certify it (`sample_plan`). Without: the agreement of b's outputs with a's,
    and whose decision changed; `max_drop` is then refused. task: instead of data, what makes several calls a sample
    (see `strop.quality.task`). plan: runs PILOT_SAMPLES only, to say how many it takes. stop_early: runs no more
    samples than prove the drop to be within the limit, or beyond it.
    """
    with ExitStack() as stack:
        first, original = open_runnable(a)
        stack.enter_context(closing(first))
        second, _ = open_runnable(b)
        stack.enter_context(closing(second))
        opened: DataSet = open_samples(
            data, inputs=first.inputs, original=first, stack=stack, labels=labels, preprocess=preprocess, task=task
        )
        for name, run in ((a, first), (b, second)):
            _check_takes(name, run, opened)
        scoring = choose_scoring(
            opened, original.metadata, decode=decode, metric=metric, max_drop=max_drop, relative=relative
        )
        named = None if groups is None else read_groups(groups, opened)
        _check_options(scoring, plan=plan, stop_early=stop_early, groups=groups, data=opened)
        have = len(opened)
        if plan:
            opened = evenly_spread(opened, PILOT_SAMPLES)
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "strop": __version__,
            "command": command,
            "machine": machine().to_json(),
            "data": {"name": opened.name, "sha256": opened.fingerprint},
            "models": [a, b],
            "n": len(opened),
            "warnings": check_range(original, opened),
        }
        if scoring is None:
            on_event(Event("stage", f"run both on {len(opened)} samples"))
            found = agreement(first, second, opened)
            return document | {"metric": None, "agreement": found.to_json(), "flips": agreement_flips(found)}
        if stop_early:
            before, after = _evaluate_early(a, b, first, second, opened, scoring, on_event)
        else:
            before, after = (_evaluate(name, run, opened, scoring, on_event) for name, run in ((a, first), (b, second)))
        difference = compare_evaluations(before, after, max_drop=scoring.max_drop, relative=scoring.relative)
        chance = near_chance(before)
        if chance is not None:
            document["warnings"].append(f"{a} is no better than guessing, so there is no accuracy to keep: {chance}")
        on_event(Event("stage", "compare the outputs"))
        outputs = agreement(first, second, _calls(opened))
        return document | {
            **difference.to_json(),
            "verdict": difference.verdict,
            "flips": flips_report(before, after),
            "slices": slices_report(before, after, named),
            "agreement": outputs.to_json(),
            "sample_plan": plan_from(before, after, difference.limit, have=have).to_json()
            if difference.limit
            else None,
            "pilot": plan,
            "stopped_early": before.n < len(opened),
        }


def exceeds(document: Mapping[str, object]) -> bool:
    """Whether a limit was given and the drop is above it; a pilot decides nothing."""
    return document.get("limit") is not None and not document["within"] and not document.get("pilot")


def _check_options(
    scoring: Scoring | None, *, plan: bool, stop_early: bool, groups: GroupSource | None, data: DataSet
) -> None:
    named = [name for name, on in (("--plan", plan), ("--stop-early", stop_early)) if on]
    if scoring is None and (named or groups is not None):
        raise UsageError(
            "usage.missing-labels",
            f"{(*named, '--groups')[0]} is about a metric, and the data have no labels",
            where=data.name,
            hint="give --labels",
        )
    if named and scoring is not None and not scoring.max_drop:
        raise UsageError(
            "usage.bad-option",
            f"{named[0]} needs a limit above 0 that is to be certified",
            got=f"--max-drop {scoring.max_drop}",
            hint="--max-drop 0.5%",
        )
    if len(named) == 2:
        raise UsageError(
            "usage.bad-option", "a plan runs a few samples only", got="--plan --stop-early", hint="give one of them"
        )


def _calls(data: DataSet) -> DataSet:
    calls = calls_of(data, limit=DISTANCE_SAMPLES)
    return calls if isinstance(data, TaskData) else evenly_spread(calls, DISTANCE_SAMPLES)


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


def _evaluate_early(
    a: str,
    b: str,
    first: CompiledModel,
    second: CompiledModel,
    data: DataSet,
    scoring: Scoring,
    on_event: Listener,
) -> tuple[Evaluation, Evaluation]:
    assert scoring.max_drop is not None
    on_event(Event("stage", f"evaluate {a} and {b} on at most {len(data)} samples"))
    found = evaluate_early(
        first,
        second,
        data,
        decode=scoring.decode,
        metric=scoring.metric,
        max_drop=scoring.max_drop,
        relative=scoring.relative,
        on_progress=lambda done, total: on_event(Event("progress", f"evaluate {b}", done / total)),
    )
    if found.outcome is not None:
        on_event(
            Event("decision", f"{found.b.n} of {len(data)} samples prove the drop to be {found.outcome} the limit")
        )
    return found.a, found.b
