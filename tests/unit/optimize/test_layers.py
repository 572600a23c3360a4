"""Time per operation: limits worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from strop.compiler.probe import Attainable
from strop.errors import LimitError
from strop.model.cost import NodeCost
from strop.optimize import layers

RATES = Attainable({"level": 100e9}, {"level": 400e9}, {"L1": 100e9, "L2": 50e9, "L3": 20e9, "memory": 10e9})


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    here = SimpleNamespace(isa="level", caches={"L1d": 1000, "L2": 100_000, "L3": 1_000_000})
    monkeypatch.setattr(layers, "machine", lambda: here)


def cost(macs: int | None, read: int, written: int) -> NodeCost:
    return NodeCost("n", "Conv", macs, read, written, 0)


@pytest.mark.parametrize(
    ("costs", "threads", "limit"),
    [
        ([cost(50_000_000, 500, 400)], 1, (1e-3, "arithmetic")),  # 1e8 operations at 1e11 a second
        ([cost(50_000_000, 500, 400)], 2, (0.5e-3, "arithmetic")),
        ([cost(10, 30_000, 20_000)], 1, (1e-6, "memory")),  # 50 kB from L2
        ([cost(10, 4_000_000, 1_000_000)], 1, (5e-4, "memory")),  # 5 MB from memory
        ([cost(10, 40_000, 0), cost(0, 40_000, 10_000)], 1, (1e-6, "memory")),  # fused: the larger node's bytes alone
        ([cost(None, 10, 10)], 1, (None, None)),
        ([], 1, (None, None)),
    ],
)
def test_a_limit_is_the_longer_of_arithmetic_and_bytes(
    costs: list[NodeCost], threads: int, limit: tuple[float | None, str | None]
) -> None:
    seconds, bound = layers._limit("Conv" if any(one.macs for one in costs) else "Add", costs, RATES, threads)
    assert bound == limit[1]
    assert seconds == (limit[0] if limit[0] is None else pytest.approx(limit[0]))


def test_without_rates_there_is_no_limit() -> None:
    assert layers._limit("Conv", [cost(5, 5, 5)], None, 1) == (None, None)
    assert layers._limit("Conv", [cost(5, 5, 5)], Attainable(), 1) == (None, None)


@pytest.mark.parametrize(("kind", "macs"), [("Conv", 0), ("Reorder", 50_000_000)])
def test_an_operation_that_is_not_what_its_nodes_say_has_no_limit(kind: str, macs: int) -> None:
    assert layers._limit(kind, [cost(macs, 500, 400)], RATES, 1) == (None, None)


@pytest.mark.parametrize(
    ("percent", "ms", "flops", "bound"),
    [(50.0, 2.0, 1e8, "arithmetic"), (25.0, 1.0, 1e8, "arithmetic"), (50.0, 4.0, 1e8, "memory")],
)
def test_what_bounds_a_native_operation_is_told_from_its_rates(
    percent: float, ms: float, flops: float, bound: str
) -> None:
    row: dict[str, Any] = {"name": "n", "kernel": "k", "ms": ms, "percent_of_limit": percent, "flops": flops}
    found = layers._explained_row(row, RATES.to_json(), "level", 2)
    assert found["bound"] == bound
    assert found["percent_of_limit"] == percent / 2  # of what two threads attain


def test_a_short_budget_is_a_limit_and_not_a_guess() -> None:
    job: Any = SimpleNamespace(budget=SimpleNamespace(remaining=3.0), opening_seconds=lambda engine: 1.0)
    spec = SimpleNamespace(engine="openvino", batch=1)
    confirmed: Any = SimpleNamespace(form=SimpleNamespace(spec=spec), report={"settings": {}})
    with pytest.raises(LimitError) as caught:
        layers.layers(job, confirmed)
    assert caught.value.code == "limit.budget"
