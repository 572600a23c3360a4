from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from strop.engines.request_threads import RequestThreads


class Owner:
    """Something that can be referred to weakly."""


def test_requests_are_served_in_order() -> None:
    owner, served = Owner(), list[int]()
    threads = RequestThreads(1, "test", owner)
    futures = [threads.submit(served.append, number) for number in range(50)]
    assert [future.result(10) for future in futures] == [None] * 50
    assert served == list(range(50))
    threads.close()


def test_as_many_run_at_once_as_there_are_threads() -> None:
    owner, together = Owner(), threading.Barrier(3)
    threads = RequestThreads(3, "test", owner)
    futures = [threads.submit(together.wait, 10) for _ in range(3)]
    assert sorted(future.result(10) for future in futures) == [0, 1, 2]
    threads.close()


def test_an_exception_is_the_futures_and_the_thread_goes_on() -> None:
    owner = Owner()
    threads = RequestThreads(1, "test", owner)
    failing, fine = threads.submit(int, "x"), threads.submit(int, "7")
    with pytest.raises(ValueError, match="invalid literal"):
        failing.result(10)
    assert fine.result(10) == 7
    threads.close()


def test_a_cancelled_request_does_not_run() -> None:
    owner, gate, served = Owner(), threading.Event(), list[int]()
    threads = RequestThreads(1, "test", owner)
    threads.submit(gate.wait, 10)
    waiting, last = threads.submit(served.append, 1), threads.submit(served.append, 2)
    assert waiting.cancel()
    gate.set()
    last.result(10)
    assert served == [2]
    threads.close()


def test_closing_serves_what_is_queued() -> None:
    owner, served = Owner(), list[int]()
    threads = RequestThreads(1, "test", owner)
    threads.submit(time.sleep, 0.02)
    for number in range(5):
        threads.submit(served.append, number)
    threads.close()
    assert served == [0, 1, 2, 3, 4]
    assert not any(thread.name.startswith("test-") for thread in threading.enumerate())
    threads.close()


def test_a_request_may_close_what_serves_it() -> None:
    owner = Owner()
    threads = RequestThreads(1, "closer", owner)
    threads.submit(threads.close).result(10)
    _wait_until_gone("closer-")


def test_the_threads_end_with_their_owner() -> None:
    owner, served = Owner(), list[int]()
    threads = RequestThreads(2, "orphan", owner)
    threads.submit(served.append, 1).result(10)
    del owner
    _wait_until_gone("orphan-")


def test_a_waiting_thread_keeps_no_request_alive() -> None:
    owner, given = Owner(), Owner()
    threads = RequestThreads(1, "test", owner)
    seen = threads.submit(lambda thing: None, given)
    seen.result(10)
    threads.submit(int).result(10)  # by now the thread has let go of the first
    before = sys.getrefcount(given)
    assert before == 2
    threads.close()


def test_python_ends_after_what_was_queued() -> None:
    program = """
import atexit, time
from strop.engines.request_threads import RequestThreads
from strop.errors import EngineError

class Owner: pass
owner = Owner()
def too_late():
    try:
        threads.submit(print, "too late")
    except EngineError as error:
        print(error.code)
atexit.register(too_late)
threads = RequestThreads(1, "test", owner)
threads.submit(time.sleep, 0.1)
threads.submit(print, "served")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.split("\n")[:2], done.stderr) == (["served", "engine.run"], "")


def _wait_until_gone(name: str) -> None:
    end = time.monotonic() + 10
    while any(thread.name.startswith(name) for thread in threading.enumerate()):
        assert time.monotonic() < end, "the threads are still there"
        time.sleep(0.005)
