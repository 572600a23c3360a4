"""Does what `strop optimize` confirms agree with a plain loop over the engines' own calls?

    STROP_ZOO=... python -m benchmarks.confirmed_by_own_loop [NAME ...] [--budget 90s] [--seconds 30]

For each model (those of `benchmarks.eight_models`) the search runs as a user runs it. Then two plain processes take
turns of some 20 ms, at least five calls, with a pause between them so that no pool still spins: one with an ONNX
Runtime session on the original file, as the baseline is, one with `strop.load` on the bundle. The loop shares no code
with Strop's measuring; its ratio is the median over rounds, with the order statistics' 99 % interval.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results" / "confirmed_by_own_loop.json"
NAMES = ("cifar10_resnet56", "kws_dscnn", "mobilenet_v2")
CALLS, TURN, PAUSE, WARM_CALLS = 5, 0.02, 0.06, 20

CHILD = """
import sys, time
import numpy as np

kind, path, inputs, calls = sys.argv[1], sys.argv[2], dict(np.load(sys.argv[3])), int(sys.argv[4])
if kind == "bundle":
    import strop

    model = strop.load(path)
    call = lambda: model(inputs)
else:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    call = lambda: session.run(None, inputs)
began = time.perf_counter()
for _ in range(int(sys.argv[5])):
    call()
calls = max(calls, int(float(sys.argv[6]) * int(sys.argv[5]) / (time.perf_counter() - began)))
for line in sys.stdin:
    call()  # wakes threads
    taken = []
    for _ in range(calls):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    print(sorted(taken)[len(taken) // 2], flush=True)
"""


def own_loop(model: Path, bundle: Path, inputs: Path, seconds: float) -> dict[str, float]:
    """Returns medians in ms of the original and the bundle, and the ratio of their times, round by round."""

    def child(kind: str, path: Path) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", CHILD, kind, str(path), str(inputs), str(CALLS), str(WARM_CALLS), str(TURN)]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    with child("original", model) as original, child("bundle", bundle) as other:
        sides = {"original": original, "bundle": other}
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for side in sides.values():  # both are ready before the clock runs
            _turn(side)
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            for name in sides if len(taken["bundle"]) % 2 else reversed(sides):
                time.sleep(PAUSE)
                taken[name].append(_turn(sides[name]))
        for side in sides.values():
            assert side.stdin is not None
            side.stdin.close()
    ratios = sorted(before / after for before, after in zip(taken["original"], taken["bundle"], strict=True))
    off = max(0, math.ceil(len(ratios) / 2 - 1.29 * math.sqrt(len(ratios))) - 1)
    return {f"{name}_ms": statistics.median(each) * 1e3 for name, each in taken.items()} | {
        "ratio": statistics.median(ratios),
        "low": ratios[off],
        "high": ratios[len(ratios) - 1 - off],
        "rounds": len(ratios),
    }


def _turn(side: subprocess.Popen[str]) -> float:
    assert side.stdin is not None and side.stdout is not None
    side.stdin.write("go\n")
    side.stdin.flush()
    return float(side.stdout.readline())


def measure(name: str, budget: str, seconds: float) -> dict[str, Any]:
    """Returns what the search confirmed and what the loop says of one model."""
    import strop
    from benchmarks.eight_models import CASES
    from strop.model.load import load_model

    case = next(case for case in CASES if case.name == name)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        bundle, inputs = folder / f"{name}.strop", folder / "inputs.npz"
        words = [sys.executable, "-m", "strop.cli", "optimize", str(case.model()), *case.options(folder)]
        words += ["--budget", budget, "-o", str(bundle), "--json"]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
        document = json.loads(done.stdout)
        with strop.load(bundle) as loaded:
            vector = loaded.manifest["tests"]["vectors"][0]["inputs"]
            np.savez(inputs, **{key: loaded.bundle.array(member) for key, member in vector.items()})
        original = load_model(case.model()).save(folder / f"{name}.onnx")
        loop = own_loop(original, bundle, inputs, seconds)
    confirmed = {key: document["speedup"][key] for key in ("point", "low", "high")}
    meet = confirmed["low"] <= loop["high"] and loop["low"] <= confirmed["high"]
    return {"name": name, "label": document["label"], "confirmed": confirmed, "loop": loop, "intervals_meet": meet}


def main(words: Sequence[str] | None = None) -> None:
    """Prints a line a model and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(NAMES))
    parser.add_argument("--budget", default="90s")
    parser.add_argument("--seconds", type=float, default=30.0, help="of the loop, a model")
    options = parser.parse_args(words)
    if "STROP_ZOO" not in os.environ:
        parser.error("set STROP_ZOO to the folder with the models and their data")
    rows = []
    for name in options.names:
        rows.append(measure(name, options.budget, options.seconds))
        one, loop = rows[-1]["confirmed"], rows[-1]["loop"]
        print(
            f"{name}, {rows[-1]['label']}: confirmed {one['point']:.3f} ({one['low']:.3f} to {one['high']:.3f}), "
            f"own loop {loop['ratio']:.3f} ({loop['low']:.3f} to {loop['high']:.3f}), {loop['rounds']} rounds, "
            f"apart by {one['point'] / loop['ratio'] - 1:+.1%}",
            flush=True,
        )
    RESULTS.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
