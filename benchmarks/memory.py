"""How much memory a process needs that loads a network and runs it: `python -m benchmarks.memory [--networks mlp]`.

For each network, in fresh processes of one thread: the largest resident memory (VmHWM) of one that loads our bundle
(free sizes fixed) and runs it, with llvmlite, onnx and onnxruntime refused, and of ones that compile the ONNX file with
OpenVINO (latency hint, float32) and ONNX Runtime and run it. What we are held to is a multiple of what cannot be done
without: the weights as ONNX has them, the planned arena, and the interpreter with numpy. Mapped pages count. The bundle
was loaded before; the first load of all, which hashes the weights and loads OpenSSL for it, is a figure of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.latency.measuring import OURS
from benchmarks.loading import Workplace, ask_child
from benchmarks.networks.registry import NETWORKS, network_file
from strop import __version__
from strop.documents import to_text
from strop.engines.contract import Settings
from strop.engines.native.engine import NativeEngine
from strop.machine import machine
from strop.measure.clock import timestamp
from strop.runtime.whole_file import write_whole

RESULTS = Path(__file__).parent / "results" / "memory.json"
PEERS = ("openvino", "onnxruntime")
LIMIT, LIMITS = 1.3, {"resnet18": 1.7}  # times the floor; of ResNet-18 Winograd's weights are much of all
REPEATS = 3
SETTLED_SECONDS = 2.2


def measure(name: str, place: Workplace) -> dict[str, Any]:
    """Returns the figures of one network, in MB; of several processes the smallest peak."""
    file, inputs = network_file(NETWORKS[name]), place.inputs(name)
    bundle, cache = place.bundle(name), place.warm_cache()
    first = ask_child(bundle, cache)
    time.sleep(SETTLED_SECONDS)  # only then is a note believed that the file's hashes were right
    ask_child(bundle, cache)
    ours = [ask_child(bundle, cache) for _ in range(REPEATS)]
    row: dict[str, Any] = {
        "name": name,
        "onnx_weights": 4e-6 * NETWORKS[name].parameters,
        "interpreter": min(each["interpreter_mb"] for each in ours),
        "ours": min(each["peak_mb"] for each in ours),
        "ours_first_load": first["peak_mb"],
        "limit": LIMITS.get(name, LIMIT),
    }
    image = NativeEngine().image(place.model(name), Settings(threads=1, precision="f32"))
    assert image is not None, f"{name} is not native as a whole"
    row |= {"packed_weights": image.plan.weights / 1e6, "arena": image.plan.arena / 1e6}
    for peer in PEERS:
        question = {"what": "elsewhere", "model": str(file), "engine": peer, **inputs}
        row[peer] = min(ask_child(question, place.warm_cache())["peak_mb"] for _ in range(REPEATS))
    row["floor"] = row["onnx_weights"] + row["arena"] + row["interpreter"]
    row["times_floor"] = row["ours"] / row["floor"]
    return row


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the figures as a table, in MB."""
    lines = [
        f"{'MB':18} {'weights':>8} {'packed':>8} {'arena':>7} {'python':>7} {'floor':>7} {'ours':>7} {'times':>6} "
        f"{'at most':>8} {'OpenVINO':>9} {'ORT':>7}"
    ]
    for row in rows:
        lines.append(
            f"{row['name']:18} {row['onnx_weights']:>8.1f} {row['packed_weights']:>8.1f} "
            f"{row['arena']:>7.1f} {row['interpreter']:>7.1f} {row['floor']:>7.1f} {row['ours']:>7.1f} "
            f"{row['times_floor']:>6.2f} {row['limit']:>8.2f} {row['openvino']:>9.1f} {row['onnxruntime']:>7.1f}"
        )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.memory", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    every = [name for name in NETWORKS if name != "mlp"]
    parser.add_argument("--networks", default=",".join(every), help="which networks, separated by commas")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file of the results")
    options = parser.parse_args(words)
    rows = []
    with tempfile.TemporaryDirectory(prefix="strop-") as folder:
        place = Workplace(Path(folder), OURS)
        for name in options.networks.split(","):
            if name not in NETWORKS:
                parser.error(f"{name!r} is no network of the benchmark")
            rows.append(measure(name, place))
            print(f"{name}: {rows[-1]['times_floor']:.2f}", file=sys.stderr)
    print(table(rows))
    here = machine()
    document = {
        "schema": "strop.bench-memory/1",
        "when": timestamp(),
        "strop": __version__,
        "machine": {"fingerprint": here.fingerprint, "cpu_name": here.cpu_name, "isa": here.isa, "python": here.python},
        "networks": rows,
    }
    write_whole(options.output, [to_text(document, indent=1).encode() + b"\n"])
    return int(any(row["times_floor"] > row["limit"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
