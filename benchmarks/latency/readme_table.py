"""Writes the README's table from the kept results: `python -m benchmarks.latency.readme_table`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.latency.records import APART, RESULTS, Document, Records, geometric_means
from benchmarks.networks.registry import NETWORKS

README = RESULTS.parents[2] / "README.md"
RATIO = "openvino/native"
ENGINES = ("native", "openvino", "onnxruntime")
HEAD = (
    "| batch 1, float32, ms (10th percentile) | native | OpenVINO | ONNX Runtime "
    "| OpenVINO / native, 1 thread | 2 threads |"
)


def rows(documents: Sequence[Document]) -> list[str]:
    """Returns the table's lines: times at one thread, ratios at one and at two."""
    one, two = ({d["network"]: d for d in documents if d["threads"] == count} for count in (1, 2))
    lines = [HEAD, "|---|---|---|---|---|---|"]
    lines += [_row(one[name], two.get(name)) for name in NETWORKS if name in one and name != APART]
    means = [geometric_means(list(found.values())).get(RATIO) for found in (one, two)]
    lines.append(f"| geometric mean | | | | {_ratio(means[0], bold=True)} | {_ratio(means[1])} |")
    if APART in one:
        lines.append(_row(one[APART], two.get(APART)).replace(" |", ", a call from Python |", 1))
    return lines


def _row(one: Document, two: Document | None) -> str:
    times = " | ".join(f"{one['engines'][name]['p10_ms']:.3g}" for name in ENGINES)
    second = None if two is None else two["ratios"].get(RATIO)
    return f"| {one['title']} | {times} | {_ratio(one['ratios'].get(RATIO), bold=True)} | {_ratio(second)} |"


def _ratio(ratio: Mapping[str, float] | None, *, bold: bool = False) -> str:
    if ratio is None:
        return "-"
    point = f"**{ratio['point']:.2f}**" if bold else f"{ratio['point']:.2f}"
    return f"{point} ({ratio['low']:.2f} to {ratio['high']:.2f})"


def main() -> None:
    """Replaces the table in the README."""
    lines = README.read_text().splitlines()
    start = lines.index(HEAD)
    end = next(number for number in range(start, len(lines)) if not lines[number].startswith("|"))
    README.write_text("\n".join([*lines[:start], *rows(Records(RESULTS).documents()), *lines[end:]]) + "\n")


if __name__ == "__main__":
    main()
