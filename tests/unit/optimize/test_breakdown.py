"""The breakdown's arithmetic on a fake clock, and what it says about applications of different kinds."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import pytest

from strop.errors import DataError, UsageError
from strop.measure.applications import Supply
from strop.measure.stages import stage
from strop.optimize.breakdown import Subject, break_down, breakdown
from strop.optimize.breakdown_figures import gap, gap_in_words, predict, workers_for
from strop.report.breakdown import bar, breakdown_lines, breakdown_table
from strop.testing.clock import FakeClock

Rows = list[dict[str, Any]]


def rows(**milliseconds: float) -> Rows:
    return [{"name": name.replace("_", " "), "ms": ms} for name, ms in milliseconds.items()]


def broken_down(clock: FakeClock, **seconds: float) -> dict[str, Any]:
    """Breaks an application down whose stages take so long; `rest` is outside of all."""

    def application(item: object) -> None:
        for name, each in seconds.items():
            if name == "rest":
                clock.advance(each)
            else:
                with stage(name):
                    clock.advance(each)

    subject = Subject("app.py:app", application, Supply([1], "here"))
    return break_down(subject, items=10, overlap=False, clock=clock)


def test_stages_sum_to_the_wall_time_and_the_slowest_is_named() -> None:
    document = broken_down(FakeClock(), decode=0.004, run=0.003, rest=0.001)
    assert document["item_ms"] == pytest.approx(8.0)
    assert {row["name"]: round(row["ms"], 6) for row in document["stages"]} == {
        "next item": 0.0,
        "decode": 4.0,
        "run": 3.0,
        "Python overhead": 1.0,
    }
    assert document["sum_off"] < 1e-9
    assert document["bottleneck"] == "decode"
    assert document["per_second"] == pytest.approx(125.0)


def test_without_a_model_the_stage_that_runs_it_is_the_benchmark() -> None:
    document = broken_down(FakeClock(), decode=0.004, run=0.004, rest=0.002)
    assert document["gap"]["benchmark_per_second"] == pytest.approx(250.0)
    assert document["gap"]["app_per_second"] == pytest.approx(100.0)
    said = "the benchmark says 250 a second, your app gets 100; of the 6 ms more an item: decode 4 ms (67%)"
    assert document["gap"]["words"].startswith(said)


def test_marks_that_are_not_there_are_told() -> None:
    document = broken_down(FakeClock(), rest=0.002)
    assert document["bottleneck"] == "Python overhead"
    assert document["gap"] is None
    assert [text for text in document["warnings"] if "marks no stages" in text]


def test_the_causes_sum_to_the_gap() -> None:
    found = gap(rows(decode=4.0, copy_in=0.5, run=3.4, Python_overhead=0.6), benchmark_ms=3.1, item_ms=8.5, run="run")
    assert sum(cause["ms"] for cause in found["causes"]) == pytest.approx(found["lost_ms"]) == pytest.approx(5.4)
    assert sum(cause["share"] for cause in found["causes"]) == pytest.approx(1.0)
    assert found["causes"][0]["name"] == "decode"
    assert "323 a second, your app gets 118" in gap_in_words(found)


def test_a_model_that_is_quicker_in_the_application_is_told_as_such() -> None:
    found = gap(rows(decode=4.0, run=2.0), benchmark_ms=3.0, item_ms=6.0, run="run")
    assert sum(cause["ms"] for cause in found["causes"]) == pytest.approx(3.0)
    assert "decode 4 ms (133%), run takes less than in the benchmark -1 ms (-33%)" in gap_in_words(found)


def test_an_application_as_fast_as_its_benchmark_loses_nothing() -> None:
    found = gap(rows(run=3.0, Python_overhead=0.001), benchmark_ms=3.0, item_ms=3.001, run="run")
    assert "nothing is lost" in gap_in_words(found)


def test_the_slowest_stage_limits_a_pipeline_not_the_sum() -> None:
    found = predict(rows(decode=10.0, run=10.0, post=1.0), cpu_ms=0.1, cores=2)
    assert found["per_second"] == pytest.approx(100.0)
    assert (found["slowest_stage"], found["limit"]) == ("decode", "slowest stage")


def test_cores_that_are_busy_limit_a_pipeline_too() -> None:
    found = predict(rows(decode=10.0, run=10.0), cpu_ms=30.0, cores=2)
    assert found["per_second"] == pytest.approx(2 / 0.030)
    assert found["limit"] == "cores"


def test_a_stage_that_serves_two_at_once_counts_half() -> None:
    assert predict(rows(decode=4.0, run=10.0), cpu_ms=0, cores=2, turns={"run": 2})["per_second"] == pytest.approx(200)


def test_nested_stages_count_to_the_outer_one_in_a_pipeline() -> None:
    nested = [{"name": "run", "ms": 2.0}, {"name": "run > copy", "ms": 3.0}, {"name": "decode", "ms": 4.0}]
    assert predict(nested, cpu_ms=0.0, cores=1)["slowest_stage"] == "run"


@pytest.mark.parametrize(
    ("milliseconds", "workers"), [((10.0, 10.0), 3), ((1.0, 10.0), 3), ((5.0, 5.0, 5.0), 4), ((10.0,), 2), ((), 2)]
)
def test_as_many_items_are_under_way_as_keep_the_slowest_stage_busy(
    milliseconds: tuple[float, ...], workers: int
) -> None:
    assert workers_for([{"name": str(index), "ms": ms} for index, ms in enumerate(milliseconds)]) == workers


def test_advice_names_the_bottleneck_first() -> None:
    document = broken_down(FakeClock(), decode=0.004, run=0.001)
    assert "decode is the bottleneck (80%)" in document["advice"][0]
    document = broken_down(FakeClock(), decode=0.001, run=0.004)
    assert "the model is the bottleneck" in document["advice"][0]


def test_items_that_fail_are_told() -> None:
    clock = FakeClock()
    calls = iter(range(99))

    def application(item: object) -> None:
        with stage("run"):
            clock.advance(0.01)
            if next(calls) == 5:
                raise ValueError("the sixth")

    subject = Subject("app.py:app", application, Supply([1], "here"))
    document = break_down(subject, items=10, overlap=False, clock=clock)
    assert document["failed_items"] == 1
    assert [text for text in document["warnings"] if "the sixth" in text]


def test_an_application_that_several_threads_cannot_call_is_told_and_nothing_is_lost() -> None:
    first = threading.get_ident()

    def application(item: object) -> None:
        with stage("decode"):
            threading.Event().wait(0.001)
        with stage("run"):
            threading.Event().wait(0.001)
            if threading.get_ident() != first:
                raise RuntimeError("only the main thread")

    subject = Subject("app.py:app", application, Supply([1], "here"))
    document = break_down(subject, items=10)
    assert document["items"] == 10
    assert "only the main thread" in document["overlap"]["skipped"]


def test_the_table_shows_a_bar_a_stage_and_lines_say_the_rest() -> None:
    from rich.console import Console

    document = broken_down(FakeClock(), decode=0.006, run=0.002)
    shown = io.StringIO()
    Console(width=120, file=shown).print(breakdown_table(document))
    assert all(text in shown.getvalue() for text in ("decode", "75.0%", "█" * 22))
    lines = breakdown_lines(document)
    assert lines[0].startswith("the benchmark says 500 a second, your app gets 125")
    assert "overlapped: not wanted" in lines
    assert bar(2.0, 3) == "███" and bar(-1.0, 3) == ""


def write(folder: Path, text: str) -> str:
    (folder / "application.py").write_text(text)
    return str(folder / "application.py")


def test_what_cannot_be_run_says_what_to_do(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "async def later(item): pass\napp = 3\ndef lonely(item): pass\ndef broken(item): raise ValueError('no')\n",
    )
    with pytest.raises(DataError) as caught:
        breakdown(f"{path}:app")
    assert caught.value.code == "data.plugin"
    with pytest.raises(DataError, match="coroutine"):
        breakdown(f"{path}:later")
    with pytest.raises(UsageError) as refused:
        breakdown(f"{path}:lonely")
    assert "items()" in refused.value.hint
    np_file = tmp_path / "x.txt"
    np_file.write_text("no array")
    with pytest.raises(DataError) as unread:
        breakdown(f"{path}:lonely", data=str(np_file))
    assert unread.value.code == "data.format"
    with pytest.raises(DataError) as raised:
        breakdown(f"{path}:broken", data=str(tmp_path), items=3)
    assert "ValueError: no" in str(raised.value)
    with pytest.raises(UsageError):
        breakdown(f"{path}:lonely", seconds=0.0)
