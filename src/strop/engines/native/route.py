"""The way of a request through a model: steps that run one after the other, on machine code or on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from strop.engines.contract import OperationTime


class Step(Protocol):
    """A segment of a model, ready to run: arrays in the order of `inputs` in, fresh arrays in that of `outputs` out."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The values it reads, by name."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The values it makes, by name."""

    def run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the outputs; may be called from several threads at once. The arrays are in C order."""

    def profile(self, arrays: list[np.ndarray], repeats: int) -> list[OperationTime]:
        """Returns the time of each of its operations, a request."""

    def close(self) -> None:
        """Gives its threads and memory back."""


class Route:
    """Steps in order, and which values each needs; what no later step reads is let go at once.

    Args:
        steps: each reads only inputs of the route and what steps before it made.
        inputs: the names of the arrays a request brings.
        outputs: the names of what it gives back.
    """

    def __init__(self, steps: Sequence[Step], *, inputs: Sequence[str], outputs: Sequence[str]):
        self.steps = tuple(steps)
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        last_use = {name: number for number, step in enumerate(self.steps) for name in step.inputs}
        self._spent = tuple(
            tuple(
                name for name in {*step.inputs, *step.outputs} if self._is_spent(name, last_use.get(name, -1), number)
            )
            for number, step in enumerate(self.steps)
        )

    def run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Returns fresh outputs; may be called from several threads at once."""
        first = self.steps[0]
        if (first.inputs, first.outputs) == (self._inputs, self._outputs):  # it is the whole way, and in this order
            return first.run(arrays)
        values = dict(zip(self._inputs, arrays, strict=True))
        for step, spent in zip(self.steps, self._spent, strict=True):
            results = step.run([values[name] for name in step.inputs])
            values.update(zip(step.outputs, results, strict=True))
            for name in spent:
                del values[name]
        return [values[name] for name in self._outputs]

    def profile(self, arrays: list[np.ndarray], repeats: int) -> list[OperationTime]:
        """Returns the rows of all steps, in order."""
        values = dict(zip(self._inputs, arrays, strict=True))
        rows: list[OperationTime] = []
        for step in self.steps:
            given = [values[name] for name in step.inputs]
            rows += step.profile(given, repeats)
            values.update(zip(step.outputs, step.run(given), strict=True))
        return rows

    def close(self) -> None:
        """Closes every step."""
        for step in self.steps:
            step.close()

    def _is_spent(self, name: str, last: int, number: int) -> bool:
        return last <= number and name not in self._outputs
