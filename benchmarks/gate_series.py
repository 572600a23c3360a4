"""Does the gate see a model that became 10 % slower, and leave unchanged ones alone? python -m benchmarks.gate_series

Three series, each run a whole `strop gate` with its default length on the same small network and baseline:

- unchanged: the model against itself; at most 1 of 30 may be red;
- slowed: a twin that waits busily for 10 % of every request's own time; at least 28 of 30 must be red;
- probes: the unchanged model where the old form cannot be run, so that probe kernels tell. Nothing is promised but that
  it is not red; the share of `cannot tell` and the scatter of the ratio over the runs say what that way is worth.

Every finished run is kept in benchmarks/results/gate_series.json; a series that is stopped goes on where it was,
`--new` starts over. The network is a chain of 3 x 3 convolutions on ONNX Runtime with 1 thread, 5 ms a request here;
`--model`, `--engine` and `--threads` take another.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.self_test import network
from strop.engines.hosted import Hosted
from strop.engines.remote import RemoteModel
from strop.errors import NotSupportedError
from strop.machine import machine
from strop.measure.clock import now, timestamp
from strop.measure.worker import Worker
from strop.optimize.gate import gate, open_side, update_baseline
from strop.optimize.gate_candidate import EngineChoice
from strop.runtime.hosted import open_hosted_bundle

RESULTS = Path(__file__).parent / "results" / "gate_series.json"
SLOWED_BY = 0.1
PROMISES = {"unchanged": "at most 1 of 30 red", "slowed": "at least 28 of 30 red", "probes": "none red"}
Arrays = Mapping[str, np.ndarray]


class Slowed:
    """A bundle whose every request takes a tenth longer: it waits busily for that share of the time it took."""

    def __init__(self, hosted: Hosted):
        self._hosted = hosted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hosted, name)

    def block(self, n: int) -> list[float]:
        """Returns the seconds of n requests, each with its wait."""
        seconds = []
        for _ in range(n):
            began = now()
            self._hosted.block(1)
            end = now()
            until = end + SLOWED_BY * (end - began)
            while now() < until:
                pass
            seconds.append(now() - began)
        return seconds


def open_slowed_bundle(*, path: str) -> Slowed:
    """Returns the slowed twin of a bundle; called in the worker."""
    return Slowed(open_hosted_bundle(path=path))


def open_slowed(path: Path, samples: Sequence[Arrays]) -> RemoteModel:
    """Returns the slowed twin in a fresh worker process."""
    remote = RemoteModel(Worker("benchmarks.gate_series:open_slowed_bundle", {"path": str(path)}))
    remote.set_inputs([dict(sample) for sample in samples])
    return remote


def open_nothing(path: Path, samples: Sequence[Arrays]) -> RemoteModel:
    """Refuses, as a bundle for another CPU does."""
    raise NotSupportedError("bundle.needs", "the series plays that the old form cannot run", hint="none")


Opener = Callable[[Path, Sequence[Arrays]], RemoteModel]
SERIES: Mapping[str, tuple[Opener, Opener]] = {
    "unchanged": (open_side, open_side),
    "slowed": (open_side, open_slowed),
    "probes": (open_nothing, open_side),
}
"""How the old and the new side are opened."""


def run_once(series: str, model: str, baseline: Path) -> dict[str, Any]:
    open_old, open_new = SERIES[series]
    began = now()
    document = gate(model, baseline, open_old=open_old, open_new=open_new)
    runs = [run for part in document["parts"] for run in part["runs"]]
    return {
        "when": document["created"],
        "verdict": document["verdict"],
        "runs": [run["verdict"] for run in runs],
        "slowdowns": [run["slowdown"]["point"] for run in runs],
        "half_widths": [(run["slowdown"]["high"] - run["slowdown"]["low"]) / 2 for run in runs],
        "others": document["contention"]["others"],
        "seconds": now() - began,
    }


def summary(series: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the counts of verdicts, whether the promise is kept, and how far first runs scatter."""
    counted = Counter(row["verdict"] for row in rows)
    red, n = counted["regressed"], len(rows)
    first = [math.log(row["slowdowns"][0]) for row in rows]
    kept = {
        "unchanged": red <= max(1, n // 30),
        "slowed": red >= math.ceil(n * 28 / 30),
        "probes": red == 0,
    }[series]
    return {
        "runs": n,
        "red": red,
        "ok": counted["ok"],
        "cannot tell": counted["cannot tell"],
        "promise": PROMISES[series],
        "kept": kept,
        "first_run_slowdown": math.exp(float(np.median(first))),
        "scatter_of_first_runs": float(np.std(first, ddof=1)) if n > 1 else None,
        "half_width": float(np.median([row["half_widths"][0] for row in rows])),
        "seconds_each": float(np.median([row["seconds"] for row in rows])),
    }


def load(path: Path, subject: Mapping[str, object], fresh: bool) -> dict[str, Any]:
    """Returns the record to go on with: that in the file where it is of the same subject, else an empty one."""
    empty = {"schema": "strop.gate-series/1", "subject": dict(subject), "rows": {name: [] for name in SERIES}}
    if fresh or not path.exists():
        return empty
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf8"))
    return record if record.get("subject") == dict(subject) else empty


def save(path: Path, record: dict[str, Any]) -> None:
    record["when"] = timestamp()
    record["summary"] = {name: summary(name, rows) for name, rows in record["rows"].items() if rows}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf8")
    part.replace(path)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30, help="of the first two series; a third of it of the last")
    parser.add_argument("--series", type=lambda text: text.split(","), default=list(SERIES))
    parser.add_argument("--model", help="an ONNX file (default: the chain of convolutions)")
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--new", action="store_true", help="start over")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    subject = {
        "model": Path(options.model).name if options.model else "chain",
        "engine": options.engine,
        "threads": options.threads,
        "slowed_by": SLOWED_BY,
        "machine": machine().fingerprint,
    }
    record = load(options.output, subject, options.new)
    with TemporaryDirectory(prefix="strop-") as folder:
        model, baseline = options.model or str(Path(folder) / "chain.onnx"), Path(folder) / "series.baseline"
        if not options.model:
            Path(model).write_bytes(network(layers=6, channels=64, size=28).SerializeToString())
        update_baseline(model, baseline, choice=EngineChoice(options.engine, options.threads))
        wanted = {name: options.runs if name != "probes" else max(1, options.runs // 3) for name in options.series}
        for number in range(options.runs):
            for name in options.series:  # by turns, so that a bad hour meets all
                rows = record["rows"][name]
                if number >= wanted[name] or len(rows) > number:
                    continue
                rows.append(run_once(name, model, baseline))
                save(options.output, record)
                row = rows[-1]
                print(
                    f"{name:10} {len(rows):3}/{wanted[name]} {row['verdict']:12} "
                    f"{', '.join(f'{point:.3f}' for point in row['slowdowns']):22} {row['seconds']:5.1f} s",
                    flush=True,
                )
    for name, found in record.get("summary", {}).items():
        print(
            f"{'kept  ' if found['kept'] else 'BROKEN'} {name}: {found['red']} of {found['runs']} red "
            f"({found['promise']}), {found['cannot tell']} cannot tell, first runs {found['first_run_slowdown']:.3f} "
            f"+- {found['half_width']:.3f}, {found['seconds_each']:.1f} s each"
        )
    return 0 if all(found["kept"] for found in record.get("summary", {}).values()) else 1


if __name__ == "__main__":
    sys.exit(main())
