"""Where the documents lie, and which are still to be made: a run that was killed goes on where it stopped."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from strop.documents import to_text
from strop.measure.clock import timestamp
from strop.runtime.whole_file import write_whole

RESULTS = Path(__file__).parents[1] / "results" / "latency"
SUMMARY = "summary.json"
UNFINISHED = ".unfinished.json"
APART = "mlp"
"""Its ratio is so large that it would carry any mean."""

Document = Mapping[str, Any]


class Records:
    """A folder with one document a network and thread count, the summary, and what a run in progress has done."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def begin(self, run: Mapping[str, object], *, fresh: bool) -> set[tuple[str, int]]:
        """Returns what an unfinished run with the same options has done; remembers the options."""
        unfinished = self._read(self.folder / UNFINISHED)
        if not fresh and unfinished is not None and unfinished["run"] == json.loads(to_text(run)):
            return {(network, threads) for network, threads in unfinished["done"]}
        self._write(UNFINISHED, {"run": run, "done": []})
        return set()

    def add(self, document: Document) -> None:
        """Writes a document over the one there was of its network and thread count."""
        network, threads = document["network"], document["threads"]
        self._write(f"{network}-{threads}.json", document)
        unfinished = self._read(self.folder / UNFINISHED)
        if unfinished is not None:
            self._write(UNFINISHED, {**unfinished, "done": [*unfinished["done"], [network, threads]]})

    def finish(self, fingerprint: str) -> Document:
        """Writes and returns the summary of all documents of this machine, and forgets the run."""
        found = summary(self.documents(fingerprint))
        self._write(SUMMARY, found)
        (self.folder / UNFINISHED).unlink(missing_ok=True)
        return found

    def documents(self, fingerprint: str | None = None) -> list[Document]:
        """Returns the documents, of one machine if its fingerprint is given."""
        paths = sorted(path for path in self.folder.glob("*-*.json") if not path.name.startswith("."))
        found = [document for document in map(self._read, paths) if document is not None]
        return [one for one in found if fingerprint in (None, one["machine"]["fingerprint"])]

    def _write(self, name: str, document: Mapping[str, object]) -> None:
        write_whole(self.folder / name, [to_text(document, indent=1).encode() + b"\n"])

    @staticmethod
    def _read(path: Path) -> Document | None:
        if not path.exists():
            return None
        document: Document = json.loads(path.read_text(encoding="utf-8"))
        return document


def summary(documents: Sequence[Document]) -> Document:
    """Returns each network's ratios and times in one document, with the geometric means over all but the MLP."""
    rows = [
        {
            "network": document["network"],
            "threads": document["threads"],
            "p10_ms": {name: engine.get("p10_ms") for name, engine in document["engines"].items()},
            "ratios": document["ratios"],
            "native_share": document.get("native", {}).get("share"),
            "probe": document["probe"],
        }
        for document in documents
    ]
    return {
        "schema": "strop.bench-latency-summary/1",
        "when": timestamp(),
        "machine": documents[0]["machine"] if documents else None,
        "geometric_means": {
            str(threads): geometric_means([one for one in documents if one["threads"] == threads])
            for threads in sorted({document["threads"] for document in documents})
        },
        "networks": rows,
    }


def geometric_means(documents: Iterable[Document]) -> dict[str, dict[str, float]]:
    """Returns the geometric mean of every kind of ratio over the networks that have it, the MLP apart.

    Its interval takes the errors of the networks to be independent: half its width, in logarithms, is the root of the
    sum of their squares over their number.
    """
    logs: dict[str, list[tuple[float, float]]] = {}
    for document in documents:
        if document["network"] == APART:
            continue
        for name, ratio in document["ratios"].items():
            half = (math.log(ratio["high"]) - math.log(ratio["low"])) / 2
            logs.setdefault(name, []).append((math.log(ratio["point"]), half))
    means = {}
    for name, found in logs.items():
        middle = sum(point for point, _ in found) / len(found)
        half = math.sqrt(sum(half**2 for _, half in found)) / len(found)
        figures = (("point", middle), ("low", middle - half), ("high", middle + half))
        means[name] = {what: math.exp(value) for what, value in figures} | {"networks": len(found)}
    return means
