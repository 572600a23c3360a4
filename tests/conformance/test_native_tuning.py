"""The knob `tune` of the engine native: measured once, found again, nothing lost, and the same answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import strop
from strop.compiler import tune
from strop.compiler.cache_folder import describe_cache
from strop.compiler.tune import Progress
from strop.engines.contract import Settings
from strop.engines.native.engine import NativeEngine
from strop.engines.registry import get_engine
from strop.model.load import load_model
from strop.testing.models import Weights, dynamic_width, model

pytestmark = pytest.mark.skipif(not get_engine("native").available().available, reason="native does not run here")


PROBLEMS = 4
"""Of the model below: two convolutions, and a copy from and to the caller's arrays."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Returns the file of two convolutions that leave a choice."""
    weights = Weights()
    first = helper.make_node("Conv", ["x", weights.add("w1", 48, 32, 3, 3)], ["c"], "conv1", pads=[1, 1, 1, 1])
    second = helper.make_node("Conv", ["c", weights.add("w2", 96, 48, 1, 1)], ["y"], "conv2")
    path = tmp_path / "model.onnx"
    made = model([first, second], {"x": (1, 32, 20, 20)}, {"y": (1, 96, 20, 20)}, weights)
    path.write_bytes(made.SerializeToString())
    return path


def image() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 32, 20, 20)).astype(np.float32)


def compiled(path: Path, **settings: object) -> dict[str, np.ndarray]:
    with strop.compile(path, engine="native", threads=1, **settings) as program:  # type: ignore[arg-type, attr-defined]
        found: dict[str, np.ndarray] = program(image())
        return found


def records(folder: Path) -> list[dict[str, object]]:
    (path,) = (folder / "records").glob("*.records")
    return [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()[1:]]


def test_a_tuned_model_gives_the_same_answers_and_is_measured_once(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = str(tmp_path / "cache")
    untuned, tuned = compiled(file, cache=cache), compiled(file, cache=cache, tune=True)
    assert np.linalg.norm(tuned["y"] - untuned["y"]) <= 1e-5 * np.linalg.norm(untuned["y"])
    assert len(records(tmp_path / "cache")) == PROBLEMS
    assert len(list((tmp_path / "cache" / "images").glob("*.image"))) == 2
    monkeypatch.setattr(tune, "take_turns", None)  # nothing is measured again, whatever becomes of the image
    assert (compiled(file, cache=cache, tune=True)["y"] == tuned["y"]).all()
    for path in (tmp_path / "cache" / "images").glob("*.image"):
        path.unlink()
    assert (compiled(file, cache=cache, tune=True)["y"] == tuned["y"]).all()


def test_an_untuned_compile_does_not_look_at_records(file: Path, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    before = NativeEngine().image(load_model(file), Settings(threads=1, cache=cache))
    compiled(file, cache=cache, tune=True)
    for path in (tmp_path / "cache" / "images").glob("*.image"):
        path.unlink()
    after = NativeEngine().image(load_model(file), Settings(threads=1, cache=cache))
    assert before is not None and after is not None
    assert before.plan == after.plan


def test_progress_is_told_and_ctrl_c_keeps_what_was_measured(file: Path, tmp_path: Path) -> None:
    settings = Settings(threads=1, cache=str(tmp_path / "cache"))
    told: list[Progress] = []

    def impatient(progress: Progress) -> None:
        told.append(progress)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        NativeEngine().tune(load_model(file), settings, impatient)
    assert [each.done for each in told] == [1] and told[0].problems == PROBLEMS
    assert len(records(tmp_path / "cache")) == 1
    NativeEngine().tune(load_model(file), settings, told.append)
    assert [each.done for each in told] == [1, *range(2, PROBLEMS + 1)]
    assert len(records(tmp_path / "cache")) == PROBLEMS


def test_damaged_records_are_measured_again(file: Path, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    compiled(file, cache=cache, tune=True)
    (path,) = (tmp_path / "cache" / "records").glob("*.records")
    path.write_bytes(b"\0" * 1000)
    for folder in ("images", "stamps"):
        for entry in (tmp_path / "cache" / folder).iterdir():
            entry.unlink()
    assert compiled(file, cache=cache, tune=True)["y"].shape == (1, 96, 20, 20)
    assert len(records(tmp_path / "cache")) == PROBLEMS


def test_the_cache_counts_records(file: Path) -> None:
    def kept() -> int:
        return next(int(kind["entries"]) for kind in describe_cache()["kinds"] if kind["kind"] == "records")

    before = kept()
    compiled(file, tune=True)
    assert kept() - before in (0, PROBLEMS)  # another test of this session may have measured them


def test_sizes_that_requests_bring_are_not_tuned(tmp_path: Path) -> None:
    program = strop.compile(dynamic_width(), engine="native", threads=1, tune=True, cache=str(tmp_path))
    with program:  # type: ignore[attr-defined]
        shape = [size if isinstance(size, int) else 8 for size in program.inputs[0].shape]
        program(np.zeros(shape, np.float32))
    assert not (tmp_path / "records").exists()
