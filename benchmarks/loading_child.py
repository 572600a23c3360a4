"""What `benchmarks.loading` times in a fresh process: run as a script with `name=value` words, prints one JSON line.

numpy is imported first and not counted; nothing that it does not import itself is there before the clock runs. A word
of the form `inputs.NAME=FILE.npy` is an input of the model.
"""

# No `from __future__ import annotations`, no json, no pathlib here: they count where Strop needs them.
import os
import sys
import time
from collections.abc import Callable

# One core is what the figures are of; numpy counts cores when it is imported. A test that imports this keeps its own.
if __name__ == "__main__" and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np

WARM_RUNS = 20
CALL_BLOCKS, CALLS = 30, 500


class Refusal:
    """Stands before all other importers and refuses these packages, as if they were not installed."""

    def __init__(self, names: str):
        self.names = set(names.split(","))

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"{name} must not be needed here", name=name)


def compile_model(inputs: dict[str, np.ndarray], *, model: str, engine: str, shapes: str = "{}") -> dict[str, float]:
    """Returns the seconds of imports, of compiling (on the clock, and of the processor), and of the first run."""
    import json

    start = time.perf_counter()
    import strop
    from strop.engines.registry import get_engine

    get_engine(engine).load()
    imported, spent = time.perf_counter(), time.process_time()
    compiled = strop.compile(model, engine=engine, threads=1, shapes=json.loads(shapes) or None)
    ready, spent = time.perf_counter(), time.process_time() - spent
    if inputs:
        compiled(inputs)
    first_run = time.perf_counter() - ready
    return {"import": imported - start, "compile": ready - imported, "processor": spent, "first_run": first_run}


def load_bundle(inputs: dict[str, np.ndarray], *, bundle: str, refused: str) -> dict[str, float]:
    """Returns the seconds from before `import strop` to after the first inference, and of a warm one."""
    sys.meta_path.insert(0, Refusal(refused))
    start = time.perf_counter()
    import strop

    model = strop.load(bundle)
    model(inputs)
    total = time.perf_counter() - start
    model(inputs)
    warm = []
    for _ in range(WARM_RUNS):
        begin = time.perf_counter()
        model(inputs)
        warm.append(time.perf_counter() - begin)
    return {"total": total, "warm": float(np.median(warm)), "beyond_warm": total - float(np.median(warm))}


def run_elsewhere(inputs: dict[str, np.ndarray], *, model: str, engine: str) -> dict[str, float]:
    """Compiles an ONNX file with a peer's own library and runs it; only the process's memory is asked for."""
    if engine == "openvino":
        import openvino

        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        compiled = openvino.Core().compile_model(model, "CPU", hints)
        for _ in range(2):
            compiled(inputs)
    else:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for _ in range(2):
            session.run(None, inputs)
    return {}


def call_model(inputs: dict[str, np.ndarray], *, model: str, engine: str) -> dict[str, float]:
    """Returns the seconds of one whole call, `model(x)` to a dict of fresh arrays, x a dict: the 10th percentile."""
    import strop

    compiled = strop.compile(model, engine=engine, threads=1)
    found = []
    for _ in range(CALL_BLOCKS):
        begin = time.perf_counter()
        for _ in range(CALLS):
            compiled(inputs)
        found.append((time.perf_counter() - begin) / CALLS)
    return {"call": float(np.percentile(found, 10))}


def main() -> None:
    asked = dict(word.split("=", 1) for word in sys.argv[1:])
    files = {name: asked.pop(name) for name in list(asked) if name.startswith("inputs.")}
    inputs = {name.removeprefix("inputs."): np.load(file, allow_pickle=False) for name, file in files.items()}
    before = _peak_mb()
    work: dict[str, Callable[..., dict[str, float]]]
    work = {"compile": compile_model, "load": load_bundle, "call": call_model, "elsewhere": run_elsewhere}
    found = work[asked.pop("what")](inputs, **asked)
    import json

    print(json.dumps({**found, "peak_mb": _peak_mb(), "interpreter_mb": before}))


def _peak_mb() -> float:
    """Returns the largest resident memory of this program; getrusage would count its parent's, too."""
    try:
        with open("/proc/self/status") as file:  # noqa: PTH123 - pathlib would not be counted any more
            status = file.read()
    except OSError:
        return float("nan")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    main()
