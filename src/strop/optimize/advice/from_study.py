"""Advice from a study: what was tried, what came of it, and what is to be tried next. Nothing is measured again."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from strop.engines.registry import engines
from strop.machine import machine
from strop.optimize.advice.advise import advice_document
from strop.optimize.advice.commands import BASELINE, benchmark_line, compare_line
from strop.optimize.advice.quantization import recommend_next
from strop.optimize.advice.quantization_order import Progress
from strop.optimize.advice.recommendation import Recommendation
from strop.optimize.advice.situation import Measured, ModelFacts, Resources, Situation
from strop.optimize.budget import parse_seconds
from strop.optimize.plan import FEW_LABELS
from strop.optimize.study import read_study

Document = Mapping[str, Any]
MAGIC = b"SQLite format 3\0"
QUANTIZATION = "quantization for "


def is_study(path: str | Path) -> bool:
    """Whether the file is a database, as studies are; a model never is."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def advise_from_study(path: str, *, command: str = "") -> dict[str, Any]:
    """Returns the document `strop.advice/1` from what a study holds; it adds `tried`, a line for each trial."""
    study = read_study(path)
    try:
        facts, trials = study.facts(), study.trials()
    finally:
        study.close()
    found = advise_on_run(facts, trials)
    tried = [{"label": one.get("label"), "status": one.get("status"), "reason": one.get("reason")} for one in trials]
    return advice_document(command, found, model=_object(facts.get("model")), study=path, tried=tried, warnings=[])


def advise_on_run(facts: Document, trials: Sequence[Document]) -> list[Recommendation]:
    """Returns what a run of `strop optimize` suggests, from its facts and trials alone."""
    resources = resources_of(facts)
    rules = (_outcome, _machine, _unfinished, _engines, _quantization, _noise, _labels, _refused, _throughput)
    return [one for rule in rules for one in rule(facts, trials, resources)]


def resources_of(facts: Document) -> Resources:
    """Returns what the run was given, from the command it noted; a run from Python noted none."""
    options = _options(str(facts.get("command") or ""))
    model = options.get("MODEL") or f"{_object(facts.get('model')).get('name', 'model')}.onnx"
    return Resources(
        model=model,
        data=options.get("--data"),
        labels=options.get("--labels"),
        preprocess=options.get("--preprocess"),
        max_drop=options.get("--max-drop"),
        goal="throughput" if facts.get("objective") == "throughput" else "latency",
        labelled=bool(facts.get("baseline_accuracy")),
    )


def _outcome(facts: Document, trials: Sequence[Document], resources: Resources) -> list[Recommendation]:
    confirmed = _object(facts.get("confirmation"))
    if not confirmed:
        text = "The run was not finished: its best is not confirmed. Go on with it, with more time."
        return [Recommendation("study.unfinished", "do", text, f"{len(trials)} trials done", {}, _again(facts, 2.0))]
    if not confirmed.get("gained"):
        text = "Nothing was gained: the model stays as it came."
        return [Recommendation("study.nothing", "know", text, f"{len(trials)} trials; reasons below", {})]
    speedup = _object(confirmed.get("speedup"))
    return [
        Recommendation(
            "study.gained",
            "know",
            f"The run gained with {confirmed.get('label')}.",
            f"confirmed: {_times(speedup)}; {confirmed.get('accuracy_words')}",
            {"speedup": speedup},
        )
    ]


def _machine(facts: Document, trials: Sequence[Document], resources: Resources) -> list[Recommendation]:
    then = _object(facts.get("machine"))
    if not then or then.get("fingerprint") == machine().fingerprint:
        return []
    reason = f"then: {then.get('cpu_name')}, {then.get('cores')} cores; here: {machine().cpu_name}, {machine().cores}"
    text = "The study was made on another machine: run it again on this one before you trust its order."
    return [Recommendation("study.other-machine", "do", text, reason, {}, _again(facts, None))]


def _unfinished(facts: Document, trials: Sequence[Document], resources: Resources) -> list[Recommendation]:
    waiting = [str(one["label"]) for one in trials if one.get("status") == "not tried"]
    if not waiting:
        return []
    reason = f"{len(waiting)} of {len(trials)} trials were not made: {', '.join(waiting[:4])}"
    text = "Give the search more time: not everything was tried."
    return [Recommendation("study.budget", "do", text, reason, {"not_tried": waiting}, _again(facts, 2.0))]


def _engines(facts: Document, trials: Sequence[Document], resources: Resources) -> list[Recommendation]:
    found = []
    tried = {str(_object(one.get("trial")).get("engine")) for one in trials}
    for name in sorted(tried):
        own = [one for one in trials if _object(one.get("trial")).get("engine") == name]
        if own and all(one.get("status") in ("unsupported", "failed") for one in own):
            text = f"{name} does not run this model."
            found.append(Recommendation(f"study.engine.{name}", "know", text, str(own[0].get("reason")), {}))
    for name, engine in engines().items():
        if name in tried or name in (BASELINE, "reference"):
            continue
        here = engine.available()
        reason = f"installed here ({here.version})" if here.available else here.why
        command = compare_line(resources, [BASELINE, name]) if here.available and resources.data else "strop doctor"
        text = f"{name} was not among the engines that were tried."
        found.append(Recommendation(f"study.untried.{name}", "do", text, reason, {}, command))
    return found


