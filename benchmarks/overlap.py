"""Does a pipeline reach 1 / the slowest stage? python -m benchmarks.overlap [--seconds 5]

Applications whose stages sleep, so that nothing but the pipeline itself can be slow: the rate in turn comes near 1 /
the sum of the stages, overlapped near 1 / the slowest. A line each: rates in turn, overlapped, predicted.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from strop.machine import machine
from strop.measure.applications import Supply
from strop.measure.clock import sleep, timestamp
from strop.measure.stages import stage
from strop.optimize.breakdown import Subject, break_down

RESULTS = Path(__file__).parent / "results" / "overlap.json"
STAGES = (
    {"decode": 10, "run": 10},
    {"decode": 4, "preprocess": 6, "run": 10, "postprocess": 2},
    {"decode": 20, "run": 5},
)
"""Milliseconds of each stage."""


def measure(milliseconds: dict[str, int], seconds: float) -> dict[str, object]:
    """Returns the rates of an application whose stages take so long."""

    def application(item: object) -> None:
        for name, each in milliseconds.items():
            with stage(name):
                sleep(each / 1e3)

    document = break_down(Subject("sleeping", application, Supply([0], "here")), seconds=seconds)
    overlap = document["overlap"]
    return {
        "stages_ms": milliseconds,
        "in_turn_per_second": document["per_second"],
        "overlapped_per_second": overlap["measured_per_second"],
        "predicted_per_second": overlap["predicted_per_second"],
        "one_over_slowest": 1e3 / max(milliseconds.values()),
        "one_over_sum": 1e3 / sum(milliseconds.values()),
        "workers": overlap["workers"],
        "sum_off": document["sum_off"],
    }


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    rows = []
    print(f"{'stages, ms':44} {'1/sum':>7} {'in turn':>8} {'1/slowest':>9} {'overlapped':>10} {'predicted':>9}")
    for milliseconds in STAGES:
        row = measure(milliseconds, options.seconds)
        rows.append(row)
        named = ", ".join(f"{name} {each}" for name, each in milliseconds.items())
        print(
            f"{named:44} {row['one_over_sum']:7.1f} {row['in_turn_per_second']:8.1f} {row['one_over_slowest']:9.1f} "
            f"{row['overlapped_per_second']:10.1f} {row['predicted_per_second']:9.1f}",
            flush=True,
        )
    record = {"schema": "strop.overlap/1", "when": timestamp(), "machine": machine().to_json(), "rows": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
