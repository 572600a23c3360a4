"""How many samples to run: worked out, and simulated."""

from __future__ import annotations

import math

import numpy as np
import pytest

from strop.errors import UsageError
from strop.measure.statistics import paired_difference
from strop.model.specs import TensorSpec
from strop.quality.comparison import plan_from
from strop.quality.contract import Sample
from strop.quality.data import open_data
from strop.quality.evaluate import Evaluation, evaluate
from strop.quality.metrics.registry import get_metric
from strop.quality.sample_size import plan_samples


def test_half_a_point_takes_seven_thousand_samples_where_three_in_a_hundred_flip() -> None:
    # ((1.645 + 0.842) / 0.005)^2 * 0.03 = 7419, a little more as the score test has it
    plan = plan_samples(0.005)
    assert plan.needed == 7600
    assert plan_samples(0.005, deviation=math.sqrt(0.03)).needed == 7500
    assert plan.words.startswith("to certify a drop of at most 0.5 points (95%) run about 7,600 samples")
    assert "too few" in plan_samples(0.005, have=1000).words
    assert "too few" not in plan_samples(0.005, have=8000).words
    # four times as many for half the limit, and a loss eats into the room
    assert plan_samples(0.01).needed == pytest.approx(7419 / 4, rel=0.1)
    assert plan_samples(0.01, drop=0.005).needed == pytest.approx(7419, rel=0.06)


def test_no_plan_is_below_the_rule_of_three_and_none_certifies_what_is_lost_already() -> None:
    assert plan_samples(0.01, flipped=0.0).needed >= 300  # log(0.05) / log(0.99) = 298
    assert plan_samples(0.01, drop=0.01).needed is None
    assert "no number of samples" in plan_samples(0.01, drop=0.02).words
    with pytest.raises(UsageError):
        plan_samples(0.0)


@pytest.mark.parametrize(("flipped", "limit", "drop"), [(0.03, 0.02, 0.0), (0.06, 0.03, 0.005), (0.1, 0.04, 0.01)])
def test_the_planned_number_certifies_as_often_as_promised(flipped: float, limit: float, drop: float) -> None:
    plan = plan_samples(limit, flipped=flipped, drop=drop)
    assert plan.needed is not None
    generator = np.random.default_rng(0)
    ones, certified, runs = np.ones(plan.needed), 0, 200
    for _ in range(runs):
        lost, gained, _same = generator.multinomial(
            plan.needed, [(flipped + drop) / 2, (flipped - drop) / 2, 1 - flipped]
        )
        a, b = np.zeros(plan.needed), np.zeros(plan.needed)
        a[:lost] = 1
        b[lost : lost + gained] = 1
        found = paired_difference(np.column_stack([a, ones]), np.column_stack([b, ones]))
        certified += -found.lower_bound <= limit
    # three standard errors around the promised 80 %, and what rounding adds
    assert 0.8 - 3 * (0.16 / runs) ** 0.5 <= certified / runs <= 0.9


def _evaluated(hits, metric="top1") -> Evaluation:
    samples = [Sample(str(i), {"x": np.array([[1.0 - hit, hit]], np.float32)}, 1) for i, hit in enumerate(hits)]
    data = open_data(samples, inputs=(TensorSpec("x", "float32", (None, 2)),))
    return evaluate(lambda i: i, data, decode=lambda o, i: int(o["x"].argmax()), metric=get_metric(metric))


def test_a_plan_from_a_pilot_uses_what_was_seen() -> None:
    a, b = np.ones(200), np.ones(200)
    a[:4], b[4:8] = 0, 0  # 8 flips, nothing lost on average: s^2 = 0.04
    plan = plan_from(_evaluated(a), _evaluated(b), 0.01, have=500)
    assert plan.needed == pytest.approx((2.4865 / 0.01) ** 2 * 0.04, rel=0.12)
    assert "4 % of them flip, as seen on 200 samples" in plan.words and "there are 500, too few" in plan.words
    nothing = plan_from(_evaluated(a), _evaluated(a), 0.01)
    assert nothing.needed is not None and nothing.needed > 300  # what 200 samples did not show may still flip
    of_all = plan_from(_evaluated(a, "recall"), _evaluated(b, "recall"), 0.01)
    assert of_all.needed == pytest.approx(plan.needed, rel=0.4)  # by its bootstrap
