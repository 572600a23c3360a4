"""The gate with made-up workers: all states, without an engine and without waiting."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from strop.errors import (
    BundleError,
    FileError,
    MeasurementError,
    ModelError,
    NotSupportedError,
    UsageError,
    WorkerError,
)
from strop.loader import open_bundle
from strop.measure.estimate import Estimate
from strop.measure.memory import Memory
from strop.optimize import gate as gates
from strop.optimize import gate_candidate
from strop.optimize.baseline import RECORD, read_baseline
from strop.optimize.gate import gate, update_baseline
from strop.optimize.gate_candidate import EngineChoice, Timed
from strop.testing.clock import FakeClock
from strop.testing.models import convolution_classifier, multilayer_perceptron

OUTPUT = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)


class Side:
    """A worker that says how long its requests take, from run to run another factor of 10 ms."""

    version = "1"

    def __init__(self, factor: float = 1.0, *, scatter: float = 0.01, output: np.ndarray = OUTPUT, seed: int = 0):
        self.factor, self.scatter, self.output = factor, scatter, output
        self.engine = "onnxruntime"
        self.settings: Mapping[str, object] = {"threads": 1, "streams": 1, "objective": "latency"}
        self.kept_on: list[set[int]] = []
        self._random = np.random.default_rng(seed)

    def keep_on(self, cores: set[int]) -> None:
        self.kept_on.append(cores)

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"y": self.output}

    def block(self, n: int) -> list[float]:
        return list(0.01 * self.factor * np.exp(self._random.normal(0.0, self.scatter, n)))

    def throughput_turn(self) -> Self:
        return self

    def cpu_seconds(self) -> float:
        return 0.0

    def memory(self) -> Memory:
        return Memory(50_000_000, 50_000_000)

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Clock(FakeClock):
    """Every reading costs a millisecond, so that a run comes to an end though no block takes time."""

    def __init__(self) -> None:
        super().__init__(cost_per_reading=0.001)


def opener(*sides: Side | Exception) -> Callable[[Path, Sequence[object]], Any]:
    """Opens one side after the other, the last one again and again."""
    waiting = list(sides)

    def open_side(path: Path, samples: Sequence[object]) -> Side:
        side = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(side, Exception):
            raise side
        return side

    return open_side


def made_up_ratios(*factors: float) -> Callable[..., tuple[dict[str, Estimate], Estimate]]:
    """Ratios to five probes, from call to call another factor."""
    waiting = list(factors)

    def measure(model: object, **options: object) -> tuple[dict[str, Estimate], Estimate]:
        factor = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        points = {f"probe {i}": factor * (i + 1) * (1 + 0.001 * (-1) ** i) for i in range(5)}
        found = {name: Estimate(p, p * 0.999, p * 1.001, level=0.99, n=20) for name, p in points.items()}
        return found, Estimate(0.01 * factor, 0.0099 * factor, 0.0101 * factor, level=0.95, n=100)

    return measure


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(gate_candidate, "open_first", lambda *arguments: Side())
    monkeypatch.setattr(gates, "measure_ratios", made_up_ratios(1.0))
    path = tmp_path / "model.onnx"
    path.write_bytes(multilayer_perceptron().SerializeToString())
    return str(path)


@pytest.fixture
def baseline(tmp_path: Path, model: str) -> Path:
    path = tmp_path / "model.baseline"
    choice = EngineChoice("onnxruntime:threads=1")
    update_baseline(model, path, choice=choice, open_new=opener(Side()), clock=Clock())
    return path


def run(model: str, baseline: Path, old: Sequence[Side | Exception], new: Sequence[Side], **options: Any) -> Any:
    return gate(model, baseline, open_old=opener(*old), open_new=opener(*new), clock=Clock(), **options)


def test_two_forms_of_one_thread_share_a_core_from_run_to_run_another_one(model: str, baseline: Path) -> None:
    old, new = Side(), Side(1.2)
    document = run(model, baseline, [old], [new])
    assert len(document["parts"][0]["runs"]) == 2
    assert old.kept_on == new.kept_on and len(old.kept_on) == 2
    if len(os.sched_getaffinity(0)) > 1:
        assert old.kept_on[0] != old.kept_on[1]
    old, new = Side(), Side()
    old.settings = new.settings = {"threads": 2, "streams": 1, "objective": "latency"}
    run(model, baseline, [old], [new])
    assert not old.kept_on and not new.kept_on


def test_an_unchanged_model_is_ok_after_one_run(model: str, baseline: Path) -> None:
    document = run(model, baseline, [Side()], [Side(seed=1)])
    assert document["schema"] == "strop.gate/1"
    assert (document["verdict"], document["method"]) == ("ok", "rerun")
    assert len(document["parts"][0]["runs"]) == 1
    assert document["slowdown"]["low"] < 1 < document["slowdown"]["high"]
    assert document["outputs"]["same"]
    assert document["false_red"]["confirmed"] < 2e-4


def test_a_faster_model_is_ok(model: str, baseline: Path) -> None:
    assert run(model, baseline, [Side()], [Side(0.5)])["verdict"] == "ok"


def test_a_slower_model_is_red_after_two_runs(model: str, baseline: Path) -> None:
    document = run(model, baseline, [Side()], [Side(1.1)])
    assert document["verdict"] == "regressed"
    assert [one["verdict"] for one in document["parts"][0]["runs"]] == ["regressed", "regressed"]
    assert "in 2 of 2 runs" in document["words"]
    assert document["slowdown"]["point"] == pytest.approx(1.1, rel=0.02)


def test_slower_within_the_margin_is_ok(model: str, baseline: Path) -> None:
    assert run(model, baseline, [Side()], [Side(1.1)], margin=0.2)["verdict"] == "ok"


def test_a_red_run_that_the_next_one_does_not_confirm_is_no_red(model: str, baseline: Path) -> None:
    document = run(model, baseline, [Side()], [Side(1.1), Side(1.0)])
    assert document["verdict"] == "ok"
    assert [text for text in document["warnings"] if "was not confirmed (regressed, ok)" in text]


class Restless(Side):
    """Its threads never come to rest."""

    def cpu_seconds(self) -> float:
        self._used = getattr(self, "_used", 0.0) + 1.0
        return self._used


def test_a_run_that_is_spoiled_after_a_red_one_cannot_tell_and_loses_nothing(model: str, baseline: Path) -> None:
    document = run(model, baseline, [Side()], [Side(1.1), Restless(1.1)])
    assert document["verdict"] == "cannot tell"
    assert len(document["parts"][0]["runs"]) == 1
    assert [text for text in document["warnings"] if text.startswith("run 2 was spoiled")]
    with pytest.raises(MeasurementError):
        run(model, baseline, [Side()], [Restless()])


def test_noise_is_told_as_such(model: str, baseline: Path) -> None:
    document = run(model, baseline, [Side(scatter=1.0)], [Side(scatter=1.0, seed=1)], seconds=0.2)
    assert document["verdict"] == "cannot tell"
    assert "--seconds" in document["words"]


def test_changed_outputs_are_reported_and_fail_nothing(model: str, baseline: Path) -> None:
    document = run(model, baseline, [Side()], [Side(output=OUTPUT[:, ::-1].copy())])
    assert document["verdict"] == "ok"
    assert not document["outputs"]["same"]
    assert document["outputs"]["same_decision"] == 0
    assert [text for text in document["warnings"] if text.startswith("outputs changed")]


def test_outputs_that_are_nan_now_are_reported(model: str, baseline: Path) -> None:
    document = run(model, baseline, [Side()], [Side(output=np.full_like(OUTPUT, np.nan))])
    assert not document["outputs"]["same"]


CANNOT_RUN = [
    NotSupportedError("bundle.needs", "the bundle holds no code for this CPU", hint="optimize on this CPU"),
    NotSupportedError("unsupported.engine-missing", "OpenVINO is not installed", hint="install it"),
    WorkerError("worker.died", "a worker process ended by itself", hint="try another engine"),
]


@pytest.mark.parametrize("error", CANNOT_RUN)
@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "ok"), (1.2, "regressed"), (1.05, "cannot tell")])
def test_without_the_old_form_probe_kernels_tell(
    model: str, baseline: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, factor: float, verdict: str
) -> None:
    monkeypatch.setattr(gates, "measure_ratios", made_up_ratios(factor))
    document = run(model, baseline, [error], [Side()])
    assert (document["verdict"], document["method"]) == (verdict, "probes")
    assert [text for text in document["warnings"] if "cannot be run here" in text]
    assert document["outputs"]["same"]


def test_by_probes_too_a_red_run_must_be_confirmed(model: str, baseline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "measure_ratios", made_up_ratios(1.2, 1.0))
    assert run(model, baseline, [CANNOT_RUN[0]], [Side()])["verdict"] == "ok"


def test_another_version_of_the_engine_is_told_by_probes(
    model: str, baseline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old and new run on the engine that is installed now: only the probes can see what the engine's change did."""
    monkeypatch.setattr(gates, "_engine_change", lambda kept: "onnxruntime 2 is installed, ... with 1")
    monkeypatch.setattr(gates, "measure_ratios", made_up_ratios(1.3))
    document = run(model, baseline, [Side()], [Side(seed=1)])
    assert [part["method"] for part in document["parts"]] == ["rerun", "probes"]
    assert (document["verdict"], document["method"]) == ("regressed", "probes")


