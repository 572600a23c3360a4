"""The networks in 8 bits: python -m benchmarks.int8 [--networks a,b] [--threads 1] [--seconds 15]

Each network is quantized by Strop's own quantizer (QDQ, a scale a channel), so that all engines run the same file; its
weights are random, so this is about speed. Five processes take turns: that file on native, OpenVINO and ONNX Runtime,
and the float network on native and OpenVINO. Ratios of seconds, above 1 where native in 8 bits is faster, with 99 %
intervals from the same rounds. apart: the relative L2 distance of each engine's outputs from the float network's: what
8 bits cost, which should not depend on the engine. NNCF's own placement is not measured.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.networks.registry import NETWORKS, Inputs, Network, known_networks, network_file
from strop.engines.contract import Settings
from strop.engines.remote import open_remote
from strop.machine import cache_directory, machine
from strop.measure.comparison import Compared, compare_blocks
from strop.model.load import load_model
from strop.quality.agreement import tensor_distance
from strop.quantize.api import quantize

RESULTS = Path(__file__).parent / "results" / "int8.json"
NAMES = tuple(name for name in NETWORKS if name not in ("lstm2x128", "mlp"))
OURS = "native"
SIDES = {
    OURS: ("native", True),
    "openvino": ("openvino", True),
    "onnxruntime": ("onnxruntime", True),
    "native f32": ("native", False),
    "openvino f32": ("openvino", False),
}
"""Engine, and whether it runs the file in 8 bits."""
SAMPLES = 12
LAYOUT = 1
"""Of the files in the cache folder; a change of the quantizer is a reason to count it up."""


def quantized_file(network: Network) -> Path:
    """Returns the network in 8 bits, quantized on samples like its inputs; kept in the cache folder."""
    path = cache_directory() / "benchmarks" / f"{network.name}-int8-{LAYOUT}.onnx"
    if not path.exists():
        small = quantize(network_file(network), list(_samples(network.inputs())), samples=SAMPLES)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as whole:
            whole.write(small.SerializeToString())
        Path(whole.name).replace(path)
    return path


def _samples(inputs: Inputs) -> Iterator[Inputs]:
    """Yields inputs moved along their last axis, floats with noise; whole numbers stay what they mean."""
    random = np.random.default_rng(1)
    for number in range(SAMPLES):
        yield {
            name: np.roll(array, 7 * number, -1) + 0.1 * random.standard_normal(array.shape, np.float32)
            if array.dtype == np.float32
            else np.roll(array, number, -1)
            for name, array in inputs.items()
        }


def measure(network: Network, threads: int, seconds: float) -> dict[str, Any]:
    """Returns the figures of a network."""
    inputs, small, whole = network.inputs(), quantized_file(network), network_file(network)
    with ExitStack() as stack:
        sides = {}
        for name, (engine, is_small) in SIDES.items():
            settings = Settings(threads=threads) if is_small else Settings(threads=threads, precision="f32")
            sides[name] = stack.enter_context(
                open_remote(small if is_small else whole, engine, settings, inputs=inputs)
            )
        outputs = {name: side(inputs) for name, side in sides.items()}
        compared = compare_blocks(sides, seconds=seconds)
    apart = {
        name: tensor_distance(outputs["openvino f32"], outputs[name]).relative_l2
        for name, (_, is_small) in SIDES.items()
        if is_small
    }
    quantizers = sum(node.op_type == "QuantizeLinear" for node in onnx.load(small, load_external_data=False).graph.node)
    return {
        "network": network.name,
        "title": network.title,
        "threads": threads,
        "quantizers": quantizers,
        "native_share": _share(small, inputs),
        "ms": {name: 1e3 * float(np.percentile(each.samples, 10)) for name, each in compared.items()},
        "ratios": {name: _over_ours(each) for name, each in compared.items() if name != OURS},
        "apart": apart,
    }


def _share(file: Path, inputs: Mapping[str, np.ndarray]) -> float | None:
    from strop.engines.native.engine import NativeEngine

    with NativeEngine().compile(load_model(file), Settings(threads=1)) as compiled:
        compiled(inputs)
        return getattr(compiled, "native_share", None)


def _over_ours(compared: Compared) -> dict[str, float]:
    """Returns the seconds of a side over ours; what was measured is the inverse."""
    ratio = compared.speedup.ratio
    return {"point": 1 / ratio.point, "low": 1 / ratio.high, "high": 1 / ratio.low}


def line(row: Mapping[str, Any]) -> str:
    """Returns the line of a network."""
    ratios = [f"{one['point']:5.2f} ({one['low']:.2f} to {one['high']:.2f})" for one in row["ratios"].values()]
    apart = " ".join(f"{distance:.3f}" for distance in row["apart"].values())
    return f"{row['title']:24} {row['ms'][OURS]:8.2f} ms  " + "  ".join(ratios) + f"  {apart}"


def main(words: Sequence[str] | None = None) -> None:
    """Prints a line a network and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=known_networks, default=list(NAMES), help="names, separated by commas")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=15.0, help="of turns, a network")
    options = parser.parse_args(words)
    print(f"{machine().cpu_name}, {options.threads} thread(s), batch 1; 10th percentile of all calls")
    print(f"{'network':24} {'native int8':>11}  over it: {', '.join(list(SIDES)[1:])}; apart: native, OpenVINO, ORT")
    rows = []
    for name in options.networks:
        rows.append(measure(NETWORKS[name], options.threads, options.seconds))
        print(line(rows[-1]), flush=True)
    for kind in rows[0]["ratios"] if rows else ():
        logs = [math.log(row["ratios"][kind]["point"]) for row in rows]
        print(f"geometric mean of {len(rows)}, {kind} / native: {math.exp(sum(logs) / len(logs)):.2f}")
    kept = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    new = {(row["network"], row["threads"]) for row in rows}
    kept = [row for row in kept if (row["network"], row["threads"]) not in new]
    document = {"machine": machine().cpu_name, "rows": sorted([*kept, *rows], key=lambda row: row["threads"])}
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
