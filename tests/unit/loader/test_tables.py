"""How a plan is shared out over threads."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from strop.loader.plan import Argument, Plan, Task, Tensor
from strop.loader.tables import Addresses, build_table, divide, entries_of, is_divisible

units_, grains, teams = st.integers(1, 1000), st.integers(1, 50), st.integers(1, 9)


@given(units_, grains, teams)
def test_ranges_cover_all_units_once_in_order_and_in_whole_grains(units: int, grain: int, threads: int) -> None:
    ranges = [divide(units, grain, thread, threads) for thread in range(threads)]
    assert ranges[0][0] == 0 and ranges[-1][1] == units
    for (_, end), (begin, _) in itertools.pairwise(ranges):
        assert end == begin
        assert begin % grain == 0 or begin == units
    sizes = [-(-(end - begin) // grain) for begin, end in ranges]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(2, 9))
def test_what_cannot_be_divided_is_run_by_the_calling_thread(threads: int) -> None:
    assert divide(1, 1, 0, threads) == (0, 1)
    assert divide(5, 8, 0, threads) == (0, 5)
    assert all(begin == end for begin, end in (divide(5, 8, thread, threads) for thread in range(1, threads)))


@given(st.integers(2, 9), st.integers(0, 20))
def test_what_cannot_be_divided_may_be_for_another_thread(threads: int, alone: int) -> None:
    ranges = [divide(5, 8, thread, threads, alone) for thread in range(threads)]
    assert ranges[alone % threads] == (0, 5)
    assert sum(end - begin for begin, end in ranges) == 5
    plan = plan_of(Task("a", "a", ()), Task("b", "b", (), wait=False, thread=alone))
    assert is_divisible(plan) == (alone > 0)
    tasks = [[entry.task for entry in entries_of(plan, thread, threads)] for thread in range(threads)]
    assert [task for row in tasks for task in row].count(2) == 1 and 2 in tasks[alone % threads]


def plan_of(*tasks: Task) -> Plan:
    return Plan("generic", (Tensor("x", "float32", (4,)),), (Tensor("y", "float32", (4,)),), tasks, arena=64, weights=8)


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=6), st.integers(2, 4))
def test_all_threads_meet_the_same_barriers(shape: list[tuple[int, bool]], threads: int) -> None:
    plan = plan_of(*(Task("t", "t", (), units=units, wait=wait) for units, wait in shape))
    everyone = [entries_of(plan, thread, threads) for thread in range(threads)]
    assert len({sum(entry.task == 0 for entry in entries) for entries in everyone}) == 1
    for number, (units, wait) in enumerate(shape, 1):
        # Between a task that waits and every one before it there is a barrier, on each thread.
        parts = [entry.end - entry.begin for entries in everyone for entry in entries if entry.task == number]
        assert sum(parts) == units
        for entries in everyone:
            tasks = [entry.task for entry in entries]
            if wait and number > 1 and number in tasks:
                before = [place for place, task in enumerate(tasks) if 0 < task < number]
                assert not before or 0 in tasks[before[-1] : tasks.index(number)]


def test_one_thread_needs_no_barrier() -> None:
    plan = plan_of(Task("a", "a", (), units=3), Task("b", "b", ()))
    assert [entry.task for entry in entries_of(plan, 0, 1)] == [1, 2]
    assert is_divisible(plan)
    assert not is_divisible(plan_of(Task("a", "a", (), units=8, grain=8)))


def test_a_table_holds_resolved_words_and_knows_what_changes_with_each_call() -> None:
    arguments = (
        Argument("arena", 8),
        Argument("weights", 4),
        Argument("workspace", 0),
        Argument("output", 12, 0),
        Argument("begin"),
        Argument("end"),
        Argument("number", -7),
        Argument("input", 0, 0),
    )
    plan = plan_of(Task("a", "a", arguments, offset=256, units=10))
    addresses = Addresses(code=1 << 20, arena=2 << 20, weights=3 << 20, workspace=4 << 20, barrier=5, team=6)
    table = build_table(plan, addresses, thread=1, threads=2)
    words = table.words.slice(0, 12).tolist()
    assert words[:3] == [(1 << 20) + 256, 8 * 11, 1]
    assert words[3:11] == [(2 << 20) + 8, (3 << 20) + 4, 4 << 20, 0, 5, 10, -7, 0]
    assert words[11] == 0
    assert table.patch_count == 2
    assert table.patches.slice(0, 6).tolist() == [
        *(table.words.address + 8 * 6, 1, 12),
        *(table.words.address + 8 * 10, 0, 0),
    ]
