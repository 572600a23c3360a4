from __future__ import annotations

import threading

import pytest

import strop
from strop.errors import UsageError
from strop.measure.stage_times import divide
from strop.measure.stages import Recorder, Span, listening, stage
from strop.testing.clock import FakeClock


def test_nobody_listening_hears_nothing_and_makes_nothing() -> None:
    assert stage("a") is stage("b")
    with stage("a"):
        pass


def test_the_public_name_is_this_one() -> None:
    assert strop.stage is stage


def test_nested_stages_are_named_by_the_way_to_them_and_not_counted_twice() -> None:
    clock = FakeClock()
    recorder = Recorder(clock=clock)
    with listening(recorder):
        begin = clock.now()
        with stage("run"):
            clock.advance(1.0)
            with stage("copy"):
                clock.advance(2.0)
            clock.advance(3.0)
        clock.advance(4.0)
        end = clock.now()
    times = divide(recorder.spans, begin=begin, end=end, thread=threading.get_ident())
    assert times.wall == {("run",): 4.0, ("run", "copy"): 2.0}
    assert times.unmarked == 4.0
    assert sum(times.wall.values()) + times.unmarked == times.seconds


def test_a_stage_that_raises_is_recorded_and_the_exception_goes_on() -> None:
    clock = FakeClock()
    recorder = Recorder(clock=clock)
    with listening(recorder):
        with pytest.raises(ZeroDivisionError), stage("decode"):
            clock.advance(1.0)
            raise ZeroDivisionError
        with stage("decode"):
            clock.advance(2.0)
    assert [(span.path, span.end - span.start, span.failed) for span in recorder.spans] == [
        (("decode",), 1.0, True),
        (("decode",), 2.0, False),
    ]


def test_stages_of_other_threads_count_while_the_main_one_is_in_none() -> None:
    main, first, second = 1, 2, 3
    spans = [
        Span(("decode",), first, 0.0, 4.0, 0.0, False),
        Span(("fetch",), second, 2.0, 4.0, 0.0, False),
        Span(("run",), main, 3.0, 5.0, 0.0, False),
    ]
    times = divide(spans, begin=0.0, end=6.0, thread=main)
    assert times.wall == {("decode",): 2.5, ("fetch",): 0.5, ("run",): 2.0}
    assert times.busy == {("decode",): 4.0, ("fetch",): 2.0, ("run",): 2.0}
    assert times.unmarked == 1.0


def test_stages_in_threads_nest_for_themselves() -> None:
    recorder = Recorder()

    def work() -> None:
        with stage("b"):
            pass

    with listening(recorder), stage("a"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert {span.path for span in recorder.spans} == {("a",), ("b",)}


def test_stages_of_two_tasks_may_end_in_another_order() -> None:
    recorder = Recorder()
    with listening(recorder):
        first, second = stage("a"), stage("b")
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        with stage("c"):
            pass
    assert [span.path for span in recorder.spans] == [("a",), ("a", "b"), ("c",)]


def test_a_stage_that_takes_no_time_leaves_nothing_open() -> None:
    spans = [Span(("a",), 1, 1.0, 1.0, 0.0, False), Span(("b",), 1, 2.0, 3.0, 0.0, False)]
    times = divide(spans, begin=0.0, end=4.0, thread=1)
    assert times.wall == {("a",): 0.0, ("b",): 1.0}
    assert times.calls == {("a",): 1, ("b",): 1}
    assert times.unmarked == 3.0


def test_what_lies_outside_of_the_time_asked_for_is_cut_off() -> None:
    spans = [Span(("a",), 1, 0.0, 10.0, 0.0, False), Span(("b",), 1, 20.0, 21.0, 0.0, False)]
    assert divide(spans, begin=4.0, end=6.0, thread=1).wall == {("a",): 2.0}


def test_a_stage_needs_a_name() -> None:
    with listening(Recorder()), pytest.raises(UsageError) as caught:
        stage("")
    assert caught.value.code == "usage.bad-option"


def test_two_breakdowns_at_once_are_refused_and_the_first_goes_on() -> None:
    recorder = Recorder()
    with listening(recorder):
        with pytest.raises(UsageError), listening(Recorder()):
            pass
        with stage("a"):
            pass
    assert len(recorder.spans) == 1


def test_threads_that_take_turns_are_in_a_stage_one_at_a_time() -> None:
    recorder = Recorder(turns={"wide": 2})
    inside, most = {"narrow": 0, "wide": 0}, {"narrow": 0, "wide": 0}
    lock = threading.Lock()
    both = threading.Barrier(2)

    def work() -> None:
        recorder.take_turns()
        for name in ("narrow", "wide"):
            for _ in range(20):
                with stage(name):
                    with lock:
                        inside[name] += 1
                        most[name] = max(most[name], inside[name])
                    if name == "wide":
                        both.wait(10)  # only two inside at once get past this
                    with lock:
                        inside[name] -= 1

    with listening(recorder):
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == {"narrow": 1, "wide": 2}
