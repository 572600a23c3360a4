from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tests.unit.engines.doubling import Doubling

from strop.engines.base import in_short, run_error
from strop.engines.contract import CompiledModel
from strop.errors import InputError, NotSupportedError, UsageError

Inputs = dict[str, np.ndarray]


@pytest.fixture
def doubling() -> Doubling:
    return Doubling()


@pytest.fixture
def inputs() -> Inputs:
    return {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "state": np.ones(2, np.float32)}


def test_a_compiled_model_fulfils_the_protocol(doubling: Doubling) -> None:
    assert isinstance(doubling, CompiledModel)


def test_results_carry_the_outputs_names_in_order(doubling: Doubling, inputs: Inputs) -> None:
    result = doubling(inputs)
    assert list(result) == ["y", "next"]
    assert np.array_equal(result["y"], inputs["x"] * 2)


def test_settings_name_the_engine_and_cannot_be_changed(doubling: Doubling) -> None:
    assert doubling.settings["engine"] == "doubling"
    with pytest.raises(TypeError):
        doubling.settings["streams"] = 2  # type: ignore[index]


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_at_most_one_request_a_stream_runs_at_once(slots: int, inputs: Inputs) -> None:
    compiled = Doubling(slots=range(slots))
    compiled.gate = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(compiled, inputs) for _ in range(16)]
        while compiled.at_once < slots:
            threading.Event().wait(0.001)
        compiled.gate.set()
        for future in futures:
            future.result(10)
    assert compiled.most_at_once == slots
    assert len(compiled.served) == 16


def test_a_failed_request_gives_its_stream_back(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = Doubling()

    def fail(slot: int, arrays: list[np.ndarray]) -> list[np.ndarray]:
        raise run_error("doubling", RuntimeError("no"))

    with monkeypatch.context() as patched:
        patched.setattr(compiled, "_run", fail)
        for _ in range(3):
            with pytest.raises(Exception, match="failed to run"):
                compiled(inputs)
    assert np.array_equal(compiled(inputs)["y"], inputs["x"] * 2)


def test_buffers_of_the_wrong_shape_are_refused_after_the_run(doubling: Doubling, inputs: Inputs) -> None:
    with pytest.raises(InputError) as raised:
        doubling.run_into(inputs, {"y": np.zeros((1, 3), np.float32), "next": np.zeros(2, np.float32)})
    assert raised.value.code == "output.buffer"


def test_run_into_an_input_reads_it_first(doubling: Doubling, inputs: Inputs) -> None:
    y = np.zeros((2, 3), np.float32)
    doubling.run_into(inputs, {"y": y, "next": inputs["state"]})
    assert inputs["state"].tolist() == [2, 2]


def test_submit_copies_its_inputs(inputs: Inputs) -> None:
    compiled = Doubling()
    compiled.gate = threading.Event()
    expected = inputs["x"] * 2
    future = compiled.submit(inputs)
    inputs["x"][...] = 0
    compiled.gate.set()
    assert np.array_equal(future.result(10)["y"], expected)
    compiled.close()


def test_closing_waits_for_what_runs_and_wakes_who_waits(inputs: Inputs) -> None:
    compiled = Doubling()
    compiled.gate = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        running = pool.submit(compiled, inputs)
        while compiled.at_once == 0:
            threading.Event().wait(0.001)
        closing = pool.submit(compiled.close)
        assert not compiled.released
        compiled.gate.set()
        assert np.array_equal(running.result(10)["y"], inputs["x"] * 2)
        closing.result(10)
    assert compiled.released
    for call in (compiled, compiled.submit, compiled.profile):
        with pytest.raises(UsageError) as raised:
            call(inputs)
        assert raised.value.code == "usage.closed"


def test_leaving_the_context_closes(inputs: Inputs) -> None:
    with Doubling() as compiled:
        compiled(inputs)
    assert compiled.released


def test_an_engine_without_a_profile_says_so(doubling: Doubling, inputs: Inputs) -> None:
    with pytest.raises(NotSupportedError) as raised:
        doubling.profile(inputs)
    assert raised.value.code == "unsupported.feature"


def test_an_engines_words_are_shortened_without_places_in_its_source() -> None:
    words = (
        "Exception from src/a/core.cpp:84:\n\nCheck 'x(\"y\")' failed at src/b.cpp:1:\nFrontEnd API failed with Z:\n"
    )
    short = in_short(RuntimeError(words + "the rank has to be known " + "y" * 500))
    assert short.startswith("the rank has to be known yyy")
    assert len(short) <= 300
    assert in_short(ValueError()) == "ValueError"
