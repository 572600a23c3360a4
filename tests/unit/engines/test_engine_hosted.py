"""The worker's side of a remote model, in this process and on an engine that only doubles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.engines.doubling import Doubling

from strop.engines.hosted import Hosted, store_inputs, stored_inputs
from strop.engines.remote import Load, _in_batches
from strop.errors import InputError, UsageError

X, STATE = np.ones((2, 3), np.float32), np.zeros(2, np.float32)


def _hosted(*, slots: int = 1, inputs: bool = True) -> Hosted:
    calls: list[str] = []

    def compile() -> Doubling:
        assert calls == ["load"], "the engine is imported before it compiles"
        return Doubling(slots=range(slots))

    return Hosted(
        load=lambda: calls.append("load"), compile=compile, version="1.2", inputs=[X, STATE] if inputs else None
    )


def test_a_hosted_model_describes_itself_in_json() -> None:
    described = _hosted().describe()
    assert json.loads(json.dumps(described)) == described
    assert (described["engine"], described["version"]) == ("doubling", "1.2")
    assert [spec["name"] for spec in described["inputs"]] == ["x", "state"]  # type: ignore[attr-defined]


def test_the_stages_to_the_first_result_are_told_once() -> None:
    hosted = _hosted()
    stages = hosted.stages()
    assert list(stages) == ["import", "read", "compile", "first_run"]
    assert all(seconds >= 0 for seconds in stages.values())
    with pytest.raises(UsageError, match="first run is over"):
        hosted.stages()


def test_each_time_of_a_block_is_a_pass_over_all_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    hosted = _hosted(inputs=False)
    for index in range(3):
        hosted.add_inputs({"x": X * index, "state": STATE}, first=index == 0)
    seen: list[float] = []
    compiled = hosted.compiled
    monkeypatch.setattr(hosted, "compiled", lambda inputs: seen.append(inputs["x"][0, 0]) or compiled(inputs))
    assert len(hosted.block(2)) == 2
    assert seen == [0, 1, 2, 0, 1, 2]


def test_timing_without_inputs_says_what_is_missing() -> None:
    hosted = _hosted(inputs=False)
    for call in (lambda: hosted.block(1), lambda: hosted.windows(1, None, 1), lambda: hosted.throughput(0.01, None, 1)):
        with pytest.raises(UsageError, match="no inputs to time"):
            call()


@pytest.mark.parametrize(("n", "requests", "slots"), [(1, 1, 1), (3, 2, 1), (4, None, 2), (2, 5, 2)])
def test_windows_give_as_many_samples_as_asked_for(n: int, requests: int | None, slots: int) -> None:
    hosted = _hosted(slots=slots)
    samples = hosted.windows(n, requests, 1)
    assert len(samples) == n
    assert all(seconds >= 0 for seconds in samples)
    assert len(hosted.compiled.served) == (requests or 2 * slots) * (n + 2)  # type: ignore[attr-defined]
    hosted.close()


def test_throughput_counts_every_inference_of_a_batch() -> None:
    hosted = _hosted(slots=2)
    value, arrays = hosted.throughput(0.05, 3, 4)
    assert value["requests"] == 3
    assert len(arrays["latencies"]) == value["completed"]
    assert value["per_second"]["point"] == pytest.approx(4 * value["completed"] / value["seconds"])
    report = Load(value, arrays["latencies"]).to_json()
    assert report["throughput_per_second"] == value["per_second"]
    assert json.loads(json.dumps(report)) == report
    hosted.close()


def test_arrivals_at_a_rate_are_reported_as_asked_and_achieved() -> None:
    hosted = _hosted()
    value, arrays = hosted.rate_limited(0.1, 100.0, False, None)
    report = Load(value, arrays["latencies"]).to_json()
    assert report["asked_per_second"] == 100
    assert report["completed"] == 10
    assert str(report["percentiles_ms"]["p99"]).startswith("p99 needs")  # type: ignore[index]
    hosted.close()


def test_a_request_runs_on_the_arrays_it_is_given() -> None:
    value, outputs = _hosted().run({"x": X, "state": STATE + 1})
    assert value is None
    assert outputs["next"].tolist() == [2, 2]
    with pytest.raises(InputError):
        _hosted().run({"x": X})


def test_inputs_are_stored_by_position_whatever_their_names_are(tmp_path: Path) -> None:
    arrays = [X, np.array(3, np.int64), np.zeros((0, 2), bool)]
    for have, want in zip(stored_inputs(store_inputs(tmp_path / "i.npz", arrays)), arrays, strict=True):
        assert (have.dtype, have.shape) == (want.dtype, want.shape)
        assert np.array_equal(have, want)


@given(count=st.integers(1, 7), batch=st.integers(1, 5))
def test_batches_hold_every_sample_in_order_and_start_over_at_the_end(count: int, batch: int) -> None:
    samples = [{"x": np.full((1, 2), index), "scale": np.array(9)} for index in range(count)]
    requests = _in_batches(samples, {"x": 0}, batch)
    rows = np.concatenate([request["x"][:, 0] for request in requests])
    assert len(rows) == -(-count // batch) * batch
    assert rows.tolist() == [index % count for index in range(len(rows))]
    assert all(request["scale"] == 9 for request in requests)
