"""How long compiling, loading and a call take: `python -m benchmarks.loading [compile warm load call] [--repeats 7]`.

compile: ResNet-50 untuned with an empty cache, on one core; warm: the same from the cache, the model file known by its
stamp, and not known (a fresh copy); load: a fresh process from before `import strop` to after the first inference of a
bundle, with llvmlite, onnx and onnxruntime refused; call: the whole Python call of the MLP. Every figure is the 10th
percentile of fresh processes that alternate, and stands beside what the probe kernel did just before each of them.
Modules come from their bytecode, as they do where a package was installed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.latency.measuring import OURS
from benchmarks.latency.probe import Probe
from benchmarks.networks.registry import NETWORKS, network_file
from strop import __version__
from strop.documents import to_text
from strop.engines.contract import Settings
from strop.engines.registry import get_engine
from strop.machine import machine
from strop.measure.clock import timestamp
from strop.model.load import load_model
from strop.model.model import Model
from strop.runtime.bundle import write_bundle
from strop.runtime.whole_file import write_whole

RESULTS = Path(__file__).parent / "results" / "loading.json"
CHILD = Path(__file__).with_name("loading_child.py")
REPEATS = 7
REFUSED = ("llvmlite", "onnx", "onnx_ir", "onnxruntime", "openvino")


@dataclass(slots=True)
class Figure:
    """One figure: `what` of the child's answer, in `unit`, at most `limit`; prepare gives the child's question anew."""

    name: str
    ask: Callable[[], dict[str, str]]
    what: str
    unit: str
    limit: float | None
    cache: Callable[[], Path]
    samples: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)

    def measure(self, probe: Probe) -> None:
        """Takes one sample in a fresh process, just after the probe's rate."""
        probe.block(1)
        self.rates.append(probe.rates[-1])
        found = ask_child(self.ask(), self.cache())
        self.samples.append(found[self.what] * {"s": 1.0, "ms": 1e3, "us": 1e6}[self.unit])
        self.memory_mb.append(found["peak_mb"])

    def to_json(self) -> dict[str, Any]:
        """Returns the 10th percentile and median, the samples, the limit, and the probe's rates in GFLOP/s."""
        return {
            "name": self.name,
            "unit": self.unit,
            "p10": float(np.percentile(self.samples, 10)),
            "median": float(np.median(self.samples)),
            "limit": self.limit,
            "samples": self.samples,
            "probe_gflops": {"median": float(np.median(self.rates)) / 1e9, "each": [rate / 1e9 for rate in self.rates]},
            "peak_mb": max(self.memory_mb),
        }


