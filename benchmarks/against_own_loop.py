"""Does `strop compare` agree with a plain loop over the engines' own Python API? At 1 and at 2 threads.

The loop shares no code with Strop: it opens an ONNX Runtime session and an OpenVINO request itself, runs them in turns
of a few calls, sleeps between turns so that no pool still spins, and takes the median of the per-round ratios.
The two ways alternate several times, since the machine's speed changes from minute to minute.

    python -m benchmarks.against_own_loop [MODEL.onnx] [--threads 1 2] [--repeats 5] [--seconds 8]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results" / "against_own_loop.json"


def own_loop(model: str, inputs: dict[str, np.ndarray], threads: int, seconds: float) -> dict[str, float]:
    """Returns medians in ms of both engines and the ratio ONNX Runtime / OpenVINO (above 1: OpenVINO is faster)."""
    import onnxruntime
    import openvino

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(model, "CPU", hints).create_infer_request()
    # Each engine is called its quickest way: else OpenVINO copies the inputs, which ONNX Runtime never does.
    ways = {
        "onnxruntime": lambda: session.run(None, inputs),
        "openvino": lambda: request.infer(inputs, share_inputs=True, share_outputs=True),
    }
    samples: dict[str, list[float]] = {name: [] for name in ways}
    ratios = []
    for way in ways.values():
        for _ in range(20):
            way()
    start = time.perf_counter()
    turn = 0
    while time.perf_counter() - start < seconds:
        medians = {}
        for name in ways if turn % 2 else reversed(ways):
            time.sleep(0.06)  # longer than either pool spins
            ways[name]()  # wakes the pool
            taken = []
            for _ in range(5):
                begin = time.perf_counter()
                ways[name]()
                taken.append(time.perf_counter() - begin)
            samples[name] += taken
            medians[name] = statistics.median(taken)
        ratios.append(medians["onnxruntime"] / medians["openvino"])
        turn += 1
    ordered = sorted(ratios)
    off = math.ceil(len(ordered) / 2 - 1.29 * math.sqrt(len(ordered))) - 1  # order statistics at 99 %
    return {name: statistics.median(taken) * 1e3 for name, taken in samples.items()} | {
        "ratio": statistics.median(ratios),
        "low": ordered[max(0, off)],
        "high": ordered[min(len(ordered) - 1, len(ordered) - 1 - off)],
    }


def strop_compare(model: str, inputs: Path, threads: int, seconds: float) -> dict[str, float | str]:
    """Returns what `strop compare` says of the same two engines."""
    command = [sys.executable, "-m", "strop.cli", "compare", model, "--engines", "onnxruntime,openvino", "--json"]
    command += ["--input", str(inputs), "--threads", str(threads), "--seconds", str(seconds), "--no-first-inference"]
    document = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    first, second = document["results"]
    return {
        "onnxruntime": first["latency_ms"]["point"],
        "openvino": second["latency_ms"]["point"],
        "ratio": second["speedup"]["point"],
        "low": second["speedup"]["low"],
        "high": second["speedup"]["high"],
        "verdict": second["speedup"]["verdict"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--loop", help=argparse.SUPPRESS)  # the loop alone, in a process of its own
    arguments = parser.parse_args()
    if arguments.loop:
        with np.load(arguments.loop) as stored:
            found = own_loop(arguments.model, dict(stored), arguments.threads[0], arguments.seconds)
        print(json.dumps(found))
        return
    from strop.model.load import load_model
    from strop.model.random_inputs import make_inputs

    with tempfile.TemporaryDirectory() as folder:
        if arguments.model is None:
            from strop.demo import model_path

            arguments.model = str(model_path())
            shapes = {"x": (1, 3, 48, 320)}
        else:
            shapes = None
        loaded = load_model(arguments.model)
        model = str(loaded.save(Path(folder) / f"{loaded.name}.onnx"))
        inputs = Path(folder) / "x.npz"
        np.savez(inputs, **make_inputs(loaded, shapes=shapes))
        rows = []
        for threads in arguments.threads:
            ours, loops = [], []
            for _ in range(arguments.repeats):
                ours.append(strop_compare(model, inputs, threads, arguments.seconds))
                command = [sys.executable, "-m", "benchmarks.against_own_loop", model, "--loop", str(inputs)]
                command += ["--threads", str(threads), "--seconds", str(arguments.seconds)]
                loops.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            agree = sum(
                our["low"] <= loop["high"] and loop["low"] <= our["high"] for our, loop in zip(ours, loops, strict=True)
            )
            loop_ratio = statistics.median(loop["ratio"] for loop in loops)
            our_ratio = statistics.median(our["ratio"] for our in ours)
            rows.append({"threads": threads, "strop": ours, "loop": loops, "agree": agree})
            each = ", ".join(f"{our['ratio']:.3f} [{our['low']:.3f} to {our['high']:.3f}]" for our in ours)
            plain = ", ".join(f"{loop['ratio']:.3f} [{loop['low']:.3f} to {loop['high']:.3f}]" for loop in loops)
            print(f"{loaded.name}, {threads} threads, ONNX Runtime / OpenVINO")
            print(f"  strop compare: {our_ratio:.3f} ({each})")
            print(f"  own loop:      {loop_ratio:.3f} ({plain})")
            print(f"  apart by {our_ratio / loop_ratio - 1:+.1%}; the 99 % intervals meet in {agree} of {len(ours)}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"model": loaded.name, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
