"""The documents as a table: times, ratios with intervals, share of the limit, agreement, what is not native."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.latency.measuring import REFERENCE
from benchmarks.latency.records import APART, Document, geometric_means

SHORT = {"native": "native", "openvino": "OpenVINO", "onnxruntime": "ORT"}


def table(documents: Sequence[Document], order: Sequence[str]) -> str:
    """Returns the table of one thread count, networks in the given order."""
    documents = sorted(documents, key=lambda document: order.index(document["network"]))
    engines = list(dict.fromkeys(name for document in documents for name in document["engines"]))
    kinds = list(dict.fromkeys(kind for document in documents for kind in document["ratios"]))
    header = ["network", *(f"{SHORT.get(name, name)} ms" for name in engines)]
    header += [ratio_title(kind) for kind in kinds]
    header += [f"{SHORT.get(name, name)} %" for name in engines] + ["apart", "native", "GFLOP/s"]
    rows = [header, *(_row(document, engines, kinds) for document in documents)]
    means = geometric_means(documents)
    if means:
        count = max(mean["networks"] for mean in means.values())
        cells = [interval(means[kind]) if kind in means else "" for kind in kinds]
        rows.append([f"geometric mean of {count}", *[""] * len(engines), *cells, *[""] * (len(engines) + 3)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(_padded(row, widths)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*lines, "", *_notes(documents)])


def ratio_title(kind: str) -> str:
    """Returns `openvino/native` as the table writes it."""
    return " / ".join(SHORT.get(name, name) for name in kind.split("/"))


def interval(ratio: Document) -> str:
    """Returns a ratio with its interval."""
    return f"{ratio['point']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def _row(document: Document, engines: Sequence[str], kinds: Sequence[str]) -> list[str]:
    found = [document["engines"].get(name, {}) for name in engines]
    ratios = document["ratios"]
    apart = [
        engine["relative_l2"]
        for name, engine in document["engines"].items()
        if name != REFERENCE and "relative_l2" in engine
    ]
    probe = document["probe"]
    return [
        document["title"] + ("*" if document["network"] == APART else ""),
        *(f"{engine['p10_ms']:.3g}" if "p10_ms" in engine else "-" for engine in found),
        *(interval(ratios[kind]) if kind in ratios else "-" for kind in kinds),
        *(f"{engine['percent_of_limit']:.0f}" if "percent_of_limit" in engine else "-" for engine in found),
        f"{max(apart):.0e}" if apart else "-",
        _share(document["native"]["share"]) if "native" in document else "-",
        f"{probe['gflops']['point']:.0f}" if probe else "-",
    ]


def _share(share: object) -> str:
    if share is None:
        return "?"
    figures = list(share.values()) if isinstance(share, Mapping) else [share]
    return " / ".join(f"{figure:.0%}" for figure in figures)


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]


def _notes(documents: Sequence[Document]) -> list[str]:
    notes = [
        "ms: 10th percentile of all calls. Ratios: of seconds, above 1 where the second is faster; 99 % intervals.",
        "%: multiply-accumulates over what the probe kernel does in the same rounds; Winograd may pass 100.",
        "apart: the largest relative L2 distance from ONNX Runtime. *: not in the geometric mean.",
        "native: share of the nodes and of the time that our compiler runs, ? where `strop explain` does not say.",
    ]
    missing: dict[str, list[str]] = {}
    for document in documents:
        for name, engine in document["engines"].items():
            if engine["status"] != "ok":
                missing.setdefault(f"{name}: {engine['reason']}", []).append(document["network"])
        segments = document.get("native", {}).get("segments") or []
        for segment in segments:
            reason = segment["reason"] if isinstance(segment, Mapping) else segment
            if reason:  # a segment that is native has none
                missing.setdefault(f"not native: {reason}", []).append(document["network"])
        scaled = document.get("native", {}).get("times_one_thread")
        if scaled:
            notes.append(f"{document['title']}: {interval(scaled)} x native's one thread")
    for reason, networks in missing.items():
        notes.append(f"{reason} ({'all' if len(networks) == len(documents) else ', '.join(dict.fromkeys(networks))})")
    return notes
