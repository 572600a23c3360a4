"""Teams of native threads: always the right result, whoever calls, forks, interrupts or leaves; nothing left behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from strop.errors import UsageError
from strop.loader.cpu import isa_levels
from strop.loader.native import NativeProgram
from strop.loader.team import get_pool, has_teams
from tests.numerics.native import programs

pytestmark = pytest.mark.skipif(not has_teams(), reason="teams are for Linux on x86-64 so far")

COUNT, STEPS = 64, 5
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    gc.collect()
    before = native_threads()
    yield
    gc.collect()
    assert native_threads() <= before


def native_threads() -> set[str]:
    return {path.name for path in Path("/proc/self/task").iterdir()}


def x_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(COUNT).astype(np.float32)


def check(program: NativeProgram, seed: int) -> None:
    """Runs a chain once and compares every bit."""
    x = x_of(seed)
    outputs = program(x)
    for name, expected in programs.chain_expected(x, STEPS).items():
        np.testing.assert_array_equal(outputs[name], expected)


def chain(**options: int) -> NativeProgram:
    return NativeProgram(programs.chain(COUNT, STEPS), **options)


def in_child(work: Callable[[], object]) -> None:
    """Runs `work` in a forked child and checks that it ended well; one that hangs is ended by its alarm."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(60)
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def in_fresh_process(code: str) -> str:
    """Runs Python code in a process of its own, checks that it ended well, and returns what it printed."""
    head = """
import os, signal, sys, threading
import numpy as np
from strop.errors import EngineError
from tests.numerics.native.test_teams import *
"""
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Exception" not in done.stderr and "Error" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("level", isa_levels())
@pytest.mark.parametrize("threads", [1, 2])
def test_every_isa_level_carries_the_runtime(level: str, threads: int) -> None:
    with NativeProgram(programs.chain(COUNT, STEPS, level=level), threads=threads) as program:
        for seed in range(5):
            check(program, seed)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_a_team_gives_the_same_bits_as_one_thread(threads: int) -> None:
    with chain(threads=threads) as program:
        assert program.threads == threads
        for seed in range(50):
            check(program, seed)


def test_a_plan_that_cannot_be_divided_makes_no_threads() -> None:
    before = native_threads()
    with NativeProgram(programs.waiting(10), threads=4) as program:
        program(np.zeros(1, np.float32))
        assert program.threads == 1
        assert native_threads() <= before


def test_a_tiny_plan_is_run_by_the_caller_alone() -> None:
    for flops, threads in ((1e4, 1), (1e8, 2), (0.0, 2)):  # 0: not known
        with NativeProgram(programs.plus_one(8, flops=flops), threads=2) as program:
            assert program.threads == threads


def test_threads_come_at_the_first_request_and_go_with_the_last_program() -> None:
    before = native_threads()
    first, second = chain(threads=3), chain(threads=3)
    assert native_threads() <= before
    check(first, 0)
    assert len(native_threads() - before) == 2
    check(second, 1)
    assert len(native_threads() - before) == 2  # programs of one shape share their threads
    first.close()
    check(second, 2)
    second.close()
    assert native_threads() <= before


def test_threads_go_when_programs_are_collected() -> None:
    before = native_threads()
    program = chain(threads=2)
    check(program, 0)
    assert native_threads() - before
    del program
    assert native_threads() <= before


def test_workers_leave_signals_to_pythons_threads() -> None:
    before = native_threads()
    with chain(threads=2) as program:
        check(program, 0)
        (worker,) = native_threads() - before
        status = Path(f"/proc/self/task/{worker}/status").read_text(encoding="ascii")
        blocked = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk")), 16)
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD, signal.SIGUSR1):
            assert blocked >> (name - 1) & 1
        assert not blocked >> (signal.SIGSEGV - 1) & 1
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.parametrize("calls", [100, pytest.param(1000, marks=pytest.mark.long)])
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("streams", [1, 3])
def test_many_python_threads_may_call(calls: int, threads: int, streams: int) -> None:
    with chain(threads=threads, streams=streams) as program, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda base: [check(program, base + seed) for seed in range(calls)], range(8)))


def test_two_programs_run_at_once() -> None:
    with chain(threads=2) as first, chain(threads=2) as second, chain(threads=3, streams=2) as third:
        together = [first, second, third, first]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda program: [check(program, seed) for seed in range(100)], together))


def test_a_request_waits_for_a_free_stream() -> None:
    long = NativeProgram(programs.waiting(100_000_000))
    x = np.zeros(1, np.float32)
    with long, ThreadPoolExecutor(3) as pool:
        assert all(outputs["y"] == 1 for outputs in pool.map(lambda _: long(x), range(3)))


def test_closing_waits_for_requests_and_refuses_those_behind() -> None:
    program, refused, served = chain(threads=2), threading.Event(), threading.Event()

    def call_until_closed() -> None:
        try:
            for seed in range(10**9):
                check(program, seed)
                served.set()
        except UsageError as error:
            assert error.code == "usage.closed"
            refused.set()

    callers = [threading.Thread(target=call_until_closed) for _ in range(3)]
    for caller in callers:
        caller.start()
    served.wait()
    program.close()
    for caller in callers:
        caller.join()
    assert refused.is_set()


def test_a_forked_child_makes_threads_of_its_own() -> None:
    with chain(threads=2) as program:
        check(program, 0)
        in_child(lambda: [check(program, seed) for seed in range(20)])
        check(program, 1)


def test_a_program_closes_in_a_forked_child() -> None:
    with chain(threads=2) as program:
        check(program, 0)
        in_child(program.close)
        check(program, 1)


