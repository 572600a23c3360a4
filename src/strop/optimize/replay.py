"""Runs one trial of a study again, or its confirmation, from its JSON spec, and says whether the figures agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from strop import __version__
from strop.errors import NotSupportedError, StropError, UsageError
from strop.machine import machine
from strop.measure.latency import measure_latency
from strop.model.load import load_model
from strop.model.model import Model
from strop.optimize.accuracy import Judge
from strop.optimize.api import judge_of
from strop.optimize.events import Event, Listener, nobody
from strop.optimize.int8_forms import FACT
from strop.optimize.job import inputs_to_time
from strop.optimize.options import replayed_options
from strop.optimize.racing import Contender, contend, open_contender, race
from strop.optimize.resume import planned_shares
from strop.optimize.samples import open_samples
from strop.optimize.study import Study, read_study
from strop.optimize.trial import TrialSpec
from strop.quality.contract import DataSet
from strop.quality.split import evenly_spread, split
from strop.runtime.remote import open_remote_bundle

SCHEMA = "strop.replay/1"
DEFAULT_SECONDS = 6.0
CONFIRMATION = "confirmation"
BASELINE = "baseline"
MARGIN = 0.03
"""Two ratios that differ by no more are the same, as everywhere."""


@dataclass(slots=True)
class _Replay:
    """What a replay works with: the study, and the model and data that it was made with."""

    study: Study
    facts: Mapping[str, Any]
    trials: list[dict[str, Any]]
    model: Model
    data: DataSet
    judge: Judge
    folder: Path
    stack: ExitStack

    def open(self, spec: TrialSpec) -> Contender:
        """Returns a trial in a fresh worker, which ends with the replay."""
        model = self._model_of(spec)
        path = self.folder / f"{model.sha256[:16]}.onnx"
        _, inputs = inputs_to_time(self.data)
        contender = open_contender(spec, path if path.exists() else model.save(path), inputs)
        return self.stack.enter_context(contender)

    def open_bundle(self, path: Path, spec: TrialSpec) -> Contender:
        """Returns a bundle in a fresh worker, which ends with the replay."""
        _, inputs = inputs_to_time(self.data)
        remote = open_remote_bundle(path, inputs=inputs, batch=spec.batch)
        return self.stack.enter_context(contend(spec, remote, inputs))

    def samples(self, purpose: str) -> DataSet:
        """Returns the samples that chose, or those that confirmed, as the run divided them."""
        shares = planned_shares(self.study)
        if shares is None:
            return self.data
        parts = split(
            self.data,
            calibration=shares.calibration,
            choosing=shares.choosing,
            confirmation=shares.confirmation,
            overlap=shares.overlap,
            seed=int(self.facts.get("seed", 0)),
        )
        return parts.choosing if purpose == "choosing" else parts.confirmation

    def spec_labelled(self, label: str) -> TrialSpec:
        """Returns the spec of the trial that a label names."""
        return TrialSpec.from_json(next(trial for trial in self.trials if trial["label"] == label)["trial"])

    def _model_of(self, spec: TrialSpec) -> Model:
        if spec.precision == "f32" or self.model.is_quantized:
            return self.model
        sha256 = (self.facts.get(FACT) or {}).get(spec.engine)
        content = None if sha256 is None else self.study.model(sha256)
        if content is None:
            raise UsageError(
                "study.no-trial",
                "the study does not hold the INT8 model of this trial",
                where=str(self.study.path),
                got=spec.label,
                hint="run the whole again; models above 256 MB are not kept",
            )
        return replace(load_model(content), name=self.model.name)


def replay(
    path: str | Path,
    name: str,
    *,
    seconds: float | None = None,
    command: str = "",
    on_event: Listener = nobody,
    **given: Any,
) -> dict[str, Any]:
    """Returns the document `strop.replay/1`: the old figures, the new ones, and whether they agree.

    name: a trial's key or its beginning, "baseline", or "confirmation"; seconds: of the race; given: options of the run
    in place of those that the study holds (model, data, labels, metric, decode).

    Raises UsageError (`study.no-trial`, `study.other`) where there is no such trial or the model or data are others.
    """
    study = read_study(path)
    with ExitStack() as stack:
        stack.callback(study.close)
        facts: Any = study.facts()
        trials: Any = study.trials()
        trial = None if name == CONFIRMATION else _find(study, trials, name)
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="strop-", ignore_cleanup_errors=True)))
        work = _prepare(study, facts, trials, given, folder, stack)
        on_event(Event("stage", f"replay {name if trial is None else trial['label']}"))
        race_seconds = DEFAULT_SECONDS if seconds is None else seconds
        found = _confirmation(work, race_seconds) if trial is None else _trial(work, trial, race_seconds)
    here, there = machine().fingerprint, (facts.get("machine") or {}).get("fingerprint")
    warnings = [] if here == there else ["the study is of another machine, or of this one with other cores"]
    return {
        "schema": SCHEMA,
        "strop": __version__,
        "command": command,
        "study": str(path),
        "machine": machine().to_json(),
        "warnings": warnings,
        **found,
    }


def _find(study: Study, trials: list[dict[str, Any]], name: str) -> dict[str, Any]:
    found = [trial for trial in trials if str(trial["trial"]["key"]).startswith(name)] if name else []
    if name == BASELINE:
        found = trials[:1]
    if len({trial["trial"]["key"] for trial in found}) != 1:
        known = ", ".join(f"{trial['trial']['key']} ({trial['label']})" for trial in trials) or "none"
        raise UsageError(
            "study.no-trial",
            "the study has no such trial" if not found else "several trials begin like this",
            where=str(study.path),
            got=name,
            expected=f"{BASELINE}, {CONFIRMATION}, or one of {known}",
            hint="give the beginning of a trial's key",
        )
    return found[-1]


def _prepare(
    study: Study,
    facts: Mapping[str, Any],
    trials: list[dict[str, Any]],
    given: Mapping[str, Any],
    folder: Path,
    stack: ExitStack,
) -> _Replay:
    options = replayed_options(facts.get("options"), **given)
    model = load_model(options["model"], shapes=options.get("shapes"))
    _check_same(study, "model", facts, model.sha256)
    preprocess = options.get("preprocess")
    data = open_samples(
        options.get("data"),
        inputs=model.inputs,
        original=model,
        stack=stack,
        labels=options.get("labels"),
        preprocess=preprocess,
        task=options.get("task"),
    )
    _check_same(study, "data", facts, data.fingerprint)
    judge = judge_of(
        model,
        data,
        options.get("decode"),
        options.get("metric"),
        options.get("max_drop"),
        bool(options.get("relative")),
        options.get("min_agreement"),
    )
    return _Replay(study, facts, trials, model, data, judge, folder, stack)


def _check_same(study: Study, name: str, facts: Mapping[str, Any], sha256: str) -> None:
    recorded = (facts.get(name) or {}).get("sha256")
    if recorded != sha256:
        raise UsageError(
            "study.other",
            f"the {name} is not what the study was made with",
            where=str(study.path),
            got=sha256[:16],
            expected=str(recorded)[:16],
            hint=f"name the one it was made with: --{name} PATH",
        )


def _trial(work: _Replay, trial: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    spec = TrialSpec.from_json(trial["trial"])
    old = {name: trial.get(name) for name in ("status", "reason", "latency_ms", "speedup", "accuracy", "against")}
    found: dict[str, Any] = {"id": spec.key, "label": spec.label, "old": old}
    try:
        challenger = work.open(spec)
        if trial.get("speedup"):
            new = _raced(work, work.open(work.spec_labelled(str(trial["against"]))), challenger, seconds)
        else:
            latency = measure_latency(challenger.remote.block, seconds=min(3.0, seconds)).estimate
            new = {"latency_ms": latency.scaled(1e3).to_json(), "speedup": None}
        if trial.get("accuracy"):
            baseline = work.open(TrialSpec.from_json(work.trials[0]["trial"]))
            judged = work.judge.judge(baseline.remote, challenger.remote, work.samples("choosing"))
            new["accuracy"] = dict(judged.details)
    except NotSupportedError as error:
        new = {"status": "unsupported", "reason": error.in_a_line}
    except StropError as error:
        if error.exit_code != 5:
            raise
        new = {"status": "failed", "reason": error.in_a_line}
    return {**found, "new": new, **_verdict(old, new)}


def _confirmation(work: _Replay, seconds: float) -> dict[str, Any]:
    recorded = work.facts.get("confirmation")
    bundle = Path(str(work.facts.get("bundle", "")))
    beside = work.study.path.with_name(work.study.path.name.removesuffix(".study.db") + ".strop")
    path = beside if beside.exists() else bundle
    if not isinstance(recorded, Mapping) or not path.is_file():
        raise UsageError(
            "study.no-trial",
            "nothing was confirmed" if not isinstance(recorded, Mapping) else "the bundle is not there",
            where=str(work.study.path),
            got=None if not isinstance(recorded, Mapping) else path,
            hint="`strop optimize --resume` goes on with a study that was interrupted; a bundle lies beside its study",
        )
    label = str(recorded["label"])
    old = {
        "status": "kept",
        "latency_ms": recorded["after"]["latency_ms"],
        "speedup": recorded["speedup"],
        "accuracy": recorded["accuracy"],
        "against": work.trials[0]["label"],
    }
    before = work.open(TrialSpec.from_json(work.trials[0]["trial"]))
    after = work.open_bundle(path, work.spec_labelled(label))
    new = _raced(work, before, after, seconds)
    samples = work.samples("confirmation")
    samples = evenly_spread(samples, int(recorded.get("samples", len(samples))))
    new["accuracy"] = dict(work.judge.judge(before.remote, after.remote, samples).details)
    return {"id": CONFIRMATION, "label": label, "bundle": str(path), "old": old, "new": new, **_verdict(old, new)}


def _raced(work: _Replay, against: Contender, challenger: Contender, seconds: float) -> dict[str, Any]:
    compared = race({"against": against, "challenger": challenger}, seconds=seconds)["challenger"]
    return {"latency_ms": compared.estimate.scaled(1e3).to_json(), "speedup": compared.speedup.to_json()}


def _verdict(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Returns whether the new figures agree with the old ones, and in words why."""
    if "status" in new:
        agrees = new["status"] == old["status"]
        return {"agrees": agrees, "words": f"{new['status']}: {new['reason']}"}
    reasons = []
    if old.get("speedup") and new.get("speedup"):
        agrees = ratios_agree(old["speedup"], new["speedup"])
        reasons.append((agrees, f"the speed-up against {old['against']}: {_both(old['speedup'], new['speedup'])} x"))
    elif old.get("latency_ms"):
        # Without a second contender nothing takes the machine's own changes of speed out.
        agrees = ratios_agree(old["latency_ms"], new["latency_ms"], margin=0.5)
        reasons.append((agrees, f"the latency: {_both(old['latency_ms'], new['latency_ms'])} ms"))
    else:
        reasons.append((old["status"] not in ("failed", "unsupported"), f"it runs now; it was {old['status']}"))
    if old.get("accuracy") and new.get("accuracy"):
        before, after = (_figure(each["accuracy"]) for each in (old, new))
        reasons.append((math.isclose(before, after, abs_tol=1e-3), f"the accuracy: {before:.4g}, now {after:.4g}"))
    agrees = all(each for each, _ in reasons)
    return {
        "agrees": agrees,
        "words": "; ".join(f"{text} ({'agrees' if each else 'differs'})" for each, text in reasons),
    }


