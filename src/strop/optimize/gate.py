"""Did this change make the model slower? The new form against the old one, which the baseline file keeps.

Old and new run by turns in fresh worker processes, so whatever the machine does meets both alike. Where the old one
cannot be run (its code is for another CPU, its engine is not here), and where another version of its engine is
installed than the baseline was measured with, the time over that of probe kernels is compared with the ratio stored
(`gate_probes.py`). What looks red is run again in fresh processes; `gate_verdict.py` has the rules.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from strop import __version__
from strop.engines.registry import get_engine
from strop.engines.remote import RemoteModel
from strop.errors import (
    BundleError,
    EngineError,
    MeasurementError,
    ModelError,
    NotSupportedError,
    UsageError,
    WorkerError,
)
from strop.machine import machine
from strop.measure.clock import SYSTEM, Clock, timestamp
from strop.measure.comparison import compare_blocks
from strop.measure.contention import TOLERATED_SHARE, between, snapshot
from strop.measure.estimate import Estimate
from strop.measure.turns import Turn
from strop.optimize.baseline import SCHEMA as BASELINE_SCHEMA
from strop.optimize.baseline import Arrays, Baseline, read_baseline, write_baseline
from strop.optimize.events import Event, Listener, nobody
from strop.optimize.gate_candidate import Candidate, EngineChoice, Timed, make_candidate
from strop.optimize.gate_outputs import compare_outputs, in_words
from strop.optimize.gate_probes import measure_ratios, slowdown_by_probes
from strop.optimize.gate_verdict import LEVEL, MOST_RUNS, Outcome, decide, false_red_rate, next_run, outcome
from strop.runtime.remote import open_remote_bundle

SCHEMA = "strop.gate/1"
DEFAULT_SECONDS = 5.0
DEFAULT_MARGIN = 0.05

Opener = Callable[[Path, Sequence[Arrays]], RemoteModel]
"""Loads a bundle in a fresh worker process, to be timed on these samples."""


def open_side(path: Path, samples: Sequence[Arrays]) -> RemoteModel:
    """Returns the bundle in a fresh worker process."""
    return open_remote_bundle(path, inputs=samples)


def gate(
    model: str,
    baseline: Path,
    *,
    margin: float = DEFAULT_MARGIN,
    seconds: float = DEFAULT_SECONDS,
    choice: EngineChoice | None = None,
    timed: Timed | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    command: str = "",
    on_event: Listener = nobody,
    open_old: Opener = open_side,
    open_new: Opener = open_side,
    clock: Clock = SYSTEM,
) -> dict[str, Any]:
    """Returns the document `strop.gate/1`: whether `model` (ONNX or bundle) is slower than the baseline, and how sure.

    margin: how much slower still passes, as a share; seconds: of the first run's turns; choice: how an ONNX file is
    run (default: as the baseline); timed: what on (default: the baseline's samples). slowdown is new time over old.

    Raises FileError without a baseline, BundleError for a damaged one, ModelError `gate.other-model`.
    """
    _check_seconds(seconds)
    kept = read_baseline(baseline)
    timed = timed or Timed()
    with TemporaryDirectory(prefix="strop-") as folder:
        on_event(Event("stage", "prepare the new form"))
        candidate = make_candidate(
            model, Path(folder), baseline=kept, choice=choice or EngineChoice(), timed=timed, shapes=shapes
        )
        sides = Sides(kept, candidate, open_old, open_new, margin, clock)
        before = snapshot(clock)
        warnings: list[str] = []
        parts = [_judge(sides, "rerun", seconds, on_event)]
        if sides.why_no_rerun is not None:
            parts = [_judge(sides, "probes", seconds, on_event)]
            warnings.append(f"the old form cannot be run here: {sides.why_no_rerun}; compared by probe kernels instead")
        elif sides.engine_change is not None and parts[0].verdict is not Outcome.REGRESSED:
            warnings.append(f"{sides.engine_change}; what that did is told by probe kernels")
            parts.append(_judge(sides, "probes", seconds, on_event))
        outputs = sides.compare_outputs()
        contention = between(before, snapshot(clock))
    deciding = max(parts, key=lambda part: _SEVERITY[part.verdict])
    for part in parts:
        warnings += part.warnings()
    if contention.others is not None and contention.others > TOLERATED_SHARE:
        warnings.append(f"meanwhile, {contention.findings[0]}")
    if outputs is not None and not outputs["same"]:
        warnings.append(in_words(outputs))
    if sides.elsewhere:
        warnings.append(f"the baseline was measured on another machine: {kept.record['machine'].get('cpu_name')}")
    return {
        "schema": SCHEMA,
        "strop": __version__,
        "command": command,
        "created": timestamp(),
        "machine": machine().to_json(),
        "model": _named(candidate, model),
        "baseline": kept.to_json(),
        "margin": margin,
        "verdict": str(deciding.verdict),
        "method": deciding.method,
        "slowdown": deciding.slowdown,
        "words": deciding.in_words(margin),
        "false_red": false_red_rate(),
        "outputs": outputs,
        "contention": contention.to_json(),
        "parts": [part.to_json() for part in parts],
        "updated": False,
        "warnings": warnings,
    }


def update_baseline(
    model: str,
    baseline: Path,
    *,
    seconds: float = DEFAULT_SECONDS,
    choice: EngineChoice | None = None,
    timed: Timed | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    command: str = "",
    on_event: Listener = nobody,
    open_new: Opener = open_side,
    clock: Clock = SYSTEM,
) -> dict[str, Any]:
    """Returns the document `strop.gate/1` after `model` was measured and written to the file `baseline`, whole.

    How it is run and what it is timed on: as given, else as the baseline that it replaces has it, else `auto` and
    random inputs.
    """
    _check_seconds(seconds)
    old = _old_baseline(baseline)
    timed, choice = timed or Timed(), choice or EngineChoice()
    with TemporaryDirectory(prefix="strop-") as folder:
        on_event(Event("stage", "prepare the new form"))

        def prepared(reuse_samples: bool) -> Candidate:
            return make_candidate(
                model,
                Path(folder),
                baseline=old,
                choice=choice,
                timed=timed,
                shapes=shapes,
                reuse_samples=reuse_samples,
            )

        try:
            candidate = prepared(True)
        except ModelError as error:
            if error.code != "gate.other-model":
                raise
            candidate = prepared(False)  # a model of other inputs: engine and settings stay, samples are new
        on_event(Event("stage", f"measure {candidate.engine} against probe kernels"))
        with open_new(candidate.path, candidate.samples) as remote:
            outputs = [remote(sample) for sample in candidate.samples]
            threads = int(remote.settings.get("threads", 1))
            ratios, latency = measure_ratios(_turn(remote), threads=threads, seconds=seconds, clock=clock)
            here = machine()
            record: dict[str, Any] = {
                "schema": BASELINE_SCHEMA,
                "created": timestamp(),
                "strop": __version__,
                "command": command,
                "machine": {"fingerprint": here.fingerprint, "cpu_name": here.cpu_name, "cores": here.cores},
                "source": {"name": Path(model).name, "sha256": candidate.manifest["model"]["sha256"]},
                "engine": {"name": candidate.engine, "version": candidate.version},
                "settings": dict(remote.settings),
                "objective": _objective(remote),
                "latency_ms": latency.scaled(1e3).to_json(),
                "probes": {name: ratio.to_json() for name, ratio in ratios.items()},
                "peak_memory_mb": round(remote.memory().peak_bytes / 1e6, 1),
            }
        write_baseline(baseline, candidate.path, record=record, samples=candidate.samples, outputs=outputs)
    kept = read_baseline(baseline)
    return {
        "schema": SCHEMA,
        "strop": __version__,
        "command": command,
        "created": record["created"],
        "machine": here.to_json(),
        "model": _named(candidate, model),
        "baseline": kept.to_json(),
        "replaced": None if old is None else old.to_json(),
        "verdict": str(Outcome.OK),
        "words": f"{baseline} is the baseline now: {candidate.engine}, {latency.point * 1e3:.3g} ms",
        "updated": True,
        "warnings": [],
    }


_SEVERITY = {Outcome.OK: 0, Outcome.CANNOT_TELL: 1, Outcome.REGRESSED: 2}


class Sides:
    """Old and new form, how each is opened, and what was learnt of them on the way."""

    def __init__(
        self, kept: Baseline, candidate: Candidate, open_old: Opener, open_new: Opener, margin: float, clock: Clock
    ):
        self.kept, self.candidate, self.margin, self.clock = kept, candidate, margin, clock
        self._open_old, self._open_new = open_old, open_new
        self._same_samples = candidate.samples is kept.samples
        self._old_outputs: list[Arrays] | None = list(kept.outputs) if self._same_samples else None
        self._new_outputs: list[Arrays] | None = None
        self.why_no_rerun: str | None = None
        self.elsewhere = kept.record["machine"]["fingerprint"] != machine().fingerprint
        self.engine_change = _engine_change(kept)

    def rerun(self, seconds: float, number: int) -> dict[str, Any] | None:
        """Returns the figures of one run by turns; None, with `why_no_rerun` set, where the old form cannot run."""
        with ExitStack() as stack:
            old = new = None
            for side in ("old", "new") if number % 2 == 0 else ("new", "old"):  # whoever comes first may lie better
                if side == "new":
                    new = stack.enter_context(self._open_new(self.candidate.path, self.candidate.samples))
                else:
                    old = self._opened_old(stack)
                    if old is None:
                        return None
            assert old is not None and new is not None
            if self._old_outputs is None:
                self._old_outputs = [old(sample) for sample in self.candidate.samples]
            self._run_new(new)
            _on_one_core(old, new, number)
            compared = compare_blocks(
                {"old": _turn(old), "new": _turn(new)},
                seconds=seconds,
                margin=self.margin,
                level=LEVEL,
                seed=number,
                clock=self.clock,
            )
            ratio = compared["new"].speedup.ratio
            slowdown = Estimate(1 / ratio.point, 1 / ratio.high, 1 / ratio.low, ratio.level, ratio.n, "ratio")
            return {
                "slowdown": slowdown,
                "old_ms": compared["old"].estimate.scaled(1e3).to_json(),
                "new_ms": compared["new"].estimate.scaled(1e3).to_json(),
                "old_memory_mb": round(old.memory().peak_bytes / 1e6, 1),
                "new_memory_mb": round(new.memory().peak_bytes / 1e6, 1),
            }

    def by_probes(self, seconds: float, number: int) -> dict[str, Any] | None:
        """Returns the figures of one run against the probe kernels; None where too few of them were stored."""
        with self._open_new(self.candidate.path, self.candidate.samples) as new:
            self._run_new(new)
            threads = int(new.settings.get("threads", 1))
            ratios, latency = measure_ratios(
                _turn(new), threads=threads, seconds=seconds, seed=number, clock=self.clock
            )
            slowdown = slowdown_by_probes(self.kept.probes, ratios)
            if slowdown is None:
                return None
            return {
                "slowdown": slowdown,
                "old_ms": self.kept.record["latency_ms"],
                "new_ms": latency.scaled(1e3).to_json(),
                "probes_then": {name: ratio.point for name, ratio in self.kept.probes.items()},
                "probes_now": {name: ratio.point for name, ratio in ratios.items()},
                "new_memory_mb": round(new.memory().peak_bytes / 1e6, 1),
            }

    def compare_outputs(self) -> dict[str, Any] | None:
        """Returns how far the new outputs lie from the old; None where the old ones are not to be had."""
        if self._old_outputs is None or self._new_outputs is None:
            return None
        tolerance = float(self.candidate.manifest["tests"]["tolerance"])
        return compare_outputs(self._old_outputs, self._new_outputs, tolerance=tolerance)

    def _opened_old(self, stack: ExitStack) -> RemoteModel | None:
        try:
            old = stack.enter_context(self._open_old(self.kept.path, self.candidate.samples))
            old(self.candidate.samples[0])
        except (NotSupportedError, BundleError, EngineError, WorkerError) as error:
            self.why_no_rerun = error.in_a_line
            return None
        return old

    def _run_new(self, new: RemoteModel) -> None:
        if self._new_outputs is None:
            self._new_outputs = [new(sample) for sample in self.candidate.samples]


@dataclass(frozen=True, slots=True)
class Part:
    """What one method found: its runs in order, what each said, what they come to, and what spoiled a last one."""

    method: str
    runs: tuple[Mapping[str, Any], ...]
    outcomes: tuple[Outcome, ...]
    verdict: Outcome
    spoiled: str | None = None

    @property
    def slowdown(self) -> dict[str, object] | None:
        """The slow-down of the last run."""
        if not self.runs:
            return None
        last: Estimate = self.runs[-1]["slowdown"]
        return last.to_json()

    def in_words(self, margin: float) -> str:
        """Returns the sentence that says what was found."""
        if not self.runs:
            return "cannot tell: there is nothing that the new form could be compared with"
        last: Estimate = self.runs[-1]["slowdown"]
        figures = f"{last.point:.3f} times the baseline's time ({last.low:.3f} to {last.high:.3f})"
        if self.verdict is Outcome.OK:
            return f"ok: {figures}, within the margin of {margin:.3g}"
        if self.verdict is Outcome.REGRESSED:
            red = sum(one is Outcome.REGRESSED for one in self.outcomes)
            return f"slower: {figures}, beyond the margin of {margin:.3g} in {red} of {len(self.runs)} runs"
        return f"cannot tell: {figures}, margin {margin:.3g}; try --seconds 20, and close other programs"

    def warnings(self) -> list[str]:
        """Returns what is worth a remark: a run that was spoiled, a red one that the next one did not confirm."""
        found = [] if self.spoiled is None else [f"run {len(self.runs) + 1} was spoiled: {self.spoiled}"]
        if self.verdict is not Outcome.REGRESSED and Outcome.REGRESSED in self.outcomes:
            found.append(f"one run was red and was not confirmed ({', '.join(self.outcomes)})")
        return found

    def to_json(self) -> dict[str, object]:
        """Returns everything as a JSON object."""
        runs = [
            {**run, "slowdown": run["slowdown"].to_json(), "verdict": str(said)}
            for run, said in zip(self.runs, self.outcomes, strict=True)
        ]
        return {"method": self.method, "verdict": str(self.verdict), "runs": runs}


def _judge(sides: Sides, method: str, seconds: float, on_event: Listener) -> Part:
    """Runs until the rules have decided; a run that the machine's noise spoils, after others, cannot tell."""
    measure = sides.rerun if method == "rerun" else sides.by_probes
    words = {"rerun": "the old and the new form take turns", "probes": "take turns with probe kernels"}[method]
    runs: list[Mapping[str, Any]] = []
    outcomes: list[Outcome] = []
    while (longer := next_run(outcomes, most=MOST_RUNS if method == "rerun" else 2)) is not None:
        again = f" (run {len(runs) + 1}, after one that was {outcomes[-1]})" if outcomes else ""
        on_event(Event("stage", f"{words}{again}"))
        try:
            figures = measure(seconds * longer, len(runs))
        except MeasurementError as error:
            if not runs:
                raise
            verdict = decide([*outcomes, Outcome.CANNOT_TELL])
            return Part(method, tuple(runs), tuple(outcomes), verdict, spoiled=error.in_a_line)
        if figures is None:
            break
        runs.append(figures)
        outcomes.append(outcome(figures["slowdown"], sides.margin))
    return Part(method, tuple(runs), tuple(outcomes), decide(outcomes))


def _old_baseline(path: Path) -> Baseline | None:
    """Returns the baseline that is to be replaced, None where there is none, or nothing that can be read."""
    if not path.exists():
        return None
    try:
        return read_baseline(path)
    except BundleError as error:
        if error.code == "bundle.not-a-bundle":
            raise UsageError(
                "usage.bad-option",
                "--update would write over a file that is no baseline",
                got=path,
                hint="name another file, or remove this one first",
            ) from error
        return None


def _engine_change(kept: Baseline) -> str | None:
    """Returns what became of the baseline's engine, None where it is as it was, or its code lies in the baseline."""
    name, then = kept.record["engine"]["name"], kept.record["engine"]["version"]
    now = get_engine(name).available().version
    if kept.manifest["native"] or kept.manifest["specialized"] or now in ("", then):
        return None
    return f"{name} {now} is installed, and the baseline was measured with {then}"


def _turn(remote: RemoteModel) -> Turn:
    return remote.throughput_turn() if _objective(remote) == "throughput" else remote


def _on_one_core(old: RemoteModel, new: RemoteModel, number: int) -> None:
    """Keeps two sides of one thread on the same core, from run to run another one.

    A core is slowed by what its neighbours do. On different cores that would be taken for a difference of the models.
    """
    if all(int(side.settings.get("threads", 0)) == 1 for side in (old, new)) and hasattr(os, "sched_getaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        for side in (old, new):
            side.keep_on({cores[number % len(cores)]})


def _objective(remote: RemoteModel) -> str:
    return str(remote.settings.get("objective", "latency"))


def _named(candidate: Candidate, model: str) -> dict[str, object]:
    return {
        "name": candidate.manifest["model"]["name"],
        "file": model,
        "sha256": candidate.manifest["model"]["sha256"],
        "engine": candidate.engine,
        "version": candidate.version,
        "settings": candidate.manifest["engine"]["settings"],
        "samples": len(candidate.samples),
    }


def _check_seconds(seconds: float) -> None:
    if not seconds > 0:
        raise UsageError("usage.bad-option", "seconds must be above 0", got=seconds, hint="leave it out for 5")
