"""Calibration: memory, ragged shapes, what is not finite. The model is run by a stand-in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from strop.model.load import load_model
from strop.model.model import Model
from strop.quality.contract import Run
from strop.quality.data import open_data
from strop.quality.split import evenly_spread
from strop.quantize.affine import Range
from strop.quantize.calibrate import Calibration, calibrate, groups
from strop.testing import models

MODEL = load_model(models.dynamic_width())


class _StandIn:
    """Gives tensors a, b, c of 1, 2, 3 times the input's size, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    @contextmanager
    def __call__(self, model: Model) -> Iterator[Run]:
        names = tuple(value.name for value in model.to_proto().graph.output)
        values = [node.input[0] for node in model.to_proto().graph.node if node.op_type == "Size"]
        self.asked.append(names)

        def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            x = next(iter(inputs.values()))
            tensors = {name: np.tile(x, times) for times, name in enumerate("abc", 1)}
            if values:
                return {f"size {index}": np.array(tensors[value].size) for index, value in enumerate(values)}
            return {name: tensors[name] for name in names}

        yield run


def _calibrate(samples: list[np.ndarray], memory_bytes: int, stand_in: _StandIn) -> Calibration:
    data = open_data([{MODEL.inputs[0].name: sample} for sample in samples], inputs=MODEL.inputs)
    return calibrate(MODEL, ["a", "b", "c"], data, memory_bytes=memory_bytes, compile_model=stand_in)


def _sample(width: int, value: float) -> np.ndarray:
    return np.full((1, 1, 8, width), value, np.float32)


def test_tensors_are_observed_in_groups_that_fit_the_memory() -> None:
    stand_in = _StandIn()
    result = _calibrate([_sample(4, 1.0), _sample(4, -2.0)], 3 * 32 * 4, stand_in)
    assert stand_in.asked[1:] == [("a", "b"), ("c",)]
    assert result.peak_bytes == 3 * 32 * 4
    assert {observer.extremes for observer in result.observers.values()} == {Range(-2.0, 1.0)}


def test_a_larger_sample_divides_the_groups_that_follow_and_no_sample_is_seen_twice_or_missed() -> None:
    stand_in = _StandIn()
    samples = [_sample(4, 1.0), _sample(40, 2.0), _sample(6, 3.0), _sample(2, -1.0)]
    result = _calibrate(samples, 6 * 32 * 4, stand_in)
    assert stand_in.asked[1:] == [("a", "b", "c"), ("a",), ("b", "c")]
    for observer in result.observers.values():
        assert (observer.samples, observer.extremes) == (4, Range(-1.0, 3.0))


def test_an_infinite_tensor_inside_the_model_is_noted_with_its_sample() -> None:
    class Overflowing(_StandIn):
        @contextmanager
        def __call__(self, model: Model) -> Iterator[Run]:
            with super().__call__(model) as run:
                yield lambda inputs: {
                    name: np.where(tensor > 2, np.inf, tensor) if tensor.dtype == np.float32 else tensor
                    for name, tensor in run(inputs).items()
                }

    result = _calibrate([_sample(4, 1.0), _sample(4, 3.0)], 1 << 20, Overflowing())
    assert result.not_finite == {"a": "1", "b": "1", "c": "1"}
    assert result.observers["a"].extremes == Range(1.0, 1.0)


def test_groups_keep_order_and_let_a_giant_stand_alone() -> None:
    assert groups({"a": 3, "b": 20, "c": 4, "d": 5}, 10) == [["a"], ["b"], ["c", "d"]]
    assert groups({}, 10) == []


def test_samples_are_spread_evenly_over_sorted_data() -> None:
    data = open_data([{MODEL.inputs[0].name: _sample(4, float(index))} for index in range(10)], inputs=MODEL.inputs)
    assert [sample.key for sample in evenly_spread(data, 4)] == ["0", "2", "5", "7"]
    assert len(evenly_spread(data, 300)) == 10
