"""Engines of made-up speed, memory, answers and faults, on a clock that only they move."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from strop.errors import NotSupportedError, WorkerError
from strop.measure.comparison import compare_blocks
from strop.measure.estimate import Estimate
from strop.measure.latency import measure_latency
from strop.measure.load import Throughput
from strop.measure.memory import Memory
from strop.model.load import load_model
from strop.optimize import confirm, job, racing, search
from strop.optimize.api import OptimizeResult, optimize
from strop.optimize.budget import Budget
from strop.optimize.trial import TrialSpec
from strop.testing.clock import FakeClock
from strop.testing.models import convolution_classifier

IMAGES = np.random.default_rng(0).normal(size=(40, 3, 16, 16)).astype(np.float32)


class Remote:
    """A worker whose requests take as long as it is told, and whose answers are the model's or worse."""

    version = "1"

    def __init__(self, seconds: float, answer: Any, log: list[str], label: str, clock: FakeClock):
        self.clock = clock
        self.seconds, self.answer, self.log, self.label = seconds, answer, log, label
        threads = re.search(r"threads (\d+)", label)
        self.settings: dict[str, object] = {"threads": int(threads[1]) if threads else 2}
        self._generator = np.random.default_rng(abs(hash(label)) % 2**32)
        self.alive = True
        self.peak_bytes = 100_000_000
        self.slow_calls = 0.0
        """The share of requests that take ten times as long."""

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.clock.advance(self.seconds)
        found: dict[str, np.ndarray] = self.answer(inputs)
        return found

    def block(self, n: int) -> list[float]:
        if not self.alive:
            raise WorkerError("worker.died", "a worker process ended by itself", hint="try another engine")
        slow = 1 + 9 * (self._generator.random(n) < self.slow_calls)
        taken: list[float] = (self.seconds * slow * self._generator.normal(1, 0.01, n)).tolist()
        self.clock.advance(sum(taken))
        return taken

    def throughput_turn(self) -> Remote:
        return self

    def cpu_seconds(self) -> float:
        return 0.0

    def memory(self) -> Memory:
        return Memory(self.peak_bytes, 90_000_000)

    def throughput(self, *, seconds: float, requests: int | None = None) -> Throughput:
        latencies = np.array(self.block(max(2, round(seconds / self.seconds))))
        rate = 1 / float(latencies.mean())
        return Throughput(Estimate(rate, rate, rate, 0.95, 20, "total"), len(latencies), seconds, latencies)

    def close(self) -> None:
        self.log.append(f"closed {self.label}")


class World:
    """Speeds by trial label, in the search and (where they differ) when confirmed; labels whose answers are wrong."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.speeds: dict[str, float] = {}
        self.confirmed: dict[str, float] = {}
        self.wrong: set[str] = set()
        self.wrong_images: dict[str, set[bytes]] = {}
        self.refuses: set[str] = set()
        self.interrupt_at: str | None = None
        self.opening: dict[str, float] = {}
        self.crashes: dict[str, str] = {}
        """Whose worker ends when that of which trial has started."""
        self.remotes: dict[str, Remote] = {}
        self.opened: list[str] = []
        self.log: list[str] = []
        self.knobs: dict[str, dict[str, object]] = {}
        """What a trial's engine reports beside its threads."""
        self.memory: dict[str, int] = {}
        self.slow_calls: dict[str, float] = {}
        self.bundles: list[Remote] = []
        self.bundle_crashes = 0
        """How many bundles still are to end as soon as they have answered once."""
        model = load_model(convolution_classifier())
        from strop.model.oracle import run_unoptimized

        self.model = model
        self.truth = lambda inputs: run_unoptimized(model, dict(inputs))
        name = model.outputs[0].name
        self.labels = [int(self.truth({"x": image[None]})[name].argmax()) for image in IMAGES]

    def answer(self, label: str) -> Any:
        images = self.wrong_images.get(label, set())
        if images:
            return lambda inputs: (self.flipped if inputs["x"].tobytes() in images else self.truth)(inputs)
        return self.flipped if label in self.wrong else self.truth

    def equip(self, remote: Remote, label: str) -> None:
        """Gives a worker what its trial is said to have."""
        remote.settings |= self.knobs.get(label, {})
        remote.peak_bytes = self.memory.get(label, remote.peak_bytes)
        remote.slow_calls = self.slow_calls.get(label, 0.0)

    def flipped(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: -value for name, value in self.truth(inputs).items()}

    def start(self, label: str, timeout: Callable[[], float] | float) -> None:
        """Lets the time pass that a worker takes to start and compile, or that the parent has for it."""
        limit = timeout() if callable(timeout) else timeout
        self.clock.advance(min(limit, self.opening.get(label, 0.0)))
        if self.opening.get(label, 0.0) > limit:
            raise WorkerError("worker.timeout", "a worker process did not answer in time", hint="give it more time")

    def open(
        self,
        spec: TrialSpec,
        path: Path,
        inputs: Sequence[Mapping[str, np.ndarray]],
        *,
        timeout: Callable[[], float] | float = 600.0,
    ) -> racing.Contender:
        label = spec.label
        self.start(label, timeout)
        self.opened.append(label)
        if label == self.interrupt_at:
            raise KeyboardInterrupt
        if spec.engine in self.refuses:
            raise NotSupportedError("unsupported.model", f"{spec.engine} refuses this model", hint="another engine")
        remote = Remote(self.speeds.get(label, 0.002), self.answer(label), self.log, label, self.clock)
        self.equip(remote, label)
        self.remotes[label] = remote
        if label in self.crashes:
            self.remotes[self.crashes.pop(label)].alive = False
        return racing.contend(spec, remote, inputs)  # type: ignore[arg-type]


