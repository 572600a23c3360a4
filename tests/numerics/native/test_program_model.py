"""Queued requests of a model all of which is machine code."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import numpy as np
import pytest

from strop.engines.native.program_model import ProgramModel
from strop.errors import InputError, UsageError
from tests.numerics.native import programs

X = np.arange(10, dtype=np.float32)
SHORT, LONG = 1.0, 1e10  # operations: far below what waking a thread takes, and far above


def model(flops: float) -> ProgramModel:
    return ProgramModel(programs.plus_one(10, flops=flops), settings={"threads": 2, "streams": 2}, stages={})


@pytest.mark.parametrize("flops", [SHORT, LONG])
def test_a_queued_request_is_the_caller_s_no_more(flops: float) -> None:
    x = X.copy()
    with model(flops) as compiled:
        futures = []
        for _ in range(20):
            futures.append(compiled.submit({"x": x}))
            x += 1
        for number, future in enumerate(futures):
            np.testing.assert_array_equal(future.result(timeout=30)["y"], X + number + 1)


def test_a_short_request_is_done_when_submit_returns_and_starts_no_thread() -> None:
    with model(SHORT) as compiled:
        before = threading.active_count()
        future = compiled.submit(X)
        assert future.done() and threading.active_count() == before
        called: list[Future[dict[str, np.ndarray]]] = []
        future.add_done_callback(called.append)
        assert called == [future] and not future.cancel()


def test_a_long_request_is_handed_to_a_thread() -> None:
    with model(LONG) as compiled:
        before = threading.active_count()
        compiled.submit(X).result(timeout=30)
        assert threading.active_count() > before


@pytest.mark.parametrize("flops", [SHORT, LONG])
def test_wrong_inputs_and_a_closed_model_are_refused_at_once(flops: float) -> None:
    compiled = model(flops)
    with pytest.raises(InputError):
        compiled.submit(X[:3])
    compiled.close()
    with pytest.raises(UsageError):
        compiled.submit(X)
