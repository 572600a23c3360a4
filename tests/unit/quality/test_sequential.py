"""Comparisons that may stop early: how often they are wrong, and that they stop."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.model.specs import TensorSpec
from strop.quality.contract import Sample
from strop.quality.data import Data, open_data
from strop.quality.decoders.registry import get_decoder
from strop.quality.evaluate import evaluate
from strop.quality.metrics.registry import get_metric
from strop.quality.sequential import Bets, evaluate_early, parts

SPEC = (TensorSpec("x", "float32", (None, 3)),)


def _ever(limit: float, lost: float, gained: float, *, runs: int, n: int, alpha: float) -> dict[str | None, float]:
    """Returns how often each outcome came first, looked at after every 10 samples."""
    generator = np.random.default_rng(1)
    counts: dict[str | None, int] = {}
    for _ in range(runs):
        bets, outcome = Bets(limit), None
        losses = generator.choice([1.0, -1.0, 0.0], size=n, p=[lost, gained, 1 - lost - gained])
        for start in range(0, n, 10):
            bets.add(losses[start : start + 10])
            outcome = bets.outcome(alpha)
            if outcome is not None:
                break
        counts[outcome] = counts.get(outcome, 0) + 1
    return {outcome: count / runs for outcome, count in counts.items()}


@pytest.mark.parametrize(
    ("limit", "lost", "gained"), [(0.01, 0.01, 0.0), (0.01, 0.03, 0.02), (0.02, 0.12, 0.10), (0.05, 0.05, 0.0)]
)
def test_a_loss_of_just_the_limit_is_wrongly_accepted_or_dropped_no_oftener_than_promised(limit, lost, gained) -> None:
    alpha, runs = 0.1, 400  # a level at which 400 runs can tell
    found = _ever(limit, lost, gained, runs=runs, n=1500, alpha=alpha)
    allowed = alpha + 3 * (alpha * (1 - alpha) / runs) ** 0.5
    assert found.get("within", 0.0) <= allowed and found.get("beyond", 0.0) <= allowed


def test_what_is_far_from_the_limit_is_settled_soon_and_rightly() -> None:
    ruined = _ever(0.01, 0.15, 0.02, runs=100, n=300, alpha=0.025)
    assert ruined.get("beyond", 0.0) >= 0.97 and "within" not in ruined
    same = _ever(0.02, 0.0, 0.0, runs=1, n=400, alpha=0.025)
    assert same == {"within": 1.0}


@given(st.integers(1, 2000), st.integers(0, 3))
def test_parts_are_all_samples_once_and_grow(total: int, seed: int) -> None:
    found = list(parts(total, seed=seed))
    assert sorted(index for part in found for index in part) == list(range(total))
    assert all(part == sorted(part) for part in found)
    assert len(found) <= 8 and all(len(a) <= len(b) for a, b in pairwise(found))


def _data(n: int) -> Data:
    targets = np.arange(n) % 3
    return open_data(
        [Sample(str(i), {"x": np.eye(3, dtype=np.float32)[None, t]}, int(t)) for i, t in enumerate(targets)],
        inputs=SPEC,
    )


class Model:
    """Gives the right answer but to a share of the samples; counts its calls."""

    def __init__(self, wrong: float, seed: int = 0):
        self.wrong, self.calls = wrong, 0
        self._generator = np.random.default_rng(seed)

    def __call__(self, inputs):
        self.calls += 1
        roll = self._generator.random() < self.wrong
        return {"y": np.roll(inputs["x"], 1, axis=1) if roll else inputs["x"]}


@pytest.mark.parametrize("metric", ["top1", "f1_macro"])
@pytest.mark.parametrize("known", [True, False])
def test_a_hopeless_model_is_dropped_after_a_part_of_the_samples(metric: str, known: bool) -> None:
    data, decode, factory = _data(1200), get_decoder("argmax"), get_metric(metric)
    original, ruined = Model(0.0), Model(0.3)
    before = evaluate(original, data, decode=decode, metric=factory) if known else original
    found = evaluate_early(before, ruined, data, decode=decode, metric=factory, max_drop=0.01)
    assert found.outcome == "beyond" and ruined.calls < 400
    assert found.a.keys == found.b.keys and found.a.n == ruined.calls
    assert found.b.value.point == pytest.approx(0.7, abs=0.15)


def test_where_nothing_is_proved_all_samples_are_run() -> None:
    data, decode, factory = _data(300), get_decoder("argmax"), get_metric("top1")
    near = Model(0.01)
    found = evaluate_early(Model(0.0), near, data, decode=decode, metric=factory, max_drop=0.01)
    assert found.outcome is None and near.calls == 300 and found.b.n == 300


def test_a_model_that_loses_nothing_is_accepted_early() -> None:
    data, decode, factory = _data(1500), get_decoder("argmax"), get_metric("top1")
    same = Model(0.0)
    found = evaluate_early(Model(0.0), same, data, decode=decode, metric=factory, max_drop=0.02)
    assert found.outcome == "within" and same.calls < 1000
    relative = evaluate_early(Model(0.0), Model(0.0), data, decode=decode, metric=factory, max_drop=0.02, relative=True)
    assert relative.outcome == "within"


def test_a_part_of_an_evaluation_is_what_those_samples_alone_give() -> None:
    data, decode = _data(30), get_decoder("argmax")
    for metric in ("top1", "recall_macro"):
        model = Model(0.4)
        whole = evaluate(model, data, decode=decode, metric=get_metric(metric))
        part = whole.part([3, 5, 8, 20])
        assert part.keys == ("3", "5", "8", "20") and part.n == 4
        right = [whole.predictions[i] == whole.targets[i] for i in (3, 5, 8, 20)]
        if metric == "top1":
            assert part.value.point == sum(right) / 4
        assert part.metric.value_of(np.array([0, 0])) == whole.metric.value_of(np.array([3, 3]))


def test_a_metric_whose_bootstrap_takes_long_is_not_looked_at_early() -> None:
    data, decode = _data(200), get_decoder("argmax")
    factory = get_metric(lambda predictions, targets: float(np.mean(np.equal(predictions, targets))))
    ruined = Model(0.5)
    found = evaluate_early(Model(0.0), ruined, data, decode=decode, metric=factory, max_drop=0.01)
    assert found.outcome is None and ruined.calls == 200
