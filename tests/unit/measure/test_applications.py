from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest

from strop.errors import DataError
from strop.measure.applications import NEXT, Supply, run_in_turn, run_overlapped
from strop.measure.stages import stage
from strop.testing.clock import FakeClock


def test_stages_and_the_rest_sum_to_the_wall_time() -> None:
    clock = FakeClock()

    def items() -> Iterator[int]:
        for number in range(3):
            clock.advance(0.5)
            yield number

    def application(item: object) -> None:
        with stage("decode"):
            clock.advance(1.0)
        clock.advance(0.25)
        with stage("run"):
            clock.advance(2.0)

    found = run_in_turn(application, Supply(items, "here"), seconds=1.0, items=8, clock=clock)
    assert found.items == 8
    assert found.times.wall == {(NEXT,): 4.0, ("decode",): 8.0, ("run",): 16.0}
    assert found.times.unmarked == 2.0
    assert found.seconds_per_item == 3.75
    assert found.cpu_seconds == 30.0
    assert found.first_seconds == 3.75


def test_it_runs_for_as_long_as_asked_and_at_least_one_item() -> None:
    clock = FakeClock()
    found = run_in_turn(lambda item: clock.advance(1.0), Supply([1], "here"), seconds=5.0, clock=clock)
    assert found.items == 5
    found = run_in_turn(lambda item: clock.advance(9.0), Supply([1], "here"), seconds=5.0, clock=clock)
    assert found.items == 1


def test_items_start_over_when_they_have_run_out() -> None:
    seen: list[object] = []
    run_in_turn(seen.append, Supply(iter("ab"), "here"), seconds=1.0, items=4, clock=FakeClock())
    assert seen == list("ababab")


def test_no_items_at_all_are_an_error() -> None:
    with pytest.raises(DataError) as caught:
        run_in_turn(lambda item: None, Supply([], "here"), seconds=1.0, clock=FakeClock())
    assert caught.value.code == "data.empty"
    assert "items()" in caught.value.hint


def test_an_item_that_fails_is_counted_and_keeps_its_record() -> None:
    clock = FakeClock()

    def application(item: object) -> None:
        with stage("run"):
            clock.advance(1.0)
            if item == 3:
                raise ValueError("three")

    found = run_in_turn(application, Supply(range(6), "here"), seconds=1.0, items=6, clock=clock)
    assert (found.items, found.failures.count, str(found.failures.first)) == (6, 1, "three")
    assert found.times.wall[("run",)] == 6.0
    assert found.times.failed[("run",)] == 1


def test_an_application_that_mostly_fails_is_an_error() -> None:
    calls = itertools.count()

    def application(item: object) -> None:
        if next(calls) >= 2:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_in_turn(application, Supply([1], "here"), seconds=1.0, items=9, clock=FakeClock(cost_per_reading=0.1))


def test_an_interruption_keeps_what_was_measured() -> None:
    clock = FakeClock()

    def application(item: object) -> None:
        if item == 4:
            raise KeyboardInterrupt
        with stage("run"):
            clock.advance(1.0)

    found = run_in_turn(application, Supply(range(9), "here"), seconds=99.0, clock=clock)
    assert found.interrupted
    assert (found.items, found.times.wall[("run",)]) == (2, 2.0)


def test_overlapped_one_item_is_decoded_while_another_runs() -> None:
    decoded, second = itertools.count(1), threading.Event()

    def application(item: object) -> None:
        with stage("decode"):
            if next(decoded) == 2:
                second.set()
        with stage("run"):
            assert second.wait(10)  # the first item gets past this only if another one is decoded meanwhile

    found = run_overlapped(application, Supply(range(40), "here"), workers=2, turns={}, seconds=60.0, items=38)
    assert found.failures.first is None
    assert 38 <= found.completed <= 40
    assert found.per_second is not None and found.per_second > 0


def test_overlapped_too_few_items_give_no_rate() -> None:
    found = run_overlapped(lambda item: None, Supply([1], "here"), workers=2, turns={}, seconds=60.0, items=3)
    assert found.completed >= 3
    assert found.per_second is None


def test_overlapped_failures_are_counted_and_none_hangs() -> None:
    def application(item: object) -> None:
        with stage("run"):
            raise ValueError("broken")

    found = run_overlapped(application, Supply([1], "here"), workers=3, turns={}, seconds=60.0, items=9)
    assert found.completed == 0
    assert str(found.failures.first) == "broken"
