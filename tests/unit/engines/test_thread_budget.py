from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from tests.unit.engines.doubling import Doubling

from strop.engines import base, thread_budget
from strop.engines.contract import Settings
from strop.engines.thread_budget import Budget, Lease, lease_of
from strop.errors import UsageError

INPUTS = {"x": np.ones((1, 3), np.float32), "state": np.ones(2, np.float32)}


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> Iterator[Budget]:
    """A budget of two cores in the place of the process's own."""
    mine = Budget(cores=2)
    monkeypatch.setattr(thread_budget, "BUDGET", mine)
    yield mine


class Requests:
    """Starts requests in threads, one after the other; tells who runs, and ends them one by one."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.began: list[str] = []
        self._ends: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()

    def start(self, name: str, lease: Lease, budget: Budget, *, waits: bool) -> None:
        before = len(budget._line)
        self._ends[name] = threading.Event()

        def work() -> None:
            with lease:
                with self._changed:
                    self.running.append(name)
                    self.began.append(name)
                    self._changed.notify_all()
                self._ends[name].wait(10)
                with self._changed:
                    self.running.remove(name)

        thread = threading.Thread(target=work)
        self._threads.append(thread)
        thread.start()
        if waits:
            while len(budget._line) == before:
                threading.Event().wait(0.001)
        else:
            self.wait_for(name)

    def wait_for(self, name: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: name in self.began, 10)

    def end(self, name: str) -> None:
        self._ends[name].set()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(10)


def test_one_model_alone_is_not_counted(budget: Budget) -> None:
    lease = budget.take("a", threads=2, streams=1)
    assert not lease.must_share
    other = budget.take("b", threads=2, streams=1)
    assert lease.must_share and other.must_share
    other.close()
    assert not lease.must_share


def test_a_model_that_nobody_holds_any_more_is_not_counted(budget: Budget) -> None:
    lease, other = budget.take("a", threads=2, streams=1), budget.take("b", threads=2, streams=1)
    assert other.must_share
    del other
    gc.collect()
    assert not lease.must_share
    assert len(budget.report()["models"]) == 1


def test_two_models_of_two_threads_take_turns_on_two_cores(budget: Budget) -> None:
    first, second = (budget.take(name, threads=2, streams=1) for name in "ab")
    requests = Requests()
    requests.start("a", first, budget, waits=False)
    requests.start("b", second, budget, waits=True)
    assert requests.running == ["a"]
    requests.end("a")
    requests.wait_for("b")
    requests.end("b")
    requests.join()
    report = budget.report()
    assert (report["requests"], report["waited_requests"], report["threads"], report["cores"]) == (2, 1, 4, 2)
    assert budget._running == 0


def test_models_of_one_thread_run_side_by_side(budget: Budget) -> None:
    first, second = (budget.take(name, threads=1, streams=1) for name in "ab")
    requests = Requests()
    requests.start("a", first, budget, waits=False)
    requests.start("b", second, budget, waits=False)
    assert requests.running == ["a", "b"]
    requests.end("a"), requests.end("b")
    requests.join()


def test_nobody_passes_who_came_first(budget: Budget) -> None:
    wide, narrow = budget.take("wide", threads=2, streams=1), budget.take("narrow", threads=1, streams=1)
    requests = Requests()
    requests.start("narrow 1", narrow, budget, waits=False)
    requests.start("wide", wide, budget, waits=True)
    requests.start("narrow 2", narrow, budget, waits=True)  # would fit beside the first, but the wide one came before
    requests.end("narrow 1")
    requests.wait_for("wide")
    assert requests.running == ["wide"]
    requests.end("wide")
    requests.wait_for("narrow 2")
    requests.end("narrow 2")
    requests.join()
    assert requests.began == ["narrow 1", "wide", "narrow 2"]


def test_a_request_that_wants_more_than_there_is_gets_all(budget: Budget) -> None:
    lease = budget.take("a", threads=8, streams=1)
    with lease:
        assert budget._running == 2
    assert budget._running == 0


def test_a_request_of_many_streams_keeps_its_share_busy(budget: Budget) -> None:
    assert budget.take("a", threads=8, streams=4).cost == 2
    assert budget.take("a", threads=2, streams=4).cost == 1


def test_a_request_that_fails_gives_its_cores_back(budget: Budget) -> None:
    lease = budget.take("a", threads=2, streams=1)
    with pytest.raises(ValueError, match="no"), lease:
        raise ValueError("no")
    assert budget._running == 0


def test_an_interrupted_wait_leaves_the_line(budget: Budget, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        def __init__(self) -> None:
            self.taken = False

        def acquire(self) -> None:
            if self.taken:
                raise KeyboardInterrupt
            self.taken = True

    budget.acquire(2)
    monkeypatch.setattr(thread_budget, "allocate_lock", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        budget.acquire(2)
    assert not budget._line
    budget.release(2)
    assert budget._running == 0


def test_long_waiting_is_told_once_with_figures(budget: Budget) -> None:
    leases = [budget.take(name, threads=2, streams=1) for name in "ab"]
    budget.requests, budget.waited_requests, budget.waited_seconds = 100, 40, 6.5
    said = r"2 open models hold 4 threads on 2 cores: 40 of 101 requests waited 6\.5 s"
    with pytest.warns(UserWarning, match=said), leases[0]:
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with leases[1]:
            pass


def test_a_forked_child_begins_anew(budget: Budget) -> None:
    budget.acquire(2)
    budget.reset()
    budget.acquire(2)
    budget.release(2)
    assert budget._running == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"engine": "e", "threads": 2, "share_cores": False},
        {"engine": "e", "threads": 2, "device": "GPU"},
        {"engine": "e"},
    ],
)
def test_who_does_not_share_has_no_place(budget: Budget, settings: dict[str, object]) -> None:
    assert lease_of(settings) is None
    assert budget.report()["models"] == []


class Counted(Doubling):
    """Doubles, with two threads, and looks at the budget while it runs."""

    def __init__(self, budget: Budget):
        super().__init__()
        self._lease = budget.take("counted", threads=2, streams=1)
        self._budget, self.seen = budget, []

    def _run(self, slot: int, arrays: list[np.ndarray]) -> list[np.ndarray]:
        self.seen.append(self._budget._running)
        return super()._run(slot, arrays)


def test_every_way_to_run_a_model_is_counted_while_another_is_open(budget: Budget) -> None:
    model, other = Counted(budget), Counted(budget)
    model(INPUTS)
    model.submit(INPUTS).result(10)
    model.run_into(INPUTS, {"y": np.zeros((1, 3), np.float32), "next": np.zeros(2, np.float32)})
    assert model.seen == [2, 2, 2]
    other.close()
    model(INPUTS)
    assert model.seen[-1] == 0
    model.close()
    assert budget.report()["models"] == []


def test_settings_say_whether_a_model_shares(budget: Budget) -> None:
    assert Doubling().settings["share_cores"] is True
    assert Settings.parse("share_cores=false").share_cores is False
    assert Settings(share_cores=False).to_json() == {"objective": "latency", "device": "CPU", "share_cores": False}
    assert Settings().updated(Settings(share_cores=False).to_json()).share_cores is False
    with pytest.raises(UsageError):
        Settings.parse("share_cores=maybe")
    assert base.lease_of is lease_of
