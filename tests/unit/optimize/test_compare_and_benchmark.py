"""`compare` and `benchmark` with workers of made-up speed, memory and faults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, Self

import numpy as np
import pytest

from strop.engines.contract import Settings
from strop.errors import EngineError, NotSupportedError, UsageError, WorkerError
from strop.measure.memory import Memory
from strop.model.load import load_model
from strop.optimize import benchmarking, comparison
from strop.testing.models import multilayer_perceptron

MODEL = load_model(multilayer_perceptron())
INPUTS = {"x": np.zeros((1, 16), np.float32)}


class Remote:
    """A worker whose every request takes 0.1 s by its own word, and whose memory grows by so many bytes a request."""

    engine = "made-up"

    version = "1"

    def __init__(self, *, growth: int = 0, fails: bool = False):
        self.settings = {"precision": "f32", "threads": 1}
        self.growth, self.fails, self.calls = growth, fails, 0

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self.fails:
            raise EngineError("engine.run", "the engine failed to run the model", hint="another engine")
        return {"y": np.ones((1, 4), np.float32)}

    def block(self, n: int) -> list[float]:
        self.calls += n
        return [0.1] * n

    def cpu_seconds(self) -> float:
        return 0.0

    def memory(self) -> Memory:
        now = 100_000_000 + self.growth * self.calls
        return Memory(now, now)

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def compare(monkeypatch: pytest.MonkeyPatch, remotes: list[Remote | None], **options: Any) -> dict[str, Any]:
    """Compares as many engines as there are remotes; None refuses the model."""
    waiting = iter(remotes)

    def open_remote(path: Path, name: str, settings: Settings, *, inputs: object) -> Remote:
        remote = next(waiting)
        if remote is None:
            raise NotSupportedError("unsupported.model", f"{name} refuses this model", hint="another engine")
        return remote

    monkeypatch.setattr(comparison, "open_remote", open_remote)
    options = {"seconds": 0.02, "first_inference": False} | options
    return comparison.compare_engines(MODEL, ["onnxruntime"] * len(remotes), INPUTS, **options)


def test_a_baseline_that_is_the_only_one_to_run_has_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    document = compare(monkeypatch, [Remote(), None])
    baseline, refused = document["results"]
    assert baseline["latency_ms"]["point"] == pytest.approx(100.0)
    assert baseline["speedup"]["verdict"] == "same"
    assert refused["status"] == "unsupported"
    assert refused["error"]["code"] == "unsupported.model"
    assert not comparison.enough_ran(document)


@pytest.mark.parametrize("failing", [0, 1])
def test_an_engine_that_fails_to_run_is_a_result(monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    document = compare(monkeypatch, [Remote(fails=index == failing) for index in range(2)])
    assert document["results"][failing]["status"] == "failed"
    assert document["results"][failing]["error"]["code"] == "engine.run"
    assert document["results"][1 - failing]["status"] == "ok"
    assert not comparison.enough_ran(document)


def test_a_first_inference_that_fails_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*arguments: object, **options: object) -> object:
        raise WorkerError("worker.died", "a worker process ended by itself", hint="another engine")

    monkeypatch.setattr(comparison, "measure_first_inference", die)
    document = compare(monkeypatch, [Remote(), None], first_inference=True)
    assert document["results"][0]["latency_ms"] is not None
    assert document["results"][0]["first_inference_ms"] is None
    assert "ended by itself" in document["warnings"][-1]


def benchmark(monkeypatch: pytest.MonkeyPatch, remote: Remote, *, iterations: int) -> dict[str, Any]:
    monkeypatch.setattr(benchmarking, "open_remote", lambda *arguments, **options: remote)
    monkeypatch.setattr(benchmarking, "machine", lambda: SimpleNamespace(to_json=dict))
    settings = Settings()
    return benchmarking.benchmark_model(MODEL, INPUTS, engines=["made-up"], settings=settings, iterations=iterations)


def test_memory_that_grows_from_call_to_call_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    document = benchmark(monkeypatch, Remote(growth=100_000), iterations=40)
    assert document["leak"]["leaking"]
    assert document["leak"]["kilobytes_per_thousand_calls"]["point"] == pytest.approx(100_000)
    assert "grows from call to call" in document["warnings"][-1]


def test_memory_that_stays_is_no_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    document = benchmark(monkeypatch, Remote(), iterations=40)
    assert not document["leak"]["leaking"]
    assert document["warnings"] == []


def test_a_run_too_short_to_tell_says_nothing_of_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert benchmark(monkeypatch, Remote(), iterations=3)["leak"] is None


@pytest.mark.parametrize(
    ("options", "objective", "idle"),
    [
        ({"iterations": 9}, "throughput", "--iterations"),
        ({"requests": 2}, "latency", "--requests"),
        ({"poisson": True}, "throughput", "--poisson"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    options: dict[str, Any], objective: Literal["latency", "throughput"], idle: str
) -> None:
    settings = Settings(objective=objective)
    with pytest.raises(UsageError, match=f"{idle} does nothing") as caught:
        benchmarking.benchmark_model(MODEL, INPUTS, engines=["made-up"], settings=settings, **options)
    assert caught.value.code == "usage.bad-option"
    assert caught.value.hint
