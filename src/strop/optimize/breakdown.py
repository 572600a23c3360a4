"""Why is my application slower than the benchmark? Where its wall time goes, stage by stage, and what overlap gives.

An application is any `app(item)` that marks its stages (`strop.stage`), or a model with data, whose stages are marked
here (`breakdown_model.py`). It runs item after item, then as a pipeline; the model alone is timed with the same input
every time and with fresh ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from strop import __version__
from strop.engines.compile import compile_model
from strop.engines.contract import CompiledModel, Settings
from strop.engines.registry import get_engine
from strop.engines.thread_budget import BUDGET
from strop.errors import DataError, NotSupportedError, StropError, UsageError
from strop.machine import machine
from strop.measure.applications import Application, InTurn, Supply, run_in_turn, run_overlapped
from strop.measure.clock import SYSTEM, Clock, now, timestamp
from strop.measure.contention import between, snapshot
from strop.measure.stages import Recorder
from strop.model.load import load_model
from strop.model.model import Model
from strop.optimize.breakdown_figures import (
    OVERHEAD,
    advice,
    bottleneck,
    cpu_ms,
    gap,
    gap_in_words,
    outermost,
    predict,
    stage_rows,
    workers_for,
)
from strop.optimize.breakdown_model import MOST_FRESH, RUN, Arrays, ModelApplication, benchmark_both_ways
from strop.optimize.engine_list import chosen_engine
from strop.optimize.events import Event, Listener, nobody
from strop.optimize.gate_candidate import is_bundle_file
from strop.optimize.sample_inputs import inputs_for
from strop.quality.data import open_data
from strop.quality.decoders.registry import get_decoder
from strop.quality.plugin import is_plugin, load_plugin, load_with_sibling, running
from strop.runtime.load import LoadedModel, load

SCHEMA = "strop.breakdown/1"
DEFAULT_SECONDS = 5.0
TOLERATED_GAP = 0.02
_MARKS = 2000


@dataclass(frozen=True, slots=True)
class Subject:
    """What is broken down: an application and its items; where it is known, the model in it and inputs to time that on.

    run: the stage that is the model; turns: stages that serve more than one item at once.
    """

    name: str
    application: Application
    supply: Supply
    run: str = RUN
    compiled: CompiledModel | None = None
    samples: tuple[Arrays, ...] = ()
    turns: Mapping[str, int] = field(default_factory=dict)


def breakdown(
    target: str,
    *,
    data: str | None = None,
    model: str | None = None,
    engine: str = "auto",
    threads: int | None = None,
    preprocess: str | None = None,
    decode: str | None = None,
    run: str = RUN,
    seconds: float = DEFAULT_SECONDS,
    items: int | None = None,
    overlap: bool = True,
    command: str = "",
    on_event: Listener = nobody,
) -> dict[str, Any]:
    """Returns the document `strop.breakdown/1` for `file.py:app`, or for a model file with `data`.

    data: what a model runs on; an application's items are what its file's `items()` yields, or the files of the folder,
    the samples of the array file, or what `file.py:name` yields. model: the model inside an application, to time it
    alone (engine and threads are for it). run: the name of the stage that runs the model.
    """
    if not seconds > 0:
        raise UsageError("usage.bad-option", "seconds must be above 0", got=seconds, hint="leave it out for 5")
    with ExitStack() as stack:
        opened = None
        source = model if is_plugin(target) else target
        if source is not None:
            on_event(Event("stage", f"compile {Path(source).name}"))
            opened = _open(source, engine, threads)
            stack.enter_context(closing(opened.compiled))
        if is_plugin(target):
            subject = _of_application(target, data, opened, run)
        else:
            assert opened is not None
            subject = _of_model(target, opened.compiled, data, preprocess, decode)
        return break_down(subject, seconds=seconds, items=items, overlap=overlap, command=command, on_event=on_event)


def break_down(
    subject: Subject,
    *,
    seconds: float = DEFAULT_SECONDS,
    items: int | None = None,
    overlap: bool = True,
    command: str = "",
    on_event: Listener = nobody,
    clock: Clock = SYSTEM,
) -> dict[str, Any]:
    """Returns the document `strop.breakdown/1` of a subject."""
    on_event(Event("stage", "one item after the other"))
    before = snapshot(clock)
    with running(subject.name):
        turn = run_in_turn(subject.application, subject.supply, seconds=seconds, items=items, clock=clock)
    contention = between(before, snapshot(clock))
    rows = stage_rows(turn.times, turn.items)
    item_ms = 1e3 * turn.seconds_per_item
    total = sum(row["ms"] for row in rows)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "strop": __version__,
        "command": command,
        "created": timestamp(),
        "machine": machine().to_json(),
        "name": subject.name,
        "engine": None if subject.compiled is None else subject.compiled.engine,
        "settings": None if subject.compiled is None else dict(subject.compiled.settings),
        "items": turn.items,
        "first_item_ms": 1e3 * turn.first_seconds,
        "item_ms": item_ms,
        "per_second": 1e3 / item_ms,
        "cpu_ms": cpu_ms(turn),
        "stages": rows,
        "sum_ms": total,
        "sum_off": abs(total - item_ms) / item_ms,
        "bottleneck": bottleneck(rows),
        "marks_ms": sum(row["calls_per_item"] for row in rows if row["name"] != OVERHEAD) * _mark_ms(clock),
        "contention": contention.to_json(),
        "open_models": BUDGET.report(),
        "failed_items": turn.failures.count,
        "interrupted": turn.interrupted,
    }
    document["benchmark"], document["gap"] = _benchmark(subject, rows, item_ms, seconds, turn, on_event, clock)
    document["overlap"] = _overlap(subject, rows, turn, seconds, items, overlap, on_event, clock)
    document["interrupted"] = document["interrupted"] or bool(document["overlap"].get("interrupted"))
    document["advice"] = advice(document, run=subject.run)
    document["warnings"] = [*_warnings(document, turn, subject.run), *contention.findings]
    return document


@dataclass(frozen=True, slots=True)
class _Opened:
    """A compiled model, and what makes inputs for it where no data are given."""

    compiled: CompiledModel
    inputs: Callable[[], Arrays]


def _of_application(target: str, data: str | None, opened: _Opened | None, run: str) -> Subject:
    application, items = load_with_sibling(target, "items")
    if inspect.iscoroutinefunction(application):
        raise DataError(
            "data.plugin",
            "the application is a coroutine, which a call only makes and does not run",
            where=target,
            hint="write def app(item): asyncio.run(...), with the stages inside",
        )
    if not callable(application):
        raise DataError(
            "data.plugin",
            "the application is no function",
            where=target,
            got=type(application).__name__,
            hint="write def app(item): ... with its stages marked by `with strop.stage(NAME):`",
        )
    if data is not None:
        items = _items_of(data)
    if items is None:
        raise UsageError(
            "usage.bad-option",
            "there is nothing to run the application on",
            got=target,
            hint="define items() in its file, which yields what app takes, or give --data",
        )
    supply = Supply(items, data or target)  # type: ignore[arg-type]  # what it is, iterating will tell
    if opened is None:
        return Subject(target, application, supply, run)
    return Subject(target, application, supply, run, opened.compiled, (opened.inputs(),))


def _of_model(
    target: str, compiled: CompiledModel, data: str | None, preprocess: str | None, decode: str | None
) -> Subject:
    if data is None:
        raise UsageError(
            "usage.bad-option",
            "a model needs data to be broken down on",
            got=target,
            hint="--data FOLDER --preprocess imagenet, --data x.npz, or name an application: file.py:app",
        )
    if preprocess is None and isinstance(compiled, LoadedModel):
        preprocess = compiled.manifest["preprocess"]
    opened = open_data(data, inputs=compiled.inputs, preprocess=preprocess)
    application = ModelApplication(compiled, opened, None if decode is None else get_decoder(decode))
    samples = tuple(sample.inputs for sample in islice(iter(opened), MOST_FRESH))
    streams = int(compiled.settings.get("streams", 1))
    turns = dict.fromkeys((RUN, "copy in", "copy out"), streams) | {"queue": streams + 1}
    return Subject(target, application, Supply(range(len(opened)), data), RUN, compiled, samples, turns)


def _items_of(data: str) -> object:
    """Returns what an application's items are: a folder's files, an array file's samples, what a generator yields."""
    if is_plugin(data):
        return load_plugin(data)
    path = Path(data)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
        return [str(file) for file in files]
    if not path.exists():
        raise DataError("data.missing", "the data are not there", where=data, hint="check the path")
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return list(found)
        with found:
            arrays = {name: found[name] for name in found.files}
    except Exception as error:  # numpy and zipfile raise many kinds on files that are none of theirs
        raise DataError(
            "data.format",
            "data of this kind cannot be read",
            where=data,
            got=error,
            expected="a folder of files, .npz, .npy, or file.py:name",
            hint="define items() in the application's file, which yields what app takes",
        ) from error
    length = min((len(array) for array in arrays.values()), default=0)
    return [{name: array[index] for name, array in arrays.items()} for index in range(length)]


