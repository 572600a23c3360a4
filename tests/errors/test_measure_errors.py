from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from strop.errors import MeasurementError, UsageError, WorkerError
from strop.measure import compare, measure_latency
from strop.measure.blocks import block
from strop.measure.first_inference import first_inference
from strop.measure.load import measure_throughput
from strop.measure.memory import leak_slope
from strop.measure.statistics import median_estimate, paired_difference, percentile, proportion
from strop.measure.turns import wait_until_idle
from strop.measure.worker import Worker
from strop.testing.clock import FakeClock


@pytest.fixture(autouse=True)
def _hosted_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[1] / "unit" / "measure"), *sys.path])


def nothing() -> None:
    pass


@pytest.mark.parametrize(
    ("options", "message"),
    [({"seconds": 0}, "seconds must be above 0"), ({"margin": 1.5}, "margin is out"), ({"level": 0.3}, "level is out")],
)
def test_an_option_out_of_range_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        compare({"a": nothing, "b": nothing}, **options)
    assert caught.value.code == "usage.bad-option"
    assert message in str(caught.value)
    assert "for the default" in caught.value.hint


def test_other_options_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="iterations must be above 0"):
        measure_latency(block(nothing), iterations=0)
    with pytest.raises(UsageError, match="requests must be above 0"):
        measure_throughput(lambda number: None, requests=0, seconds=1.0)  # type: ignore[arg-type,return-value]
    with pytest.raises(UsageError, match="at least 5 fresh processes"):
        first_inference("hosted_examples:example", repeats=3)
    for q in (0, 101):
        with pytest.raises(UsageError, match="above 0 and at most at 100"):
            percentile([1.0], q)
    with pytest.raises(UsageError) as caught:
        paired_difference(np.ones((3, 2)), np.ones((4, 2)))
    assert caught.value.hint == "evaluate both on the same samples"


def test_one_callable_alone_is_no_comparison() -> None:
    with pytest.raises(UsageError) as caught:
        compare({"a": nothing})
    assert caught.value.code == "usage.too-few-engines"
    assert "at least two" in str(caught.value)
    assert caught.value.hint == "name two"


def test_threads_that_do_not_rest_are_named_with_what_to_do() -> None:
    clock = FakeClock()
    clock.spin(60.0)
    with pytest.raises(MeasurementError) as caught:
        wait_until_idle([], clock=clock)
    assert caught.value.code == "measure.not-idle"
    assert "do not come to rest" in str(caught.value)
    assert "got: 100% of a core, 1 threads ready to run, 1.0 s after the last request" in str(caught.value)
    assert "spinning" in caught.value.hint


def test_too_few_samples_are_named_with_what_to_do() -> None:
    for attempt in (
        lambda: median_estimate([]),
        lambda: proportion(0, 0),
        lambda: leak_slope([(1, 1)]),
        lambda: paired_difference(np.ones((0, 2)), np.ones((0, 2))),
    ):
        with pytest.raises(MeasurementError) as caught:
            attempt()
        assert caught.value.code == "measure.too-few"
        assert caught.value.hint in ("run for longer", "give data", "take more", "give more data")


@pytest.mark.parametrize(
    ("method", "argument", "said"),
    [("die", {"number": 9}, "signal 9 (SIGKILL); it said: my last words"), ("leave", {"code": 3}, "exit code 3")],
)
def test_a_dead_worker_says_how_it_ended(method: str, argument: dict[str, int], said: str) -> None:
    with Worker("hosted_examples:example") as worker, pytest.raises(WorkerError) as caught:
        worker.call(method, **argument)
    assert caught.value.code == "worker.died"
    assert f"ended by itself during {method!r}" in str(caught.value)
    assert said in str(caught.value)
    assert "lack of memory" in caught.value.hint


def test_a_silent_worker_is_stopped() -> None:
    with Worker("hosted_examples:example") as worker, pytest.raises(WorkerError) as caught:
        worker.call("hang", timeout=0.1)
    assert caught.value.code == "worker.timeout"
    assert "did not answer 'hang' in time" in str(caught.value)
    assert caught.value.hint == "give it more time, or a smaller model"
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


def test_an_exception_in_a_worker_brings_its_traceback() -> None:
    with Worker("hosted_examples:example") as worker, pytest.raises(WorkerError) as caught:
        worker.call("crash")
    assert caught.value.code == "worker.failed"
    assert "got: ZeroDivisionError: by nothing" in str(caught.value)
    assert "report it" in caught.value.hint
    assert "hosted_examples.py" in caught.value.__notes__[0]


def test_a_worker_that_cannot_be_started_says_what_the_system_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(WorkerError) as caught:
        Worker("hosted_examples:example")
    assert caught.value.code == "worker.failed"
    assert "/nowhere/python: a worker process could not be started" in str(caught.value)
    assert "ulimit -u" in caught.value.hint


def test_a_closed_worker_cannot_be_used() -> None:
    worker = Worker("hosted_examples:example")
    worker.close()
    for use in (worker.memory, worker.cpu_seconds, lambda: worker.block(1)):
        with pytest.raises(UsageError) as caught:
            use()
        assert caught.value.code == "usage.closed"
        assert "the worker is closed" in str(caught.value)
        assert caught.value.hint == "make a new one"