def test_a_new_form_that_fails_is_an_error_and_no_verdict(model: str, baseline: Path) -> None:
    with pytest.raises(NotSupportedError):
        gate(model, baseline, open_old=opener(Side()), open_new=opener(CANNOT_RUN[1]), clock=Clock())


def test_a_baseline_that_is_not_there_says_how_to_make_one(model: str, tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        run(model, tmp_path / "none.baseline", [Side()], [Side()])
    assert caught.value.code == "file.read"
    assert "--update" in caught.value.hint


def test_a_damaged_baseline_is_refused_before_anything_of_it_is_used(model: str, baseline: Path) -> None:
    content = bytearray(baseline.read_bytes())
    with open_bundle(baseline) as bundle:
        place = bundle.offset(RECORD)
    content[place + 20] ^= 1
    baseline.write_bytes(content)
    opened: list[Path] = []
    with pytest.raises(BundleError) as caught:
        gate(model, baseline, open_old=lambda path, samples: opened.append(path), clock=Clock())  # type: ignore[arg-type]
    assert caught.value.code == "bundle.damaged"
    assert not opened


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04\x95", b"\x89STROP\r\n" + b"\0" * 100])
def test_a_file_that_is_no_baseline_is_refused(model: str, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.baseline"
    path.write_bytes(content)
    with pytest.raises(BundleError):
        run(model, path, [Side()], [Side()])


def test_update_does_not_write_over_what_is_no_baseline(model: str, tmp_path: Path) -> None:
    path = tmp_path / "precious.txt"
    path.write_bytes(b"precious")
    with pytest.raises(UsageError):
        update_baseline(model, path, open_new=opener(Side()), clock=Clock())
    assert path.read_bytes() == b"precious"


def test_an_update_that_fails_leaves_the_old_baseline(model: str, baseline: Path) -> None:
    before = baseline.read_bytes()
    with pytest.raises(NotSupportedError):
        update_baseline(model, baseline, open_new=opener(CANNOT_RUN[0]), clock=Clock())
    assert baseline.read_bytes() == before
    assert [file.name for file in baseline.parent.iterdir() if file.name.startswith(".")] == []


def test_an_update_keeps_engine_and_samples_of_the_baseline_it_replaces(model: str, baseline: Path) -> None:
    before = read_baseline(baseline)
    document = update_baseline(model, baseline, open_new=opener(Side()), clock=Clock())
    after = read_baseline(baseline)
    assert document["updated"] and document["replaced"]["created"] == before.record["created"]
    assert after.manifest["engine"] == before.manifest["engine"]
    assert all(np.array_equal(after.samples[0][name], array) for name, array in before.samples[0].items())


def test_a_baseline_is_a_bundle_that_can_be_gated_itself(model: str, baseline: Path) -> None:
    document = run(str(baseline), baseline, [Side()], [Side(seed=1)])
    assert document["verdict"] == "ok"
    with pytest.raises(UsageError) as caught:
        run(str(baseline), baseline, [Side()], [Side()], choice=EngineChoice("openvino"))
    assert "a bundle has its engine" in str(caught.value)


def test_a_model_of_other_inputs_is_told_apart(model: str, baseline: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(convolution_classifier().SerializeToString())
    with pytest.raises(ModelError) as caught:
        run(str(other), baseline, [Side()], [Side()])
    assert caught.value.code == "gate.other-model"
    assert "--update" in caught.value.hint
    update_baseline(str(other), baseline, open_new=opener(Side()), clock=Clock(), timed=Timed())
    assert read_baseline(baseline).manifest["engine"]["name"] == "onnxruntime"
    assert read_baseline(baseline).samples[0]["x"].shape[1:] == (3, 16, 16)


def test_sizes_fixed_for_the_baseline_stay_fixed(model: str, tmp_path: Path) -> None:
    path = tmp_path / "fixed.baseline"
    update_baseline(model, path, shapes={"x": (3, 16)}, open_new=opener(Side()), clock=Clock())
    assert read_baseline(path).samples[0]["x"].shape == (3, 16)
    seen: list[Any] = []

    def open_new(path: Path, samples: Sequence[object]) -> Side:
        with open_bundle(path) as bundle:
            seen.append(bundle.manifest["inputs"][0]["shape"])
        return Side()

    gate(model, path, open_old=opener(Side()), open_new=open_new, clock=Clock())  # type: ignore[arg-type]
    assert seen[0] == [3, 16]


def test_data_are_timed_evenly_spread(model: str, baseline: Path, tmp_path: Path) -> None:
    rows = np.arange(10, dtype=np.float32)[:, None] * np.ones((1, 16), np.float32)
    np.save(tmp_path / "x.npy", rows)
    seen: list[Sequence[Mapping[str, np.ndarray]]] = []

    def open_side(path: Path, samples: Sequence[Mapping[str, np.ndarray]]) -> Side:
        seen.append(samples)
        return Side()

    timed = Timed(data=str(tmp_path / "x.npy"), samples=4)
    gate(model, baseline, timed=timed, open_old=open_side, open_new=open_side, clock=Clock())  # type: ignore[arg-type]
    assert [float(sample["x"][0, 0]) for sample in seen[0]] == [0.0, 3.0, 6.0, 9.0]
    with pytest.raises(UsageError):
        gate(model, baseline, timed=Timed(data=str(tmp_path / "x.npy"), samples=999), clock=Clock())
