"""A route hands values from step to step, keeps none longer than needed, and closes what it runs."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import numpy as np

from strop.engines.contract import OperationTime
from strop.engines.native.route import Route


class Doubling:
    """Gives twice the sum of its inputs."""

    def __init__(self, inputs: str, outputs: str, look: Callable[[], object] = lambda: None) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.look, self.closed = look, False

    def run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        self.look()
        return [2 * sum(arrays) for _ in self.outputs]

    def profile(self, arrays: list[np.ndarray], repeats: int) -> list[OperationTime]:
        return [OperationTime("".join(self.inputs), "Doubling", "EXECUTED", "", float(repeats))]

    def close(self) -> None:
        self.closed = True


def test_values_go_where_they_are_read() -> None:
    route = Route([Doubling("x", "a"), Doubling("ax", "b"), Doubling("ab", "c")], inputs="x", outputs="cb")
    assert [float(array) for array in route.run([np.float64(1)])] == [16.0, 6.0]


def test_one_step_may_name_inputs_and_outputs_in_another_order() -> None:
    class Both(Doubling):
        def run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
            return [10 * array for array in arrays]

    route = Route([Both("yx", "ba")], inputs="xy", outputs="ab")  # of x it makes a, of y b
    assert [float(array) for array in route.run([np.float64(1), np.float64(2)])] == [10.0, 20.0]


def test_a_value_nobody_reads_any_more_is_let_go() -> None:
    alive: list[bool] = []
    seen: list[weakref.ref[np.ndarray]] = []

    class Remembering(Doubling):
        def run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
            results = super().run(arrays)
            seen.append(weakref.ref(results[0]))
            return results

    def look() -> None:
        gc.collect()
        alive.append(seen[0]() is not None)

    steps = [Remembering("x", "a"), Doubling("a", "b"), Doubling("b", "c", look)]
    Route(steps, inputs="x", outputs="c").run([np.ones(3)])
    assert alive == [False]


def test_a_profile_has_the_rows_of_every_step() -> None:
    route = Route([Doubling("x", "a"), Doubling("a", "b")], inputs="x", outputs="b")
    assert [(row.name, row.milliseconds) for row in route.profile([np.ones(1)], 3)] == [("x", 3.0), ("a", 3.0)]


def test_closing_closes_every_step() -> None:
    steps = [Doubling("x", "a"), Doubling("a", "b")]
    Route(steps, inputs="x", outputs="b").close()
    assert all(step.closed for step in steps)