def _quantization(facts: Document, trials: Sequence[Document], resources: Resources) -> list[Recommendation]:
    int8 = [one for one in trials if _object(one.get("trial")).get("precision") == "int8"]
    reports = [_object(value) for name, value in facts.items() if name.startswith(QUANTIZATION)]
    if not int8 and not reports:
        return []
    progress = progress_of_run(facts, int8, reports, resources)
    lost = [one for one in int8 if one.get("status") == "dropped" and one.get("accuracy")]
    failed = [str(_object(one.get("sanity")).get("reason")) for one in reports if not _sane(one)]
    speeds = [_object(one.get("speedup")) for one in int8 if one.get("speedup")]
    name = str(_object(facts.get("model")).get("name"))
    model = ModelFacts(name, False, False, None, 0, 0.0, progress.operators, None, False)
    advice = recommend_next(Situation(resources, model, Measured()), progress)
    reasons = [str(one.get("reason")) for one in (lost or int8)[:1]] + failed[:1]
    raced = [f"raced: {_times(one)}, {one.get('verdict')}" for one in speeds[:2]]
    evidence = {"speedups": speeds, "samples": progress.samples, "available": progress.available}
    return [replace(advice, reason="; ".join([*reasons, *raced]), evidence=evidence)]


def progress_of_run(
    facts: Document, int8: Sequence[Document], reports: Sequence[Document], resources: Resources
) -> Progress:
    """Returns how far a run came with 8 bits, from its INT8 trials and the reports of its quantizations."""
    kept = any(one.get("status") == "kept" for one in int8)
    lost = any(one.get("status") == "dropped" and one.get("accuracy") for one in int8)
    insane = any(not _sane(one) for one in reports)
    verdicts = [str(_object(one.get("speedup")).get("verdict")) for one in int8 if one.get("speedup")]
    slower = bool(verdicts) and not insane and all(verdict in ("slower", "same") for verdict in verdicts)
    return Progress(
        quantized=kept and not reports,  # it came that way
        operators=max((len(_object(one.get("quantized"))) for one in reports), default=1),
        pays=True if kept or lost or "faster" in verdicts else False if slower else None,
        labelled=resources.labelled,
        post_training="kept" if kept else "lost" if lost or insane else "untried",
        samples=max((_count(one.get("samples")) for one in reports), default=0),
        available=_count(_object(facts.get("data")).get("samples")),
    )


def _noise(facts: Document, trials: Sequence[Document], resources: Resources) -> list[Recommendation]:
    verdicts = Counter(str(_object(one["speedup"]).get("verdict")) for one in trials if one.get("speedup"))
    unclear = verdicts["cannot tell"]
    if unclear < 2 or unclear < sum(verdicts.values()) / 3:
        return []
    reason = f"{unclear} of {sum(verdicts.values())} races ended with `cannot tell`"
    text = "The machine was too noisy to tell: close other programs, give each race more time."
    return [Recommendation("study.noise", "do", text, reason, dict(verdicts), "strop doctor")]


def _labels(facts: Document, trials: Sequence[Document], resources: Resources) -> list[Recommendation]:
    shares = _object(_object(facts.get("plan")).get("shares"))
    count = shares.get("confirmation")
    if not resources.labelled or not isinstance(count, int) or count >= FEW_LABELS:
        return []
    reason = f"{count} labelled samples confirmed; below {FEW_LABELS} a loss of a point can hardly be told from luck"
    return [Recommendation("study.labels", "do", "Label more samples.", reason, {"confirmation": count})]


def _refused(facts: Document, trials: Sequence[Document], resources: Resources) -> list[Recommendation]:
    refused = _object(facts.get("confirmation")).get("not_confirmed") or []
    return [
        Recommendation(
            "study.not-confirmed",
            "know",
            f"{one.get('label')} won in the search and was not confirmed.",
            str(one.get("reason")),
        )
        for one in refused
    ]


def _throughput(facts: Document, trials: Sequence[Document], resources: Resources) -> list[Recommendation]:
    if facts.get("objective") != "throughput" or "curve" in facts:
        return []
    text = "See throughput against latency before you choose how many requests to keep in flight."
    return [
        Recommendation("study.curve", "do", text, "no curve was measured", {}, benchmark_line(resources, "", "--curve"))
    ]


def _again(facts: Document, factor: float | None) -> str | None:
    """Returns the command that was run; with a factor it goes on where it ended, with as many times the budget.

    None where no command was noted.
    """
    noted = str(facts.get("command") or "")
    words = _split(noted)
    if words[:2] != ["strop", "optimize"]:
        return None
    if factor and "--budget" in words[:-1]:
        at = words.index("--budget") + 1
        words[at] = f"{factor * parse_seconds(words[at]):.0f}s"
    if factor and "--resume" not in words:
        words.append("--resume")
    return shlex.join(words)


def _options(command: str) -> dict[str, str]:
    """Returns the options of a noted command by name, and under MODEL its argument."""
    words = _split(command)[2:]
    options: dict[str, str] = {}
    position = 0
    while position < len(words):
        word = words[position]
        if word.startswith("--") and "=" in word:
            name, _, value = word.partition("=")
            options[name] = value
        elif word.startswith("-") and position + 1 < len(words) and word not in ("--json", "--relative"):
            options[word] = words[position + 1]
            position += 1
        elif not word.startswith("-"):
            options.setdefault("MODEL", word)
        position += 1
    return options


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # a study may come from anywhere
        return []


def _sane(report: Document) -> bool:
    sanity = report.get("sanity")
    return not isinstance(sanity, Mapping) or bool(sanity.get("ok"))


def _times(speedup: Document) -> str:
    try:
        return f"{speedup['point']:.2f} x ({speedup['low']:.2f} to {speedup['high']:.2f})"
    except (KeyError, TypeError, ValueError):
        return "speed not known"


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _object(value: object) -> Document:
    return value if isinstance(value, Mapping) else {}
