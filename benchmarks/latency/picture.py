"""Draws the ratios as an SVG: `python -m benchmarks.latency.picture [--threads 1] [--output docs/latency.svg]`.

A bar a network, how many times as fast as OpenVINO ours is, with its 99 % interval; a dot for ONNX Runtime. Drawn with
nothing but text, it suits light and dark pages.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.latency.records import APART, RESULTS, Document, Records, geometric_means
from benchmarks.networks.registry import NETWORKS
from strop.machine import machine
from strop.runtime.whole_file import write_whole

BAR, OTHER = "openvino/native", "onnxruntime/native"
WIDTH, LEFT, RIGHT, TOP, ROW = 830, 260, 140, 70, 26
FIRST, SECOND = WIDTH - 68, WIDTH - 14
"""Where the columns of figures end."""
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #1f2328; }
.small { font-size: 11px; fill: #59636e; }
.strong { font-weight: 600; }
.bar { fill: #1a7f64; } .slower { fill: #b35900; }
.interval { stroke: #1f2328; stroke-width: 1.4; fill: none; }
.grid { stroke: #d1d9e0; } .one { stroke: #59636e; stroke-dasharray: 4 3; }
.cut { stroke: #ffffff; stroke-width: 3; }
.other { fill: #ffffff; stroke: #0969da; stroke-width: 2.5; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .small { fill: #9198a1; }
  .bar { fill: #2fb48f; } .slower { fill: #e0823d; }
  .interval { stroke: #e6edf3; } .grid { stroke: #3d444d; } .one { stroke: #9198a1; }
  .cut { stroke: #0d1117; } .other { fill: #0d1117; stroke: #58a6ff; }
}
"""


def picture(documents: Sequence[Document]) -> str:
    """Returns the SVG of the documents of one thread count; raises ValueError where none has a figure of ours."""
    order = list(NETWORKS)
    found = sorted((one for one in documents if BAR in one["ratios"]), key=lambda one: order.index(one["network"]))
    if not found:
        raise ValueError("no figures of our engine against OpenVINO: run `make bench` first")
    rows = [(_title(one), one["ratios"], one["network"] == APART) for one in found]
    means = geometric_means(found)
    if means:
        rows.append((f"geometric mean of {means[BAR]['networks']}", means, False))
    # The perceptron is so far off that it would press all others together: its bar is cut.
    shown = [ratios[kind]["high"] for _, ratios, apart in rows if not apart for kind in (BAR, OTHER) if kind in ratios]
    scale = _Scale(max(1.5, 1.05 * max(shown, default=0.0)))
    height = TOP + ROW * len(rows) + 48
    where, threads = found[0]["machine"], found[0]["threads"]
    what = f"float32, batch 1, {threads} thread{'s' * (threads > 1)}, {where['cpu_name']} ({where['isa']})"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img"'
        f' aria-label="How many times as fast as OpenVINO and ONNX Runtime">',
        f"<style>{STYLE}</style>",
        _text(12, 22, "Latency: how many times as fast as OpenVINO (bar) and ONNX Runtime (ring)", "strong"),
        _text(12, 40, what, "small"),
    ]
    bottom = TOP + ROW * len(rows)
    for tenths in range(0, int(scale.limit * 10) + 1, 5):
        parts += [_line(scale.x(tenths / 10), bottom, "grid")]
        parts += [_text(scale.x(tenths / 10), bottom + 16, f"{tenths / 10:g}", "small", anchor="middle")]
    for x, words in ((FIRST, "OpenVINO"), (SECOND, "ORT")):
        parts.append(_text(x, TOP - 10, words, "small", anchor="end"))
    for number, (title, ratios, apart) in enumerate(rows):
        parts += _bar(title, ratios, TOP + ROW * number, scale, strong=title.startswith("geometric"), apart=apart)
    parts.append(_line(scale.x(1), bottom, "one"))
    parts.append(_text(12, bottom + 38, "Lines: 99 % intervals, engines taking turns in the same rounds.", "small"))
    return "\n".join([*parts, "</svg>", ""])


def _title(document: Document) -> str:
    """Returns the network's name, and how much of it is ours where that is not all."""
    share = document.get("native", {}).get("share")
    nodes = share["nodes"] if isinstance(share, Mapping) else share
    return str(document["title"]) + ("" if nodes is None or nodes >= 1 else f", {nodes:.0%} native")


class _Scale:
    def __init__(self, limit: float):
        self.limit = limit

    def x(self, ratio: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(ratio, self.limit) / self.limit


def _bar(title: str, ratios: Mapping[str, Any], top: int, scale: _Scale, *, strong: bool, apart: bool) -> list[str]:
    ratio, middle = ratios[BAR], top + ROW / 2 - 3
    kind = "bar" if ratio["point"] >= 1 else "bar slower"
    low, high, end = (scale.x(ratio[what]) for what in ("low", "high", "point"))
    ends = "".join(f"M{x:.1f} {middle - 4}v8" for x in (low, high))
    parts = [
        _text(LEFT - 10, middle + 4, title, "strong" if strong else "", anchor="end"),
        f'<rect class="{kind}" x="{LEFT}" y="{top}" width="{end - LEFT:.1f}" height="{ROW - 7}" rx="2"/>',
        f'<path class="interval" d="M{low:.1f} {middle}H{high:.1f}{ends}"/>',
    ]
    if apart and ratio["point"] > scale.limit:
        parts.append(
            f'<path class="cut" d="M{end - 14:.1f} {top - 2}l-7 {ROW - 3}M{end - 8:.1f} {top - 2}l-7 {ROW - 3}"/>'
        )
    parts.append(_text(FIRST, middle + 4, f"{ratio['point']:.2f}", "strong", anchor="end"))
    if OTHER in ratios:
        parts.append(_text(SECOND, middle + 4, f"{ratios[OTHER]['point']:.2f}", anchor="end"))
        if ratios[OTHER]["point"] <= scale.limit:
            parts.append(f'<circle class="other" cx="{scale.x(ratios[OTHER]["point"]):.1f}" cy="{middle}" r="4.5"/>')
    return parts


def _line(x: float, bottom: int, kind: str) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{bottom}"/>'


def _text(x: float, y: float, words: str, kind: str = "", *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--output", type=Path, default=RESULTS.parents[2] / "docs" / "latency.svg")
    options = parser.parse_args()
    documents = Records(options.results).documents(machine().fingerprint)
    drawn = picture([one for one in documents if one["threads"] == options.threads])
    write_whole(options.output, [drawn.encode()])
    print(f"drawn: {options.output}")


if __name__ == "__main__":
    main()
