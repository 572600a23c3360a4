"""The public `strop.optimize`: the whole main job in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from strop import __version__
from strop.engines.registry import engines as known_engines
from strop.engines.registry import get_engine
from strop.errors import FileError, UsageError
from strop.machine import machine
from strop.model.load import Source, load_model
from strop.model.model import Model
from strop.model.preprocess import Preprocess
from strop.optimize.accuracy import AgreementJudge, Judge, MetricJudge, prepare_judge
from strop.optimize.budget import Budget, parse_seconds
from strop.optimize.events import Listener, nobody
from strop.optimize.job import Job
from strop.optimize.limits import parse_limits
from strop.optimize.narrator import Narrator
from strop.optimize.options import recorded_options, replay_words
from strop.optimize.resume import continued_study, finished_trials, sweep
from strop.optimize.samples import open_samples
from strop.optimize.scoring import DecodeSource, GroupSource, LabelSource, MetricSource, choose_scoring
from strop.optimize.search import BASELINE_ENGINE, search
from strop.optimize.study import Study
from strop.optimize.study_lock import StudyLock
from strop.quality.contract import DataSet
from strop.quality.data_range import check_range

SCHEMA = "strop.optimize/1"
DEFAULT_MAX_DROP = "1%"
DEFAULT_MIN_AGREEMENT = 0.99
SEED = 0
"""Of the division of the samples; the same call divides them the same way."""


@dataclass(frozen=True, slots=True)
class OptimizeResult:
    """What `strop.optimize` found: the `bundle`, the `study` (SQLite) with every trial, the `document` as JSON."""

    bundle: Path
    study: Path
    document: dict[str, Any]


def optimize(
    model: Source,
    data: object = None,
    *,
    task: object = None,
    expect: str | float | None = None,
    groups: GroupSource | None = None,
    labels: LabelSource | None = None,
    metric: MetricSource | None = None,
    max_drop: str | float | None = None,
    budget: str | float | None = None,
    output: str | Path | None = None,
    decode: DecodeSource | None = None,
    preprocess: str | Preprocess | None = None,
    relative: bool = False,
    min_agreement: float | None = None,
    objective: Literal["latency", "throughput"] = "latency",
    engines: Sequence[str] | None = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    max_latency: str | Sequence[str] | None = None,
    max_memory: str | None = None,
    min_throughput: str | float | None = None,
    resume: bool = False,
    started: float | None = None,
    command: str = "",
    on_event: Listener = nobody,
) -> OptimizeResult:
    """Returns the fastest form of a model that keeps its accuracy, as a bundle, with the evidence.

    model: what `load_model` takes (a path, bytes, an `onnx.ModelProto`); data: a path or object that gives the
    model's inputs (see `strop.quality.data`), with labels in it, or in `labels`; or else task: what makes several
    calls a sample (see `strop.quality.task`), an object, a class, or `"file.py:Task"`. expect: the figure the baseline
    is known for (`"71.9%"`); where it does not come out, nothing is searched. groups: a group for each sample, for the
    worst slice. metric: `top1`, `cer`, ...
    (default: `top1` for whole-number labels, `cer` for text). max_drop: the largest loss of the metric, `"1%"` or
    0.01 (the default), in the metric's unit, or with `relative` as a share of the baseline. Without labels:
    min_agreement, the least share of samples whose top answer stays (default 0.99). budget: seconds or `"3m"` for
    the whole call. output: the bundle's path (default: the model's name with `.strop`); the study is written beside
    it. max_latency (`"p99=10ms"`, also p50, mean), max_memory (`"200MB"`, of the whole process), min_throughput
    (inferences per second): what comes nearer to such a limit beats what is faster; `limits_met` of the document says
    whether all are kept. resume: goes on with the study beside `output`, whose finished trials are not measured again.

    Raises UsageError for a limit that the data cannot support or a study of something else, LimitError where the
    baseline is no better than guessing, and ModelError or DataError for bad input. Ctrl-C leaves the best so far,
    unconfirmed, at `output`.

    Example:
        >>> import tempfile, numpy as np, strop
        >>> from strop.testing.models import multilayer_perceptron
        >>> data = {"x": np.random.default_rng(0).normal(size=(40, 16)).astype("float32")}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = strop.optimize(multilayer_perceptron(), data, output=f"{folder}/mlp.strop", budget="20s")
        ...     result.bundle.name, result.document["confirmed"]
        ('mlp.strop', True)
    """
    limit = Budget(None if budget is None else parse_seconds(str(budget)), started=started)
    limits = parse_limits(max_latency, max_memory, min_throughput)
    loaded = load_model(model, shapes=shapes)
    stack = ExitStack()
    opened = open_samples(
        data, inputs=loaded.inputs, original=loaded, stack=stack, labels=labels, preprocess=preprocess, task=task
    )
    judge = judge_of(loaded, opened, decode, metric, max_drop, relative, min_agreement)
    prepare_judge(judge, opened, expect=expect, groups=groups)
    searched = _engines(engines)
    path = Path(output) if output is not None else Path(f"{loaded.name}.strop")
    facts: dict[str, Any] = {
        "schema": SCHEMA,
        "strop": __version__,
        "command": command,
        "model": {"name": loaded.name, "sha256": loaded.sha256, "opset": loaded.opset},
        "data": {"name": opened.name, "sha256": opened.fingerprint, "samples": len(opened)},
        "machine": machine().to_json(),
        "baseline": f"{BASELINE_ENGINE} with its defaults",
        "objective": objective,
        "seed": SEED,
        "limits": [one.to_json() for one in limits],
    }
    kept: dict[str, Any] = {
        **facts,
        "accuracy": judge.limit_words,
        "versions": {"strop": __version__} | {name: get_engine(name).available().version for name in searched},
        "bundle": str(path.absolute()),
        "options": recorded_options(
            model=model,
            data=data,
            task=task,
            labels=labels,
            metric=metric,
            max_drop=max_drop,
            decode=decode,
            preprocess=preprocess,
            relative=relative,
            min_agreement=min_agreement,
            shapes=shapes,
        ),
    }
    beside = path.with_suffix(".study.db")
    StudyLock(beside).release()  # before anything of a run that is still there is moved away
    if resume:
        sweep(path)
    study = continued_study(beside, kept) if resume else Study(_fresh(beside))
    try:
        for name, fact in kept.items():
            study.fact(name, fact)
        replay = replay_words(study.path, kept["options"])
        warnings = [*loaded.warnings, *opened.notes, *check_range(loaded, opened)]
        narrator = Narrator(study, limit, on_event, command, replay, warnings)
        prepare_judge(judge, opened, tell=narrator.stage)
        job = Job(
            loaded,
            opened,
            judge,
            path,
            study,
            searched,
            objective=objective,
            budget=limit,
            preprocess=None if preprocess is None else str(preprocess),
            seed=SEED,
            narrator=narrator,
            limits=limits,
            finished=finished_trials(study) if resume else {},
        )
        found = search(job)
        recorded = study.facts()
        document = {
            **facts,
            **found,
            **_ending(job),
            "study": str(study.path),
            "plan": recorded["plan"],
            "forecast": recorded["forecast"],
            "trials": study.trials(),
            "decisions": study.decisions(),
        }
    finally:
        stack.close()
        study.close()
    return OptimizeResult(path, study.path, document)


def _ending(job: Job) -> dict[str, object]:
    """Returns what is known at the end only, and records it; a study that cannot take it costs nothing else."""
    ending = {
        "bundle": str(job.output),
        "bundle_bytes": job.output.stat().st_size,
        "warnings": job.narrator.warnings,
        "seconds": round(job.budget.elapsed, 1),
    }
    try:
        for name, fact in ending.items():
            job.study.fact(name, fact)
    except FileError as error:
        job.narrator.warn(f"the study goes without its end: {error.in_a_line}")
    return ending


def judge_of(
    model: Model,
    data: DataSet,
    decode: DecodeSource | None,
    metric: MetricSource | None,
    max_drop: str | float | None,
    relative: bool,
    min_agreement: float | None,
) -> Judge:
    """Returns who decides about accuracy, from the options of `optimize`."""
    scoring = choose_scoring(
        data,
        model.metadata,
        decode=decode,
        metric=metric,
        max_drop=max_drop,
        relative=relative,
        default_drop=DEFAULT_MAX_DROP,
    )
    if scoring is not None:
        if min_agreement is not None:
            raise UsageError(
                "usage.bad-option",
                "there are labels, so the metric decides",
                got=f"--min-agreement {min_agreement}",
                hint="use --max-drop, or leave the labels out",
            )
        return MetricJudge(scoring)
    least = DEFAULT_MIN_AGREEMENT if min_agreement is None else min_agreement
    if not 0 <= least <= 1:
        raise UsageError(
            "usage.bad-option", "an agreement lies between 0 and 1", got=least, hint="--min-agreement 0.99"
        )
    return AgreementJudge(least)


def _engines(named: Sequence[str] | None) -> list[str]:
    """Returns the engines to search: those named, else all that are installed and meant for use (not the reference)."""
    if named:
        for name in named:
            if ":" in name:
                raise UsageError(
                    "usage.bad-option",
                    "a search chooses the settings itself",
                    got=name,
                    hint="name the engine alone, or use `strop compare` for settings of your own",
                )
            get_engine(name)
        return list(dict.fromkeys(named))
    return [name for name, engine in known_engines().items() if name != "reference" and engine.available().available]


def _fresh(path: Path) -> Path:
    """Returns `path` after moving an older study there aside: a finished study is never written over."""
    number = 1
    while path.exists():
        older = path.with_name(f"{path.name}.{number}")
        if not older.exists():
            path.rename(older)
            break
        number += 1
    return path