@pytest.mark.parametrize("forks", [10, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_fork_while_another_thread_runs_leaves_both_able(threads: int, forks: int) -> None:
    with chain(threads=threads) as program, NativeProgram(programs.waiting(3_000_000)) as long:
        stop = threading.Event()

        def keep_calling() -> None:
            while not stop.is_set():
                check(program, 1)
                long(np.zeros(1, np.float32))

        caller = threading.Thread(target=keep_calling)
        caller.start()
        try:
            for fork in range(forks):
                in_child(lambda: (check(program, fork), long(np.zeros(1, np.float32))))  # noqa: B023
        finally:
            stop.set()
            caller.join()
        check(program, 2)


def test_ctrl_c_during_a_long_call_raises_when_it_ends() -> None:
    x = np.zeros(1, np.float32)
    with NativeProgram(programs.waiting(400_000_000)) as program, chain(threads=2) as team:
        check(team, 0)
        killer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
        killer.start()
        with pytest.raises(KeyboardInterrupt):
            while True:
                program(x)
        killer.join()
        assert program(x)["y"] == 1
        check(team, 1)


def test_signals_that_arrive_all_the_time_change_nothing() -> None:
    arrived = []
    before = signal.signal(signal.SIGALRM, lambda *_: arrived.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        with chain(threads=3) as program:
            seed = 0
            while len(arrived) < 50:
                check(program, seed)
                seed += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_one_core_is_enough_for_any_number_of_threads() -> None:
    in_fresh_process("""
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        for threads in (1, 2, 4):
            with chain(threads=threads) as program:
                for seed in range(50):
                    check(program, seed)
    """)


def test_a_mask_that_shrinks_later_is_no_harm() -> None:
    in_fresh_process("""
        with chain(threads=2) as program:
            check(program, 0)
            for task in os.listdir("/proc/self/task"):
                os.sched_setaffinity(int(task), {min(os.sched_getaffinity(0))})
            for seed in range(20):
                check(program, seed)
    """)


def test_python_ends_with_threads_running() -> None:
    in_fresh_process("""
        program = chain(threads=2)
        kept = chain(threads=3, streams=2)
        check(program, 0)
        check(kept, 0)
        sys.modules["kept"] = kept
    """)


def test_python_ends_while_daemon_threads_call() -> None:
    in_fresh_process("""
        short, long = chain(threads=2), NativeProgram(programs.waiting(20_000_000))
        started = threading.Semaphore(0)
        def keep_calling(work):
            while True:
                work()
                started.release()
        threading.Thread(target=keep_calling, args=(lambda: short.call(x_of(0)),), daemon=True).start()
        threading.Thread(target=keep_calling, args=(lambda: long.call(np.zeros(1, np.float32)),), daemon=True).start()
        for _ in range(20):
            started.acquire()
    """)


def test_a_call_while_python_ends_is_refused_rather_than_served() -> None:
    printed = in_fresh_process("""
        program = []
        def late():
            program[0].close()
            other = chain(threads=2)
            try:
                check(other, 0)
            except EngineError as error:
                print(error.code)
        from strop.loader import team
        program.append(chain(threads=2))
        check(program[0], 0)
        team._at_exit()
        late()
        print("done")
    """)
    assert printed.split() == ["engine.run", "done"]


def test_no_more_threads_is_an_error_that_says_so() -> None:
    printed = in_fresh_process("""
        import ctypes
        from strop.loader import team
        class Refusing:
            def __getattr__(self, name):
                return (lambda *_: 11) if name == "pthread_create" else getattr(ctypes.CDLL(None), name)
        real, team._pthread = team._pthread, Refusing
        program = chain(threads=2)
        try:
            check(program, 0)
        except EngineError as error:
            print(error.code)
        team._pthread = real
        check(program, 0)
    """)
    assert printed.split() == ["engine.run"]


def test_what_runs_can_be_looked_at() -> None:
    program = NativeProgram(programs.waiting(300_000_000))
    with program, ThreadPoolExecutor(1) as pool:
        future = pool.submit(program, np.zeros(1, np.float32))
        seen = set()
        while not future.done():
            seen |= set(program.running())
        assert seen == {(0, 0, "wait")}
        assert program.running() == []


@pytest.mark.parametrize("times", [50, pytest.param(1000, marks=pytest.mark.long)])
def test_loading_and_unloading_leaves_nothing(times: int) -> None:
    in_fresh_process(f"load_and_unload({times})")  # a test run's own memory comes and goes


def load_and_unload(times: int) -> None:
    """Checks that it leaves neither files nor maps, threads or memory behind."""
    image = programs.chain(COUNT, STEPS)

    def load() -> None:
        with NativeProgram(image, threads=2) as program:
            check(program, 0)

    def footprint() -> tuple[int, int, int]:
        maps = Path("/proc/self/maps").read_text(encoding="utf8").count("\n")
        return len(list(Path("/proc/self/fd").iterdir())), maps, len(native_threads())

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096

    for _ in range(20):
        load()
    gc.collect()
    before, memory = footprint(), resident()
    for _ in range(times):
        load()
    gc.collect()
    after = footprint()
    assert after[0] == before[0] and after[2] == before[2]
    assert after[1] <= before[1] + 4  # the heap may have got a few more pieces
    assert resident() < memory + (4 << 20)


def test_pools_are_shared_by_shape() -> None:
    assert get_pool(1, 1) is not get_pool(1, 1)
    pool = get_pool(4, 2)
    assert get_pool(4, 2) is pool and get_pool(4, 1) is not pool
