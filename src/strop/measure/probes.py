"""Small kernels whose speed stands for the machine's: what a model's time is divided by where nothing old can be run.

Five kinds of work that machines differ in: products in the caches (arithmetic), a copy through memory (bandwidth), a
function of many numbers (vector units), reads at random places (latency), Python (a core's single-thread speed). They
run in a worker process, the first four on as many threads as the model, so that a taken core slows both.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np

from strop.measure.blocks import block
from strop.measure.worker import DEFAULT_TIMEOUT, Timeout, Worker

FACTORY = "strop.measure.probes:open_probes"
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

Kernel = Callable[[], object]


class Probes:
    """The kernels in a worker process; `turns` are sides of a comparison, by the kernels' names."""

    def __init__(self, threads: int, *, timeout: Timeout = DEFAULT_TIMEOUT):
        self._worker = Worker(FACTORY, {"threads": threads}, environment=_ENVIRONMENT, timeout=timeout)
        self.turns = {name: ProbeTurn(self._worker, name) for name in _MAKERS}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.close()


class ProbeTurn:
    """One kernel as a side of a comparison."""

    def __init__(self, worker: Worker, name: str):
        self._worker, self._name = worker, name

    def block(self, n: int) -> list[float]:
        """Returns the seconds of n runs."""
        seconds: list[float] = self._worker.call("time", name=self._name, n=n).value
        return seconds

    def cpu_seconds(self) -> float:
        """Returns the CPU seconds the worker has used."""
        return self._worker.cpu_seconds()


class HostedProbes:
    """The kernels, where they run: in the worker."""

    def __init__(self, threads: int):
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._blocks = {}
        for name, make in _MAKERS.items():
            kernels = [make(np.random.default_rng(number)) for number in range(threads)]
            self._blocks[name] = block(kernels[0] if name in _ALONE else self._together(kernels))

    def time(self, name: str, n: int) -> list[float]:
        """Returns the seconds of n runs of a kernel."""
        return list(self._blocks[name](n))

    def close(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _together(self, kernels: list[Kernel]) -> Kernel:
        pool = self._pool
        if pool is None:
            return kernels[0]

        def run() -> None:
            for future in [pool.submit(kernel) for kernel in kernels]:
                future.result()

        return run


def open_probes(*, threads: int) -> HostedProbes:
    """Returns the kernels for so many threads; called in the worker."""
    return HostedProbes(threads)


def _product(random: np.random.Generator) -> Kernel:
    a, b = random.standard_normal((2, 256, 256), np.float32)
    result = np.empty_like(a)
    return lambda: np.matmul(a, b, out=result)


def _stream(random: np.random.Generator) -> Kernel:
    source = np.zeros(4 << 20, np.uint8)
    target = np.ones_like(source)
    return lambda: np.copyto(target, source)


def _exponential(random: np.random.Generator) -> Kernel:
    values = random.standard_normal(1 << 16).astype(np.float32)
    result = np.empty_like(values)
    return lambda: np.exp(values, out=result)


def _gather(random: np.random.Generator) -> Kernel:
    table, places = np.zeros(1 << 20, np.float32), random.integers(0, 1 << 20, 1 << 16)
    result = np.empty(len(places), np.float32)
    return lambda: np.take(table, places, out=result, mode="clip")


def _interpreter(random: np.random.Generator) -> Kernel:
    def run() -> int:
        total = 0
        for number in range(5000):
            total += number
        return total

    return run


_MAKERS: dict[str, Callable[[np.random.Generator], Kernel]] = {
    "product": _product,
    "stream": _stream,
    "exponential": _exponential,
    "gather": _gather,
    "interpreter": _interpreter,
}
_ALONE = frozenset(["interpreter"])  # Python's lock lets no second thread take part
