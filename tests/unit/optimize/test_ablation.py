"""What was gained by what: each step alone, added, together; the product times the interaction is the whole."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from strop.errors import EngineError, LimitError
from strop.measure.comparison import Compared
from strop.measure.estimate import Estimate, Speedup, Verdict
from strop.optimize import ablation
from strop.optimize.ablation import BASELINE, TOGETHER, ablate, plan_ablation, summarize
from strop.optimize.trial import TrialSpec

BASE = TrialSpec("model", "data", "onnxruntime", "f32", "latency")
BEST = TrialSpec("model", "data", "openvino", "int8", "latency", {"threads": 1})


def compared(**ratios: float) -> dict[str, Compared]:
    """Returns what a race found, `engine__precision` standing for "engine + precision"."""
    found = {}
    for name, ratio in {BASELINE: 1.0, **ratios}.items():
        estimate = Estimate(ratio, ratio * 0.99, ratio * 1.01, 0.99, 20, "ratio")
        speedup = Speedup(estimate, Verdict.FASTER if ratio > 1.02 else Verdict.SAME, 0.03)
        shown = name.replace("__", " + ")
        found[shown] = Compared(shown, Estimate(1 / ratio, 1, 1, 0.95, 20), speedup, np.ones(3), 1.0)
    return found


def test_every_step_is_raced_alone_added_and_together() -> None:
    plan = plan_ablation(BASE, BEST)
    assert list(plan.variants) == [BASELINE, "engine", "precision", "settings", "engine + precision", TOGETHER]
    assert plan.variants["engine"].spec == TrialSpec("model", "data", "openvino", "f32", "latency")
    assert plan.variants["precision"].quantized
    assert plan.variants["settings"].spec == TrialSpec("model", "data", "onnxruntime", "f32", "latency", {"threads": 1})
    assert plan.variants[TOGETHER].spec == BEST


def test_the_product_of_the_steps_times_the_interaction_is_the_whole() -> None:
    plan = plan_ablation(BASE, BEST)
    found = summarize(plan, compared(engine=1.4, precision=1.5, settings=1.1, engine__precision=2.6, together=2.8))
    alone = [step["alone"]["point"] for step in found["steps"]]
    assert math.prod(alone) * found["interaction"] == pytest.approx(found["together"]["point"])
    assert [step["added"]["point"] for step in found["steps"]] == [1.4, 2.6, 2.8]
    assert "21% more than their product (2.31)" in found["words"]


def test_a_product_within_the_intervals_is_no_interaction() -> None:
    plan = plan_ablation(BASE, BEST)
    found = summarize(plan, compared(engine=2.0, precision=1.5, settings=1.0, engine__precision=3.0, together=3.0))
    assert "as far as can be told" in found["words"]


def test_a_step_that_changed_nothing_says_so() -> None:
    only_engine = TrialSpec("model", "data", "native", "f32", "latency")
    plan = plan_ablation(BASE, only_engine)
    assert list(plan.variants) == [BASELINE, TOGETHER]
    found = summarize(plan, compared(together=1.5))
    engine, precision, settings = found["steps"]
    assert engine["alone"]["point"] == engine["added"]["point"] == 1.5
    assert precision["alone"] is None
    assert "f32" in precision["why_not"]
    assert "defaults" in settings["why_not"]
    assert found["interaction"] == pytest.approx(1.0)
    assert found["words"].endswith("all that was gained")


class Contender:
    """A made-up worker; its settings are what its spec says, over defaults of 2 threads."""

    def __init__(self, spec: TrialSpec):
        self.spec, self.closed = spec, False
        self.remote = SimpleNamespace(settings={"threads": 2, **spec.settings})

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *exception: object) -> None:
        self.closed = True


class Job:
    """A job with a baseline, a budget and files; every open contender is remembered."""

    def __init__(self, best: TrialSpec, *, remaining: float | None = None):
        self.opened: list[Contender] = []
        self.baseline = SimpleNamespace(spec=BASE)
        self.budget = SimpleNamespace(seconds=remaining, remaining=remaining or math.inf, patience=lambda: 10.0)
        self.narrator = SimpleNamespace(progress=lambda words: None)
        self.original, self.objective, self.timed_inputs = "original", "latency", []
        self.best = best

    def saved(self, model: object) -> str:
        return "quantized"

    def opening_seconds(self, engine: str) -> float:
        return 1.0

    def shortest_race(self) -> float:
        return 0.1

    def open(self, spec: TrialSpec, *ignored: object, **options: object) -> Contender:
        self.opened.append(Contender(spec))
        return self.opened[-1]

    def confirmed(self, *, gained: bool = True) -> Any:
        return SimpleNamespace(
            gained=gained,
            form=SimpleNamespace(spec=self.best, model=None),
            open_before=lambda job: self.open(BASE),
            open_after=lambda job: self.open(self.best),
        )


def run(monkeypatch: pytest.MonkeyPatch, job: Any, **options: Any) -> Any:
    raced: dict[str, Any] = {}

    def race(contenders: dict[str, Contender], *, seconds: float, kind: str) -> dict[str, Compared]:
        raced.update(contenders)
        return compared(**{name.replace(" + ", "__"): 1.2 for name in contenders if name != BASELINE})

    monkeypatch.setattr(ablation, "race", race)
    monkeypatch.setattr(ablation, "open_contender", options.get("opening", job.open))
    return ablate(job, job.confirmed()), raced


def test_what_the_baseline_has_by_default_is_not_raced(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(TrialSpec("model", "data", "openvino", "int8", "latency", {"threads": 2}))
    found, raced = run(monkeypatch, job)
    assert "settings" not in raced
    assert "threads 2 is what onnxruntime has by default" in found["steps"][2]["why_not"]
    assert found["interaction"] == pytest.approx(1.2 / 1.44)
    assert all(one.closed for one in job.opened)


def test_a_step_that_cannot_run_alone_says_why_and_leaves_no_interaction(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(BEST)

    def opening(spec: TrialSpec, *ignored: object, **options: object) -> Contender:
        if (spec.engine, spec.precision) == ("onnxruntime", "int8"):
            raise EngineError("engine.compile", "the engine failed to compile the model", hint="another engine")
        return job.open(spec)

    found, raced = run(monkeypatch, job, opening=opening)
    assert "precision" not in raced
    assert found["steps"][1]["alone"] is None
    assert "failed to compile" in found["steps"][1]["why_not"]
    assert found["steps"][1]["added"]["point"] == pytest.approx(1.2)
    assert found["interaction"] is None
    assert "no interaction is known" in found["words"]
    assert all(one.closed for one in job.opened)


def test_nothing_gained_has_no_ablation_and_no_time_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    job: Any = Job(BEST)
    assert ablate(job, job.confirmed(gained=False)) is None
    with pytest.raises(LimitError) as caught:
        run(monkeypatch, Job(BEST, remaining=5.0))
    assert caught.value.code == "limit.budget"
