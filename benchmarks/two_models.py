"""Two models in one process, called from two threads: python -m benchmarks.two_models [--seconds 10] [--engines a,b]

Is what the thread budget does better than leaving the two alone? Per engine, each arrangement in a process of its own,
windows of requests by turns so that all meet the same disturbances; pairs of requests (one of each model) a second:

- in turn: both models with all cores, called one after the other from one thread: what sharing must not fall below;
- shared: the same, called from two threads; requests take turns by the budget (the default);
- unshared: the same with share_cores=False: all threads of both at once;
- divided: both with half of the cores each, called from two threads.

Also with the engine of each model another one (onnxruntime beside native). Results: benchmarks/results/two_models.json.
"""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.self_test import network
from strop.engines.compile import compile as compile_model
from strop.engines.contract import CompiledModel
from strop.machine import machine
from strop.measure.clock import now, timestamp
from strop.measure.comparison import compare_blocks
from strop.measure.contention import between, snapshot
from strop.measure.worker import Worker

RESULTS = Path(__file__).parent / "results" / "two_models.json"
ARRANGEMENTS = ("in turn", "shared", "unshared", "divided")
SIZES = {"small": (2, 16, 28), "medium": (6, 64, 28)}
"""Chains of convolutions: layers, channels, height and width."""


class Pair:
    """Two models, and windows of n requests of each."""

    def __init__(self, engines: Sequence[str], arrangement: str, size: str, cores: int):
        import numpy as np

        layers, channels, side = SIZES[size]
        threads = max(1, cores // 2) if arrangement == "divided" else cores
        self.models: list[CompiledModel] = [
            compile_model(
                network(layers, channels, side, seed=seed),
                engine=engine,
                threads=threads,
                share_cores=arrangement != "unshared",
            )
            for seed, engine in enumerate(engines)
        ]
        self.input = {"x": np.random.default_rng(0).standard_normal((1, channels, side, side), np.float32)}
        self._at_once = arrangement != "in turn"

    def block(self, n: int) -> list[float]:
        """Returns n times the seconds that a pair of requests took, on average over all n."""
        began = now()
        if not self._at_once:
            for _ in range(n):
                for model in self.models:
                    model(self.input)
            return [(now() - began) / n] * n
        start = threading.Barrier(len(self.models) + 1)
        threads = [threading.Thread(target=self._many, args=(model, n, start)) for model in self.models]
        for thread in threads:
            thread.start()
        start.wait()
        began = now()
        for thread in threads:
            thread.join()
        return [(now() - began) / n] * n

    def contended(self, n: int) -> dict[str, object]:
        """Returns what the system says of n requests of each: waiting, set aside; and what the budget says."""
        from strop.engines.thread_budget import BUDGET

        before = snapshot()
        self.block(n)
        return {**between(before, snapshot()).to_json(), "budget": BUDGET.report()}

    def close(self) -> None:
        for model in self.models:
            model.close()

    def _many(self, model: CompiledModel, n: int, start: threading.Barrier) -> None:
        start.wait()
        for _ in range(n):
            model(self.input)


def open_pair(*, engines: list[str], arrangement: str, size: str, cores: int) -> Pair:
    """Returns two models; called in the worker."""
    import warnings

    warnings.simplefilter("ignore")  # that requests wait for one another is what is measured here
    return Pair(engines, arrangement, size, cores)


def measure(engines: Sequence[str], size: str, seconds: float) -> dict[str, object]:
    """Returns the rates of all arrangements, and each one's speed-up over `in turn` with its interval."""
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(
                Worker(
                    "benchmarks.two_models:open_pair",
                    {"engines": list(engines), "arrangement": name, "size": size, "cores": machine().cores},
                )
            )
            for name in ARRANGEMENTS
        }
        compared = compare_blocks(workers, seconds=seconds)
        rows = {
            name: {
                "pairs_per_second": 1 / one.estimate.point,
                "speedup": one.speedup.to_json(),
                "contention": workers[name].call("contended", n=50).value,
            }
            for name, one in compared.items()
        }
    return {"engines": list(engines), "size": size, "arrangements": rows}


def main(words: Sequence[str] | None = None, show: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="a row")
    parser.add_argument("--engines", type=lambda text: text.split(","), default=["onnxruntime", "openvino", "native"])
    parser.add_argument("--sizes", type=lambda text: text.split(","), default=list(SIZES))
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    pairs = [(engine, engine) for engine in options.engines]
    if {"onnxruntime", "native"} <= set(options.engines):
        pairs.append(("onnxruntime", "native"))
    rows = []
    show(f"pairs of requests a second, {machine().cpu_name}, {machine().cores} cores; in brackets against `in turn`")
    show(f"{'engines':24} {'size':7} " + " ".join(f"{name:>26}" for name in ARRANGEMENTS))
    for size in options.sizes:
        for pair in pairs:
            row = measure(pair, size, options.seconds)
            rows.append(row)
            cells = []
            for name in ARRANGEMENTS:
                found = row["arrangements"][name]
                ratio = found["speedup"]
                cells.append(
                    f"{found['pairs_per_second']:.0f} ({ratio['point']:.2f}, {ratio['low']:.2f}-{ratio['high']:.2f})"
                )
            show(f"{' + '.join(pair):24} {size:7} " + " ".join(f"{cell:>26}" for cell in cells))
    record = {"schema": "strop.two-models/1", "when": timestamp(), "machine": machine().to_json(), "rows": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