def ask_child(question: Mapping[str, str], cache: Path) -> dict[str, float]:
    """Returns what a fresh process answers that has this cache folder; it keeps its modules' bytecode."""
    environment = os.environ | {"STROP_CACHE_DIR": str(cache), "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, str(CHILD), *(f"{name}={value}" for name, value in question.items())]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the measured process failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


class Workplace:
    """Files that the figures are measured on, in a temporary folder, made when they are first asked for."""

    def __init__(self, folder: Path, engine: str):
        self.folder, self.engine = folder, engine
        self.cache = folder / "cache"
        self._numbers = iter(range(1_000_000))

    def empty_cache(self) -> Path:
        """Returns a folder with nothing in it."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def warm_cache(self) -> Path:
        """Returns the folder that keeps what was compiled."""
        return self.cache

    def inputs(self, name: str) -> dict[str, str]:
        """Returns the files of the network's inputs, as the child is told of them."""
        files = {}
        for input_name, array in NETWORKS[name].inputs().items():
            path = self.folder / f"{name}-{input_name}.npy"
            if not path.exists():
                np.save(path, array)
            files[f"inputs.{input_name}"] = str(path)
        return files

    def question(self, name: str, what: str, *, copied: bool = False) -> dict[str, str]:
        """Returns what the child is asked to do with the network; copied: with a copy that nobody has seen yet."""
        file = network_file(NETWORKS[name])
        if copied:
            for old in self.folder.glob(f"{name}-copy-*.onnx"):
                old.unlink()
            file = Path(shutil.copyfile(file, self.folder / f"{name}-copy-{next(self._numbers)}.onnx"))
        return {"what": what, "model": str(file), "engine": self.engine, **self.inputs(name)}

    def model(self, name: str) -> Model:
        """Returns the network with the sizes of its inputs, which a bundle with code must know."""
        shapes = {name: array.shape for name, array in NETWORKS[name].inputs().items()}
        return load_model(network_file(NETWORKS[name]), shapes=shapes)

    def bundle(self, name: str) -> dict[str, str]:
        """Returns the child's question for the bundle of the network, which is made here the first time."""
        path = self.folder / f"{name}.strop"
        if not path.exists():
            model, inputs = self.model(name), NETWORKS[name].inputs()
            settings = Settings(threads=1, precision="f32")
            compiled = get_engine(self.engine).compile(model, settings)
            vectors = [(inputs, compiled(inputs))]
            compiled.close()
            created = timestamp()
            write_bundle(
                path, model=model, engine=self.engine, settings=settings, test_vectors=vectors, created=created
            )
        refused = ",".join(refused for refused in REFUSED if refused != self.engine)
        return {"what": "load", "bundle": str(path), "refused": refused, **self.inputs(name)}


def figures(place: Workplace, wanted: Sequence[str]) -> list[Figure]:
    """Returns the figures of the wanted kinds."""

    def figure(
        name: str, ask: Callable[[], dict[str, str]], what: str, unit: str, limit: float, *, empty: bool = False
    ) -> Figure:
        return Figure(name, ask, what, unit, limit, place.empty_cache if empty else place.warm_cache)

    def compiled() -> dict[str, str]:
        return place.question("resnet50", "compile")

    def copied() -> dict[str, str]:
        return place.question("resnet50", "compile", copied=True)

    def bundle(name: str) -> Callable[[], dict[str, str]]:
        return lambda: place.bundle(name)

    found = {
        "compile": [figure("ResNet-50, compiled with an empty cache", compiled, "compile", "s", 4.0, empty=True)],
        "warm": [
            figure("ResNet-50, from the cache by stamp", compiled, "compile", "ms", 150.0),
            figure("ResNet-50, from the cache by content", copied, "compile", "ms", 700.0),
        ],
        "load": [
            figure("SqueezeNet 1.1, bundle to first result", bundle("squeezenet11"), "total", "ms", 30.0),
            figure("MobileNetV2, bundle to first result", bundle("mobilenetv2"), "total", "ms", 30.0),
            figure(
                "ResNet-50, bundle to first result, beyond a warm inference",
                bundle("resnet50"),
                "beyond_warm",
                "ms",
                40.0,
            ),
        ],
        "call": [figure("MLP, whole call", lambda: place.question("mlp", "call"), "call", "us", 6.0)],
    }
    return [figure for kind in wanted for figure in found[kind]]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the figures as a table."""
    lines = [f"{'figure':60} {'p10':>10} {'median':>10} {'at most':>10} {'n':>3} {'peak MB':>8} {'GFLOP/s':>8}"]
    for row in rows:
        p10, median = (f"{row[what]:.3g} {row['unit']}" for what in ("p10", "median"))
        limit = "" if row["limit"] is None else f"{row['limit']:g} {row['unit']}"
        lines.append(
            f"{row['name']:60} {p10:>10} {median:>10} {limit:>10} {len(row['samples']):>3} {row['peak_mb']:>8.0f} "
            f"{row['probe_gflops']['median']:>8.0f}"
        )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.loading", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = ["compile", "warm", "load", "call"]
    parser.add_argument("kinds", nargs="*", metavar="compile|warm|load|call", help="which figures (default: all)")
    parser.add_argument("--engine", default=OURS, help="another engine for comparison; its figures are not kept")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="fresh processes a figure (at least 5)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file of the results")
    options = parser.parse_args(words)
    if unknown := [kind for kind in options.kinds if kind not in kinds]:
        parser.error(f"{unknown[0]!r} is none of {', '.join(kinds)}")
    if options.repeats < 5:
        parser.error("--repeats must be at least 5: fewer give no 10th percentile")
    with tempfile.TemporaryDirectory(prefix="strop-") as folder:
        place, probe = Workplace(Path(folder), options.engine), Probe()
        wanted = figures(place, options.kinds or kinds)
        for figure in wanted:  # fills the cache, stamps the bundles, brings the files into memory
            ask_child(figure.ask(), figure.cache())
        for number in range(options.repeats):
            for figure in wanted:
                figure.measure(probe)
            print(f"\rround {number + 1} of {options.repeats}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    rows = [figure.to_json() for figure in wanted]
    print(table(rows))
    if options.engine == OURS:
        _keep(rows, options.output)
    return 0


def _keep(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes the figures; those that were not measured this time stay, if they are of this machine."""
    here = machine()
    old: list[dict[str, Any]] = []
    if path.exists():
        document = json.loads(path.read_text(encoding="utf-8"))
        old = document["figures"] if document["machine"]["fingerprint"] == here.fingerprint else []
    measured = {row["name"] for row in rows}
    document = {
        "schema": "strop.bench-loading/1",
        "when": timestamp(),
        "strop": __version__,
        "machine": {"fingerprint": here.fingerprint, "cpu_name": here.cpu_name, "isa": here.isa, "python": here.python},
        "figures": [*(row for row in old if row["name"] not in measured), *rows],
    }
    write_whole(path, [to_text(document, indent=1).encode() + b"\n"])


if __name__ == "__main__":
    sys.exit(main())
