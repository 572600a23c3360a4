from __future__ import annotations

import pytest

from strop.errors import UsageError
from strop.optimize.budget import Budget, parse_seconds
from strop.optimize.limits import parse_drop
from strop.testing.clock import FakeClock


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("3m", 180.0), ("1h", 3600.0), ("45", 45.0), ("1.5m", 90.0)]
)
def test_a_budget_is_read_with_its_unit(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "0", "-3s", "3 days", "nan"])
def test_a_budget_that_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_seconds(text)
    assert caught.value.code == "usage.bad-option"


def test_the_confirmations_share_is_reserved_from_the_start() -> None:
    clock = FakeClock()
    budget = Budget(100.0, clock=clock)
    assert budget.for_search == pytest.approx(65.0)
    clock.advance(50.0)
    assert budget.remaining == pytest.approx(50.0)
    assert budget.for_search == pytest.approx(15.0)


def test_a_budget_counts_from_when_the_command_began() -> None:
    clock = FakeClock()
    clock.advance(10.0)
    assert Budget(60.0, started=clock.now() - 4.0, clock=clock).remaining == pytest.approx(56.0)


def test_without_a_budget_nothing_runs_out() -> None:
    budget = Budget(None, clock=FakeClock())
    assert budget.for_search == float("inf")


@pytest.mark.parametrize(
    ("text", "relative", "limit"), [("1%", False, 0.01), ("0.01", False, 0.01), (0.5, False, 0.5), ("2%", True, 0.02)]
)
def test_a_drop_is_read_as_a_share_or_as_a_number(text: str | float, relative: bool, limit: float) -> None:
    assert parse_drop(text, is_fraction=True, relative=relative) == pytest.approx(limit)


def test_a_percentage_of_a_metric_that_is_no_fraction_is_ambiguous() -> None:
    with pytest.raises(UsageError, match="ambiguous"):
        parse_drop("1%", is_fraction=False)
    assert parse_drop("1%", is_fraction=False, relative=True) == pytest.approx(0.01)


@pytest.mark.parametrize("text", ["-1%", "much", "inf", "nan", ""])
def test_a_drop_that_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_drop(text, is_fraction=True)
