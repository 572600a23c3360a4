"""Compares the engines on real models: `python -m benchmarks.zoo_table FOLDER [--seconds 4]` (FOLDER/*.onnx).

Each model at fixed sizes and one thread: what share of its nodes is native, how far the outputs are from ONNX
Runtime's, and how many times faster native is than each peer, taking turns in one process. Results go to
`benchmarks/results/zoo.json`; the table is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

import strop
from benchmarks.latency.native_share import native_share
from strop.documents import plain
from strop.errors import StropError
from strop.machine import machine
from strop.measure.clock import timestamp
from strop.measure.comparison import compare
from strop.model.load import load_model
from strop.model.random_inputs import make_inputs

RESULTS = Path(__file__).parent / "results" / "zoo.json"

SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "ad_autoencoder": {"input_1": (1, 640)},
    "basic_pitch": {"serving_default_input_2:0": (1, 43844, 1)},
    "cifar10_resnet20": {"input": (1, 3, 32, 32)},
    "cifar10_resnet20_raw": {"input": (1, 3, 32, 32)},
    "cifar10_resnet56": {"input": (1, 3, 32, 32)},
    "cifar10_resnet8": {"input_1": (1, 32, 32, 3)},
    "efficientnet_lite0": {"input": (1, 3, 224, 224)},
    "kws_dscnn": {"input_1": (1, 49, 10, 1)},
    "magika": {"bytes": (1, 2048)},
    "mobilenet_v2": {"input": (1, 3, 224, 224)},
    "mtcnn_onet": {"input_3": (1, 48, 48, 3)},
    "ppocr_cls": {"x": (1, 3, 48, 192)},
    "ppocrv4_det": {"x": (1, 3, 320, 320)},
    "ppocrv6_rec_tiny": {"x": (1, 3, 48, 320)},
    "resemblyzer": {"mels": (1, 160, 40)},
    "silero_vad_ifless": {"input": (1, 512), "state": (2, 1, 128)},
    "superres_core": {"Y": (1, 1, 224, 224)},
    "vww_mbv1_025_96": {"input_1": (1, 96, 96, 3)},
}
"""The sizes that models leave open; others are taken as they come."""

FREE = {"silero_vad": {"input": (1, 512), "state": (2, 1, 128)}}
"""The same where only requests fix the sizes: trying them needs the right values, too."""

VALUES = {"sr": np.array(16_000)}
"""Inputs whose value decides what a model does: a sample rate at random crashes OpenVINO 2026.4."""


def measure(file: Path, seconds: float) -> dict[str, object]:
    model = load_model(file, shapes=SHAPES.get(file.stem))
    made = make_inputs(model, shapes=FREE.get(file.stem))
    inputs = {name: VALUES.get(name, array) for name, array in made.items()}
    calls, row = {}, {"model": file.stem, "share": None, "distance": None, "ratios": {}, "refused": {}}
    row["share"] = (native_share(file, inputs)["share"] or {}).get("nodes")
    for engine in ("native", "openvino", "onnxruntime"):
        try:
            compiled = strop.compile(model, engine=engine, threads=1)
            compiled(inputs)
        except StropError as error:
            row["refused"][engine] = error.in_a_line
            continue
        calls[engine] = lambda compiled=compiled: compiled(inputs)
    outputs = {engine: call() for engine, call in calls.items()}
    if "native" in outputs and "onnxruntime" in outputs:
        row["distance"] = max(
            float(np.linalg.norm(ours.astype(np.float64) - theirs) / max(np.linalg.norm(theirs), 1e-12))
            for ours, theirs in zip(outputs["native"].values(), outputs["onnxruntime"].values(), strict=True)
        )
    if len(calls) < 2:
        return row
    compared = compare(calls, seconds=seconds)
    row["native_ms"] = compared["native"].estimate.point * 1000
    for engine in calls:
        if engine != "native":
            ratio = compared[engine].speedup.ratio
            row["ratios"][engine] = [1 / ratio.point, 1 / ratio.high, 1 / ratio.low]
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = []
    print("| model | native share | ms | distance to ONNX Runtime | times OpenVINO | times ONNX Runtime |")
    print("|---|---|---|---|---|---|")
    for file in sorted(options.folder.glob("*.onnx")):
        row = measure(file, options.seconds)
        rows.append(row)
        share = "?" if row["share"] is None else f"{row['share']:.0%}"
        distance = "-" if row["distance"] is None else f"{row['distance']:.1e}"
        ratios = [_ratio(row["ratios"].get(engine)) for engine in ("openvino", "onnxruntime")]
        time = f"{row['native_ms']:.3f}" if "native_ms" in row else "-"
        print(f"| {row['model']} | {share} | {time} | {distance} | {' | '.join(ratios)} |", flush=True)
    document = {"schema": "strop.zoo-table/1", "when": timestamp(), "machine": machine().to_json(), "rows": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(plain(document), indent=1) + "\n", encoding="utf-8")
    return 0


def _ratio(ratio: list[float] | None) -> str:
    return "-" if ratio is None else f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})"


if __name__ == "__main__":
    sys.exit(main())
