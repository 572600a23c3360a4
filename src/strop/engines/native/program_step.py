"""A segment as machine code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from strop.engines.contract import OperationTime
from strop.engines.native.program_model import ProgramModel


class ProgramStep:
    """A compiled segment; it belongs to the step from now on.

    Args:
        program: what runs it.
        inputs, outputs: the values' names, in the program's order.
    """

    def __init__(self, program: ProgramModel, *, inputs: Sequence[str], outputs: Sequence[str]):
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._program = program

    def run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the outputs."""
        return list(self._program(arrays).values())

    def profile(self, arrays: list[np.ndarray], repeats: int) -> list[OperationTime]:
        """Returns a row for each task."""
        return self._program.profile(arrays, repeats=repeats)

    def close(self) -> None:
        """Gives the program's memory back."""
        self._program.close()