def ratios_agree(old: Mapping[str, Any], new: Mapping[str, Any], *, margin: float = MARGIN) -> bool:
    """Whether two positive figures differ by no more than their intervals and the margin explain.

    Example:
        >>> ratios_agree({"point": 1.5, "low": 1.4, "high": 1.6}, {"point": 1.6, "low": 1.55, "high": 1.65})
        True
        >>> ratios_agree({"point": 1.5, "low": 1.45, "high": 1.55}, {"point": 2.0, "low": 1.9, "high": 2.1})
        False
    """
    distance = abs(math.log(old["point"] / new["point"]))
    reaches = [math.log(one["high"] / one["low"]) / 2 if one["low"] > 0 else math.inf for one in (old, new)]
    return distance <= math.hypot(*reaches) + math.log1p(margin)


def _both(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    shown = [f"{one['point']:.3g} ({one['low']:.3g} to {one['high']:.3g})" for one in (old, new)]
    return f"{shown[0]}, now {shown[1]}"


def _figure(accuracy: Mapping[str, Any]) -> float:
    """Returns the figure of a judgement: the candidate's value, or the share of unchanged answers."""
    after = accuracy.get("after") or accuracy.get("agreeing") or {}
    value = after.get("value", after) if isinstance(after, Mapping) else {}
    return float(value["point"])