def _open(model: str, engine: str, threads: int | None) -> _Opened:
    if is_bundle_file(model):
        if engine != "auto":
            raise UsageError(
                "usage.bad-option", "a bundle has its engine in it", got=engine, hint="leave --engine away"
            )
        bundle = load(model, threads=threads)
        vector = bundle.manifest["tests"]["vectors"][0]["inputs"]
        return _Opened(bundle, lambda: {name: bundle.bundle.array(member) for name, member in vector.items()})
    loaded = load_model(model)
    names, settings = chosen_engine(engine, loaded, threads=threads)
    return _Opened(_first(loaded, names, settings), lambda: inputs_for(loaded, None))


def _first(loaded: Model, names: list[str], settings: Settings) -> CompiledModel:
    *candidates, last = names
    for name in candidates:
        try:
            return get_engine(name).compile(loaded, settings)
        except NotSupportedError as error:
            if error.code != "unsupported.model":
                raise
    return compile_model(loaded, engine=last, settings=settings)


def _benchmark(
    subject: Subject,
    rows: list[dict[str, Any]],
    item_ms: float,
    seconds: float,
    turn: InTurn,
    on_event: Listener,
    clock: Clock,
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Returns the model's figures alone, None where there are none, and the gap to the application.

    Without them, the stage that runs the model stands for the benchmark: what the application would do if it were all.
    """
    figures = None
    if subject.compiled is not None and not turn.interrupted:
        on_event(Event("stage", "the model alone: the same input every time, and fresh ones"))
        try:
            figures = benchmark_both_ways(subject.compiled, subject.samples, seconds=seconds, clock=clock)
        except StropError as error:  # threads of the application that never rest, say
            on_event(Event("warning", f"the model could not be timed alone: {error.in_a_line}"))
    if figures is None:
        in_run = outermost(rows).get(subject.run, 0.0)
        if in_run <= 0:
            return None, None
        found = gap(rows, benchmark_ms=in_run, item_ms=item_ms, run=subject.run)
        words = f"{gap_in_words(found)} (the benchmark being the stage {subject.run!r} alone)"
        return None, {**found, "words": words}
    found = gap(rows, benchmark_ms=figures["reused"]["latency_ms"]["point"], item_ms=item_ms, run=subject.run)
    return figures, {**found, "words": gap_in_words(found)}


def _overlap(
    subject: Subject,
    rows: list[dict[str, Any]],
    turn: InTurn,
    seconds: float,
    items: int | None,
    wanted: bool,
    on_event: Listener,
    clock: Clock,
) -> dict[str, Any]:
    stages = outermost(rows)
    expected = predict(rows, cpu_ms=cpu_ms(turn), cores=machine().cores, turns=subject.turns)
    document: dict[str, Any] = {
        **{name: value for name, value in expected.items() if name != "per_second"},
        "predicted_per_second": expected["per_second"],
        "measured_per_second": None,
        "speedup": None,
        "workers": None,
        "skipped": None,
    }
    if not wanted or turn.interrupted:
        return {**document, "skipped": "not wanted" if not wanted else "interrupted"}
    if len([name for name in stages if stages[name] > 0]) < 2:
        return {**document, "skipped": "no two stages are marked that could overlap"}
    workers = workers_for(rows)
    on_event(Event("stage", f"overlapped: a pipeline with {workers} items under way"))
    found = run_overlapped(
        subject.application,
        subject.supply,
        workers=workers,
        turns=subject.turns,
        seconds=seconds,
        items=items,
        clock=clock,
    )
    document |= {"workers": workers, "interrupted": found.interrupted}
    if found.failures.count > turn.failures.count and found.failures.count > found.completed / 10:
        why = f"app fails when it is called from several threads: {found.failures.first!r}"
        return {**document, "skipped": why}
    if found.per_second is None:
        return {**document, "skipped": f"too few items to tell ({found.completed})"}
    speedup = found.per_second * turn.seconds_per_item
    return {**document, "measured_per_second": found.per_second, "speedup": speedup}


def _mark_ms(clock: Clock) -> float:
    """Returns what marking one stage costs here."""
    recorder = Recorder(clock=clock)
    began = now()
    for _ in range(_MARKS):
        with recorder.mark("x"):
            pass
    return 1e3 * (now() - began) / _MARKS


def _warnings(document: Mapping[str, Any], turn: InTurn, run: str) -> list[str]:
    found = []
    if turn.failures.count:
        found.append(f"app raised an exception for {turn.failures.count} items, the first: {turn.failures.first!r}")
    if document["sum_off"] > TOLERATED_GAP:
        found.append(f"the stages' sum is {document['sum_off']:.1%} off the wall time")
    if document["marks_ms"] > TOLERATED_GAP * document["item_ms"]:
        found.append(f"marking stages takes {document['marks_ms'] / document['item_ms']:.0%} of an item's time")
    if BUDGET.waited_seconds > TOLERATED_GAP * turn.times.seconds:
        found.append(BUDGET.in_words())
    names = outermost(document["stages"])
    if len(names) <= 1:
        found.append("app marks no stages: all of it counts as Python overhead; `with strop.stage(NAME):` marks one")
    elif document["gap"] is None:
        found.append(f"no stage is called {run!r} and no --model is given, so there is no benchmark to compare with")
    return found
