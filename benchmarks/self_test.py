"""Shows on this machine that verdicts can be trusted: `python -m benchmarks.self_test [--quick]` (`make bench-self`).

Three promises, each at the default run length of `strop.measure.compare`:

- one thing against itself: at most 6 of 300 comparisons say `faster` or `slower` (1 % is promised);
- a twin that does 11 units of work for the other's 10: found `slower` in at least 45 of 50;
- an engine's latency right after another engine's block, once that one's threads were seen at rest, is the `same` as
  after a pause of 200 ms, at 1 and 2 threads. Without the check it often is not, which the table shows too.

The full series takes about an hour, `--quick` a few minutes. Results go to `benchmarks/results/self_test.json`.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from strop.measure.blocks import block
from strop.measure.clock import sleep, timestamp
from strop.measure.comparison import compare, compare_blocks
from strop.measure.estimate import Verdict
from strop.measure.turns import LocalTurn, wait_until_idle

RESULTS = Path(__file__).parent / "results" / "self_test.json"
Call = Callable[[], object]

UNDISTURBED = "latency after another engine's block is the same as after a pause"


@dataclass(frozen=True, slots=True)
class Series:
    """How many comparisons of each kind, and the limits that the full series must meet."""

    same: int
    slowed: int
    alarms_allowed: int
    found_needed: int


FULL = Series(same=300, slowed=50, alarms_allowed=6, found_needed=45)
QUICK = Series(same=10, slowed=5, alarms_allowed=1, found_needed=4)


def network(layers: int, channels: int, size: int, seed: int = 0) -> onnx.ModelProto:
    """Returns a chain of 3 x 3 convolutions with Relu."""
    generator = np.random.default_rng(seed)
    nodes, weights, value = [], [], "x"
    for layer in range(layers):
        weight = generator.standard_normal((channels, channels, 3, 3), np.float32) / (3 * channels**0.5)
        weights.append(numpy_helper.from_array(weight, f"w{layer}"))
        nodes.append(helper.make_node("Conv", [value, f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        value = f"r{layer}"
    shape = [1, channels, size, size]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, shape)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def onnxruntime_call(model: onnx.ModelProto, threads: int) -> Call:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = _inputs(model)
    return lambda: session.run(None, inputs)


def openvino_call(model: onnx.ModelProto, threads: int) -> Call | None:
    try:
        import openvino
    except ImportError:
        return None
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)
    request = compiled.create_infer_request()
    inputs = _inputs(model)
    return lambda: request.infer(inputs, share_inputs=True, share_outputs=True)


def numpy_call() -> Call:
    values = np.linspace(0.0, 1.0, 32768, dtype=np.float32)
    return lambda: np.exp(values)


def times(call: Call, count: int) -> Call:
    def run() -> None:
        for _ in range(count):
            call()

    return run


def units() -> Iterator[tuple[str, Call]]:
    """Yields what is compared with itself: about 0.1 ms each, taken 10 times a call."""
    yield "numpy exp", numpy_call()
    small = network(layers=2, channels=16, size=28)
    yield "ONNX Runtime, 1 thread", onnxruntime_call(small, 1)
    yield "ONNX Runtime, 2 threads", onnxruntime_call(network(layers=4, channels=16, size=28), 2)


def verdicts(base: Call, twin: Call, runs: int, what: str) -> dict[str, object]:
    counted: Counter[str] = Counter()
    widths, rounds = [], []
    started = time.perf_counter()
    for number in range(runs):
        speedup = compare({"base": base, "twin": twin}, seed=number)["twin"].speedup
        counted[str(speedup.verdict)] += 1
        widths.append((speedup.ratio.high - speedup.ratio.low) / 2)
        rounds.append(speedup.ratio.n)
        print(f"\r{what}: {number + 1}/{runs}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return {
        "what": what,
        "runs": runs,
        **{str(verdict): counted[str(verdict)] for verdict in Verdict},
        "half_width": float(np.median(widths)),
        "rounds": float(np.median(rounds)),
        "seconds_each": (time.perf_counter() - started) / runs,
    }


def after_another(
    model: onnx.ModelProto, threads: int, seconds: float, only: str | None = None
) -> list[dict[str, object]]:
    """Returns how each engine's latency right after the other's block compares with that after a pause.

    only: the name of the one engine to measure; its unchecked turns, which are slow, are then left out.
    """
    engines = {"ONNX Runtime": onnxruntime_call(model, threads), "OpenVINO": openvino_call(model, threads)}
    rows: list[dict[str, object]] = []
    for name, other in (("OpenVINO", "ONNX Runtime"), ("ONNX Runtime", "OpenVINO")):
        if only not in (None, name):
            continue
        measured, neighbour = engines[name], engines[other]
        if measured is None or neighbour is None:
            print("OpenVINO is not installed: no neighbour to take turns with", file=sys.stderr)
            return rows
        run, disturb = block(measured), block(neighbour)

        def rested(n: int, run=run, disturb=disturb) -> list[float]:
            disturb(5)
            wait_until_idle([])
            return list(run(n))

        def unrested(n: int, run=run, disturb=disturb) -> list[float]:
            disturb(5)
            return list(run(n))

        def paused(n: int, run=run, disturb=disturb) -> list[float]:
            disturb(5)  # so that the caches are as cold as in the other conditions
            sleep(0.2)
            return list(run(n))

        conditions = {"rested": LocalTurn(rested)} | ({} if only else {"at once": LocalTurn(unrested)})
        result = compare_blocks({"pause": LocalTurn(paused)} | conditions, seconds=seconds)
        for condition in conditions:
            rows.append(
                {
                    "when": timestamp(),
                    "engine": name,
                    "after": other,
                    "threads": threads,
                    "condition": condition,
                    "latency_ms": result[condition].estimate.scaled(1000).to_json(),
                    "pause_ms": result["pause"].estimate.scaled(1000).to_json(),
                    "speedup": result[condition].speedup.to_json(),
                }
            )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a short series")
    parser.add_argument("--same", type=int, help="how many comparisons of one thing with itself")
    parser.add_argument("--slowed", type=int, help="how many comparisons with a slowed twin")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument(
        "--neighbour", metavar="ENGINE,THREADS", help='only repeat this row ("OpenVINO,2") and put it into the results'
    )
    parser.add_argument("--seconds", type=float, help="how long a row of neighbours takes (180)")
    options = parser.parse_args()
    if options.neighbour:
        return repeat_neighbour(options.neighbour, options.seconds or 300.0, options.output)
    series = QUICK if options.quick else FULL
    same, slowed = options.same or series.same, options.slowed or series.slowed

    kinds = list(units())
    rows = []
    print(
        f"{'comparison':34} {'runs':>4} {'faster':>7} {'slower':>6} {'same':>5} {'cannot tell':>11} "
        f"{'+-':>6} {'each':>7}"
    )
    for share, (name, unit) in zip(_shares(same, len(kinds)), kinds, strict=True):
        rows.append(_shown(verdicts(times(unit, 10), times(unit, 10), share, f"A/A {name}")))
    for share, (name, unit) in zip(_shares(slowed, len(kinds)), kinds, strict=True):
        rows.append(_shown(verdicts(times(unit, 10), times(unit, 11), share, f"10 % slower {name}")))
    alarms = sum(int(row["faster"]) + int(row["slower"]) for row in rows[: len(kinds)])
    found = sum(int(row["slower"]) for row in rows[len(kinds) :])

    neighbours = []
    for threads in (1, 2):
        neighbours += after_another(
            network(layers=6, channels=64, size=28), threads, options.seconds or (6.0 if options.quick else 180.0)
        )
    show_neighbours(neighbours)
    undisturbed = are_undisturbed(neighbours)
    alarms_allowed = series.alarms_allowed if same == series.same else max(1, same // 50)
    found_needed = series.found_needed if slowed == series.slowed else slowed * 9 // 10
    passed = {
        f"A/A: {alarms} false alarms in {same}, {alarms_allowed} allowed": alarms <= alarms_allowed,
        f"10 % slower: found in {found} of {slowed}, {found_needed} needed": found >= found_needed,
        UNDISTURBED: undisturbed,
    }
    print()
    for promise, kept in passed.items():
        print(f"{'kept  ' if kept else 'BROKEN'} {promise}")
    record = {
        "schema": "strop.self-test/1",
        "when": timestamp(),
        "command": "python -m benchmarks.self_test " + " ".join(sys.argv[1:]),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "alarms": alarms,
        "same": same,
        "found": found,
        "slowed": slowed,
        "promises": passed,
        "comparisons": rows,
        "neighbours": neighbours,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0 if all(passed.values()) else 1


def repeat_neighbour(row: str, seconds: float, output: Path) -> int:
    """Measures one engine after the other again, and replaces its checked row in the results at `output`."""
    engine, threads = row.split(",")
    again = after_another(network(layers=6, channels=64, size=28), int(threads), seconds, only=engine)
    show_neighbours(again)
    record = json.loads(output.read_text(encoding="utf-8"))
    places = {(r["engine"], r["threads"], r["condition"]): i for i, r in enumerate(record["neighbours"])}
    for measured in again:
        record["neighbours"][places[measured["engine"], measured["threads"], measured["condition"]]] = measured
    record["promises"][UNDISTURBED] = are_undisturbed(record["neighbours"])
    output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0 if are_undisturbed(again) else 1


def are_undisturbed(rows: list[dict[str, object]]) -> bool:
    return all(row["speedup"]["verdict"] == Verdict.SAME for row in rows if row["condition"] == "rested")


def show_neighbours(rows: list[dict[str, object]]) -> None:
    print(
        f"\n{'latency right after another engine':36} {'threads':>7} {'threads at rest':>16} {'speed-up':>24} verdict"
    )
    for row in rows:
        speedup = row["speedup"]
        interval = f"{speedup['point']:.3f} [{speedup['low']:.3f}, {speedup['high']:.3f}]"
        checked = "checked" if row["condition"] == "rested" else "not checked"
        print(
            f"{row['engine'] + ' after ' + row['after']:36} {row['threads']:>7} {checked:>16} {interval:>24} "
            f"{speedup['verdict']}"
        )


def _inputs(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    value = model.graph.input[0]
    shape = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
    return {value.name: np.random.default_rng(0).standard_normal(shape, np.float32)}


def _shares(total: int, parts: int) -> list[int]:
    return [total // parts + (part < total % parts) for part in range(parts)]


def _shown(row: dict[str, object]) -> dict[str, object]:
    print(
        f"{row['what']:34} {row['runs']:>4} {row['faster']:>7} {row['slower']:>6} {row['same']:>5} "
        f"{row['cannot tell']:>11} "
        f"{row['half_width']:>6.1%} {row['seconds_each']:>5.1f} s",
        flush=True,
    )
    return row


if __name__ == "__main__":
    sys.exit(main())