def make_world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Returns a world whose engines the search meets instead of real ones."""
    made = World()

    def write(self: job.Job, form: job.Kept, path: Path, report: Mapping[str, object]) -> None:
        path.write_text(form.spec.label)

    def open_bundle(path: Path, *, inputs: object, batch: int, timeout: Callable[[], float] | float) -> Remote:
        label = path.read_text()
        made.start(label, timeout)
        seconds = made.confirmed.get(label, made.speeds.get(label, 0.002))
        remote = Remote(seconds, made.answer(label), made.log, f"bundle {label}", made.clock)
        made.equip(remote, label)
        made.bundles.append(remote)
        if made.bundle_crashes:
            made.bundle_crashes -= 1
            remote.alive = False
        return remote

    first = SimpleNamespace(total_ms=10.0, parts_ms={"import": 1.0})
    monkeypatch.setattr(job.Job, "write", write)
    monkeypatch.setattr(search, "open_contender", made.open)
    monkeypatch.setattr("strop.optimize.trials.open_contender", made.open)
    monkeypatch.setattr(confirm, "open_contender", made.open)
    monkeypatch.setattr(confirm, "open_remote_bundle", open_bundle)
    monkeypatch.setattr(confirm, "measure_first_inference", lambda *a, **k: first)
    monkeypatch.setattr(confirm, "first_inference_of_bundle", lambda *a, **k: first)
    # No time passes but what requests are said to take.
    monkeypatch.setattr("strop.optimize.api.Budget", partial(Budget, clock=made.clock))
    monkeypatch.setattr(search, "measure_latency", partial(measure_latency, clock=made.clock))
    monkeypatch.setattr(racing, "compare_blocks", partial(compare_blocks, clock=made.clock))
    monkeypatch.setattr("strop.optimize.resume.open_contender", made.open)
    # What comes afterwards opens real engines and has tests of its own.
    monkeypatch.setattr("strop.optimize.afterwards.STEPS", ())
    monkeypatch.setattr("strop.optimize.limit_checks.wait_until_idle", lambda turns: None)
    monkeypatch.setattr(
        "strop.optimize.trials.machine", lambda: SimpleNamespace(cores=1, fingerprint="test", to_json=dict)
    )
    return made


def run(world: World, tmp_path: Path, **options: Any) -> OptimizeResult:
    data = {"x": IMAGES}
    options = {"labels": world.labels, "max_drop": 0.05, "engines": ["onnxruntime", "openvino"]} | options
    return optimize(world.model, data, output=tmp_path / "out.strop", **options)


def statuses(result: OptimizeResult) -> dict[str, str]:
    return {trial["label"]: trial["status"] for trial in result.document["trials"]}
