from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from strop.errors import ModelError, WorkerError
from strop.measure.first_inference import first_inference
from strop.measure.frames import read_frame, write_frame
from strop.measure.worker import Worker

EXAMPLE = "hosted_examples:example"


def gone(process_id: int) -> bool:
    """Says whether a process has ended, waiting for it a while."""
    for _ in range(200):
        status = Path(f"/proc/{process_id}/status")
        try:
            if "State:\tZ" in status.read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


@given(
    arrays(
        st.sampled_from([np.float32, np.int64, np.uint8, np.bool_, np.float16, np.complex64]),
        array_shapes(min_dims=0, min_side=0),
    )
)
def test_arrays_pass_through_a_frame_unchanged(array: np.ndarray) -> None:
    from io import BytesIO

    stream = BytesIO()
    write_frame(stream, {"a": [1, None, "ä"]}, {"x": array, "y": array.T})
    stream.seek(0)
    value, received = read_frame(stream)
    assert value == {"a": [1, None, "ä"]}
    for name, expected in (("x", array), ("y", array.T)):
        assert received[name].dtype == expected.dtype
        np.testing.assert_array_equal(received[name], expected)
    with pytest.raises(EOFError):
        read_frame(stream)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_a_worker_can_be_kept_on_a_core() -> None:
    core = max(os.sched_getaffinity(0))
    with Worker(EXAMPLE) as worker:
        worker.keep_on({core})
        for thread in Path(f"/proc/{worker.pid}/task").iterdir():
            assert os.sched_getaffinity(int(thread.name)) == {core}
    worker.keep_on({core})  # of one that has ended nothing is kept


def test_methods_get_arguments_and_arrays_and_give_both_back() -> None:
    with Worker(EXAMPLE, {"factor": 3.0}) as worker:
        reply = worker.call("scale", arrays={"x": np.arange(4.0), "y": np.float32([[1]])})
        assert reply.value == {"count": 2}
        np.testing.assert_array_equal(reply.arrays["x"], [0, 3, 6, 9])
        assert worker.block(3) == [0.003] * 3
        text = worker.call("echo", arrays={"text": np.array(["a", "long text"], dtype=object)}).arrays["text"]
        assert text.tolist() == ["a", "long text"]


def test_large_arrays_pass_in_both_directions() -> None:
    array = np.random.default_rng(0).standard_normal((1000, 1000))
    with Worker(EXAMPLE) as worker:
        np.testing.assert_array_equal(worker.call("echo", arrays={"x": array}).arrays["x"], array)


def test_what_an_engine_prints_does_not_disturb_the_talk() -> None:
    with Worker(EXAMPLE) as worker:
        assert worker.call("chatter").value == "heard"
        assert worker.call("chatter").value == "heard"


def test_strop_errors_travel_with_their_class_and_fields() -> None:
    with Worker(EXAMPLE) as worker:
        with pytest.raises(ModelError) as caught:
            worker.call("fail")
        assert caught.value.to_json() == {
            "code": "model.invalid",
            "what": "a loop",
            "where": "a.onnx",
            "got": "3",
            "expected": "no loop",
            "hint": "untie it",
        }
        assert worker.block(1) == [0.001]  # and the worker lives on
    with pytest.raises(ModelError, match="ends too early"):
        Worker("hosted_examples:broken")


def test_an_answer_that_is_not_json_is_an_error_of_the_call_only() -> None:
    with Worker(EXAMPLE) as worker:
        with pytest.raises(WorkerError, match="raised an exception"):
            worker.call("unanswerable")
        with pytest.raises(TypeError):
            worker.call("variable", name=object())
        assert worker.block(1) == [0.001]


def test_a_death_during_a_call_is_noticed_at_once() -> None:
    worker = Worker(EXAMPLE)
    threading.Timer(0.05, os.kill, (worker.pid, signal.SIGKILL)).start()
    with pytest.raises(WorkerError, match="ended by itself"):
        worker.call("hang")  # returns long before its 600 s


def test_a_death_between_calls_is_noticed_by_the_next() -> None:
    worker = Worker(EXAMPLE)
    os.kill(worker.pid, signal.SIGKILL)
    assert gone(worker.pid)
    with pytest.raises(WorkerError, match="ended by itself"):
        worker.block(1)


def test_closing_ends_the_process_and_what_it_started() -> None:
    worker = Worker(EXAMPLE)
    child = worker.call("child").value
    worker.close()
    worker.close()
    assert gone(worker.pid)
    assert gone(child)


def test_a_closed_workers_number_is_never_signalled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(EXAMPLE)
    worker.close()
    signalled: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, number: signalled.append(group))
    worker.close()
    assert signalled == []


def test_a_limit_that_is_a_function_is_asked_anew_for_each_call() -> None:
    left = [60.0, 60.0, 0.05]
    worker = Worker(EXAMPLE, timeout=lambda: left.pop(0))
    assert worker.block(1) == [0.001]
    with pytest.raises(WorkerError, match="did not answer"):
        worker.call("hang")
    assert left == []


def test_the_memory_of_a_worker_that_died_is_asked_in_vain() -> None:
    worker = Worker(EXAMPLE)
    os.kill(worker.pid, signal.SIGKILL)
    assert gone(worker.pid)
    with pytest.raises(WorkerError, match="ended by itself"):
        worker.memory()


def test_cores_and_environment_are_set_before_anything_is_imported() -> None:
    core = max(os.sched_getaffinity(0))
    with Worker(EXAMPLE, cores=[core], environment={"STROP_TEST": "yes"}) as worker:
        assert worker.call("affinity").value == [core]
        assert worker.call("variable", name="STROP_TEST").value == "yes"


def test_the_current_folder_is_not_on_the_module_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('a user file was imported')")
    monkeypatch.chdir(tmp_path)
    with Worker(EXAMPLE) as worker:
        paths = worker.call("path").value
    assert "" not in paths
    assert str(tmp_path) not in paths


def test_a_worker_ignores_interrupts() -> None:
    with Worker(EXAMPLE) as worker:
        assert worker.call("ignores_interrupt").value
        os.kill(worker.pid, signal.SIGINT)
        assert worker.block(1) == [0.001]


@pytest.mark.parametrize("ending", ["raise KeyboardInterrupt", "os.kill(os.getpid(), signal.SIGKILL)", "pass"])
def test_no_worker_outlives_its_parent(ending: str) -> None:
    script = textwrap.dedent(f"""
        import os, signal, sys, threading
        sys.path[:0] = {[str(Path(__file__).parent)]!r}
        from strop.measure.worker import Worker
        worker, idle = Worker({EXAMPLE!r}), Worker({EXAMPLE!r})
        print(worker.pid, idle.pid, flush=True)
        threading.Thread(target=worker.call, args=("hang",), daemon=True).start()
        {ending}
    """)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert all(gone(int(number)) for number in ran.stdout.split())


def test_an_interrupt_during_a_call_ends_the_worker() -> None:
    worker = Worker(EXAMPLE)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        worker.call("hang")
    assert gone(worker.pid)


def test_first_inference_takes_the_median_of_fresh_processes() -> None:
    told: list[float] = []
    result = first_inference(EXAMPLE, on_progress=told.append)
    assert list(result.stages) == ["import", "read", "compile", "first_run"]
    assert result.stages["import"].point == 0.0  # nothing heavier than numpy was there before
    assert (result.stages["read"].point, result.total.point, result.total.n) == (2.0, 9.0, 5)
    assert told[-1] == 1.0
