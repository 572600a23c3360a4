"""One kernel alone, on memory of its own, ready to be called again and again: what tuning and benchmarks time.

Its weights can lie in memory several times over, and the copies take turns: in a network, all other layers' weights
pass through the caches between two runs of one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from strop.compiler.isa.table import Isa
from strop.compiler.kernels.contract import Kernel, Problem, Schedule
from strop.compiler.layouts import SLACK, Layout, array_of
from strop.compiler.link import link
from strop.compiler.machine_code import compile_objects
from strop.compiler.object_cache import ObjectCache
from strop.loader.code import map_code
from strop.loader.memory import allocate

Shared = dict[tuple[str, Layout | None], np.ndarray]
"""Memory by what lies in it and how."""


class Alone:
    """A kernel with its operands in memory; a call runs all of it once, on this thread.

    Args:
        kernel, problem, schedule, isa: what to run.
        weights: the packed arrays behind "weights0" ...; what they hold does not matter for the time.
        copies: how many sets of them take turns.
        in_place: which inputs lie where the output does.
        shared: where several kernels of one problem find their images and scratch, so that these are as near as in a
            network, where the operation before has just written them; weights alone are each one's own.
        cache: of machine code.
    """

    def __init__(
        self,
        kernel: Kernel,
        problem: Problem,
        schedule: Schedule,
        isa: Isa,
        weights: Sequence[np.ndarray],
        *,
        copies: int = 1,
        in_place: frozenset[int] = frozenset(),
        shared: Shared | None = None,
        cache: ObjectCache | None = None,
    ) -> None:
        code = kernel.emit(problem, schedule, isa)
        blob = link(list(compile_objects(code.objects, isa, cache).values()), isa)
        self._code = map_code(blob.data)
        self._function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._code.address_of(blob.symbols[code.symbol]))
        shared = {} if shared is None else shared
        output = _memory(shared, "output", problem.output)
        words = {
            "begin": 0,
            "end": kernel.split(problem, schedule, isa).units,
            "output": _first(output, problem.output),
        }
        self._kept = [output]
        for index, layout in enumerate(problem.inputs):
            if index in in_place:
                words[f"input{index}"] = words["output"]
                continue
            memory = _memory(shared, f"input{index}", layout)
            words[f"input{index}"] = _first(memory, layout)
            self._kept.append(memory)
        scratch = shared.get(("workspace", None))
        needed = kernel.workspace(problem, schedule, isa) + SLACK
        if scratch is None or len(scratch) < needed:
            scratch = shared["workspace", None] = allocate(needed)
        words["workspace"] = int(scratch.ctypes.data)
        self._kept.append(scratch)
        words.update(code.numbers)
        self._records = []
        for _ in range(copies):
            for index, array in enumerate(weights):
                own = allocate(array.nbytes + SLACK)
                own[: array.nbytes] = array.reshape(-1).view(np.uint8)
                words[f"weights{index}"] = int(own.ctypes.data)
                self._kept.append(own)
            self._records.append(np.array([words[name] for name in code.arguments], np.int64))
        self._addresses = [record.ctypes.data for record in self._records]
        self._turn = 0

    def __call__(self) -> None:
        """Runs it once, on the next set of weights."""
        self._turn = (self._turn + 1) % len(self._addresses)
        self._function(self._addresses[self._turn])


def _memory(shared: Shared, name: str, layout: Layout) -> np.ndarray:
    """Returns memory for a value with its halo, and the slack behind it; made when it is first asked for."""
    if (name, layout) not in shared:
        shared[name, layout] = allocate(layout.span + SLACK)
        _fill(shared[name, layout], layout, seed=len(shared))
    return shared[name, layout]


def _first(memory: np.ndarray, layout: Layout) -> int:
    return int(memory.ctypes.data) + layout.before


def _fill(memory: np.ndarray, layout: Layout, seed: int) -> None:
    """Puts floats of a usual size into a value; integers stay 0, which is an index everywhere."""
    if np.dtype(layout.dtype).kind != "f":
        return
    values = array_of(memory, layout, layout.before)
    distinct = values[tuple(slice(None) if stride else slice(0, 1) for stride in layout.strides)]
    distinct[...] = np.random.default_rng(seed).standard_normal(distinct.shape, np.float32)
