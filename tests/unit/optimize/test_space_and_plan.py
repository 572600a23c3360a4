from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.errors import UsageError
from strop.machine import machine
from strop.optimize.budget import Budget
from strop.optimize.engine_list import split_engines
from strop.optimize.plan import CALIBRATION_SAMPLES, divide, fit_shares
from strop.optimize.space import candidates, settings_space
from strop.optimize.trial import TrialSpec
from strop.testing.clock import FakeClock


def test_settings_of_an_engine_stay_with_it() -> None:
    assert split_engines("onnxruntime, openvino:threads=2,streams=1 ,reference") == [
        "onnxruntime",
        "openvino:threads=2,streams=1",
        "reference",
    ]


def test_a_list_without_engines_is_refused() -> None:
    with pytest.raises(UsageError):
        split_engines(" , ")


def test_latency_tries_fewer_threads_and_throughput_more_streams() -> None:
    cores = machine().cores
    threads = [settings["threads"] for settings in settings_space("latency", machine())]
    assert threads[0] == cores
    assert threads[-1] == 1
    streams = [settings["streams"] for settings in settings_space("throughput", machine())]
    assert streams[0] == cores
    assert all(settings["threads"] == cores for settings in settings_space("throughput", machine()))


def test_no_candidate_is_tried_twice() -> None:
    specs = candidates(
        ["onnxruntime", "openvino"], "f32", "throughput", model="m", data="d", machine=machine(), batches=(1, 4)
    )
    assert len({spec.key for spec in specs}) == len(specs)


def test_a_trials_key_does_not_depend_on_the_order_of_its_settings() -> None:
    one = TrialSpec("m", "d", "onnxruntime", "f32", "latency", {"threads": 2, "streams": 1})
    other = TrialSpec("m", "d", "onnxruntime", "f32", "latency", {"streams": 1, "threads": 2})
    assert one.key == other.key
    assert one.key != TrialSpec("m", "d", "onnxruntime", "int8", "latency", {"threads": 2, "streams": 1}).key


@given(total=st.integers(6, 100_000), quantizing=st.booleans())
def test_no_sample_serves_two_purposes(total: int, quantizing: bool) -> None:
    shares = divide(total, quantizing=quantizing)
    assert shares.calibration + shares.choosing + shares.confirmation == total
    assert shares.calibration <= CALIBRATION_SAMPLES
    assert shares.confirmation >= shares.choosing >= 1
    assert not shares.overlap


def test_too_few_samples_serve_every_purpose_and_say_so() -> None:
    shares = divide(4, quantizing=True)
    assert (shares.calibration, shares.choosing, shares.confirmation, shares.overlap) == (4, 4, 4, True)


def test_a_small_budget_cuts_the_samples_but_not_to_nothing() -> None:
    full = divide(10_000, quantizing=True)
    assert fit_shares(full, 0.01, Budget(None, clock=FakeClock())) == full
    cut = fit_shares(full, 0.05, Budget(30.0, clock=FakeClock()))
    assert 1 <= cut.calibration < full.calibration
    assert 2 <= cut.confirmation < full.confirmation
    # What the confirmation costs fits into its own share.
    assert cut.confirmation * 2 * 0.05 < Budget(30.0, clock=FakeClock()).reserved
