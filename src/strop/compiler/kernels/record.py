"""The entry of a kernel: one function that takes a pointer to its record, and what the record's words hold."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from strop.compiler.emit import Function, Module, Value
from strop.compiler.kernels.contract import Problem

_NUMBERS = ("begin", "end")


class Record:
    """The words of a kernel's record by name, loaded once at its start."""

    def __init__(self, f: Function, arguments: Sequence[str], numbers: Collection[str] = ()) -> None:
        self._words = {
            name: f.load("i64" if name in _NUMBERS or name in numbers else "ptr", f.arguments[0], 8 * place, align=8)
            for place, name in enumerate(arguments)
        }

    def __getitem__(self, name: str) -> Value:
        return self._words[name]


def start_kernel(
    module: Module, symbol: str, arguments: Sequence[str], numbers: Collection[str] = ()
) -> tuple[Function, Record]:
    """Returns the kernel's function, with its arguments loaded; those of `numbers` are numbers, as begin and end."""
    f = module.function(symbol, ["ptr"])
    return f, Record(f, arguments, numbers)


def epilogue_arguments(problem: Problem, weights: int = 0) -> list[str]:
    """Returns the names of what every epilogue needs: the output, inputs 1 and up, per-channel vectors.

    weights: how many arrays of the kernel's own come before the per-channel vectors.
    """
    inputs = [f"input{index}" for index in range(1, len(problem.inputs))]
    return ["output", *inputs, *(f"weights{weights + index}" for index in range(problem.channels))]


def pack_channels(problem: Problem, channels: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns the per-channel vectors as kernels read them: float32, zeros up to a whole 64 bytes."""
    packed = []
    for vector in channels:
        whole = np.zeros(-(-problem.output.shape[1] // 16) * 16, np.float32)
        whole[: problem.output.shape[1]] = np.broadcast_to(np.ravel(vector), (problem.output.shape[1],))
        packed.append(whole)
    return packed
