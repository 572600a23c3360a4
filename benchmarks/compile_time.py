"""How long compiling takes: `python -m benchmarks.compile_time [--repeats 5] [--networks resnet50,mlp] [--label NAME]`.

Every network of the benchmark and some models of the zoo (where STROP_ZOO is set), each compiled untuned in fresh
processes on one core with an empty cache, in turns. Seconds are the processor's, from the call of `strop.compile` with
the engine loaded: on a machine that others use the clock tells nothing. Every figure is the 10th percentile, and stands
beside what the probe kernel did just before. --label keeps the figures under another name, to compare versions.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.latency.measuring import OURS
from benchmarks.latency.probe import Probe
from benchmarks.loading import ask_child
from benchmarks.networks.registry import NETWORKS, network_file
from strop.documents import to_text
from strop.machine import machine
from strop.measure.clock import timestamp
from strop.runtime.whole_file import write_whole

RESULTS = Path(__file__).parent / "results" / "compile_time.json"
LIMIT_SECONDS = 4.0
ZOO: dict[str, dict[str, list[int]]] = {
    "basic_pitch": {"serving_default_input_2:0": [1, 43844, 1]},
    "efficientnet_lite0": {"input": [1, 3, 224, 224]},
    "ppocrv4_det": {"x": [1, 3, 320, 320]},
    "deeplabv3_mnv2_dm05": {},
}
"""Models of the zoo, and the sizes that they leave open."""


@dataclass(slots=True)
class Compiled:
    """A model and what compiling it took each time."""

    name: str
    file: Path
    shapes: dict[str, list[int]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    clock: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    objects: int = 0
    code_bytes: int = 0

    @property
    def question(self) -> dict[str, str]:
        """What the child is asked."""
        return {
            "what": "compile",
            "model": str(self.file),
            "engine": OURS,
            "shapes": json.dumps(self.shapes),
        }

    def measure(self, folder: Path, probe: Probe) -> None:
        """Compiles it in a fresh process, just after the probe's rate."""
        probe.block(1)
        self.rates.append(probe.rates[-1])
        cache = Path(tempfile.mkdtemp(dir=folder))
        found = ask_child(self.question, cache)
        self.seconds.append(found["processor"])
        self.clock.append(found["compile"])
        objects = list((cache / "objects").glob("*.object"))
        self.objects, self.code_bytes = len(objects), sum(path.stat().st_size for path in objects)

    def to_json(self) -> dict[str, Any]:
        """Returns the figures as a JSON object."""
        return {
            "name": self.name,
            "processor_s": {"p10": float(np.percentile(self.seconds, 10)), "median": float(np.median(self.seconds))},
            "clock_s": {"p10": float(np.percentile(self.clock, 10)), "median": float(np.median(self.clock))},
            "samples": self.seconds,
            "objects": self.objects,
            "object_bytes": self.code_bytes,
            "probe_gflops": float(np.median(self.rates)) / 1e9,
        }


def models(wanted: Sequence[str]) -> list[Compiled]:
    """Returns the networks and zoo models of these names, those of the zoo only where it is there."""
    zoo = Path(os.environ["STROP_ZOO"], "models") if "STROP_ZOO" in os.environ else None
    found = []
    for name in wanted:
        if name in NETWORKS:
            shapes = {key: list(array.shape) for key, array in NETWORKS[name].inputs().items()}
            found.append(Compiled(name, network_file(NETWORKS[name]), shapes))
        elif zoo is not None and (zoo / f"{name}.onnx").exists():
            found.append(Compiled(name, zoo / f"{name}.onnx", ZOO.get(name, {})))
        else:
            print(f"{name} is left out: STROP_ZOO does not lead to it", file=sys.stderr)
    return found


def table(rows: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]] = ()) -> str:
    """Returns the figures as a table, those of another label in brackets."""
    old = {row["name"]: row for row in before}
    head = f"{'model':22} {'processor s, p10':>18} {'median':>8} {'objects':>13} {'KB':>12} {'GFLOP/s':>8}"
    lines = [head]
    for row in rows:
        other = old.get(row["name"])
        was = ("", "", "")
        if other is not None:
            kilobytes = other["object_bytes"] / 1e3
            was = (f" ({other['processor_s']['p10']:.2f})", f" ({other['objects']})", f" ({kilobytes:.0f})")
        seconds, objects = f"{row['processor_s']['p10']:.2f}{was[0]}", f"{row['objects']}{was[1]}"
        size = f"{row['object_bytes'] / 1e3:.0f}{was[2]}"
        lines.append(
            f"{row['name']:22} {seconds:>18} {row['processor_s']['median']:>8.2f} {objects:>13} {size:>12} "
            f"{row['probe_gflops']:>8.0f}"
        )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.compile_time", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, help="fresh processes a model (at least 5)")
    parser.add_argument("--networks", default=",".join([*NETWORKS, *ZOO]), help="which models, separated by commas")
    parser.add_argument("--label", default="now", help="name under which the figures are kept (default: now)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file of the results")
    options = parser.parse_args(words)
    if options.repeats < 5:
        parser.error("--repeats must be at least 5: fewer give no 10th percentile")
    with tempfile.TemporaryDirectory(prefix="strop-") as folder:
        probe, found = Probe(), models(options.networks.split(","))
        ask_child(found[0].question, Path(tempfile.mkdtemp(dir=folder)))  # which keeps the bytecode of modules
        for number in range(options.repeats):
            for model in found:
                model.measure(Path(folder), probe)
                _keep([model.to_json()], options.label, options.output)
                done = f"round {number + 1} of {options.repeats}: {model.name:22}"
                print(f"\r{done}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    rows = _keep([model.to_json() for model in found], options.label, options.output)
    labels = json.loads(options.output.read_text(encoding="utf-8"))["labels"]
    print(table(rows, labels["before"]["models"] if "before" in labels and options.label != "before" else ()))
    return int(options.label == "now" and any(row["processor_s"]["p10"] > LIMIT_SECONDS for row in rows))


def _keep(rows: list[dict[str, Any]], label: str, path: Path) -> list[dict[str, Any]]:
    """Writes the figures under the label, beside what was measured before on this machine; returns all of the label."""
    here = machine()
    labels: dict[str, Any] = {}
    if path.exists():
        document = json.loads(path.read_text(encoding="utf-8"))
        labels = document["labels"] if document["machine"]["fingerprint"] == here.fingerprint else {}
    new = {row["name"]: row for row in rows}
    old = labels.get(label, {"models": []})["models"]
    merged = [*(new.pop(row["name"], row) for row in old), *new.values()]
    labels[label] = {"when": timestamp(), "models": merged}
    document = {
        "schema": "strop.bench-compile/1",
        "limit_s": LIMIT_SECONDS,
        "machine": {"fingerprint": here.fingerprint, "cpu_name": here.cpu_name, "isa": here.isa, "python": here.python},
        "labels": labels,
    }
    write_whole(path, [to_text(document, indent=1).encode() + b"\n"])
    return merged


if __name__ == "__main__":
    sys.exit(main())
