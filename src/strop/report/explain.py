"""The table of `strop explain`, made from its JSON document."""

from __future__ import annotations

from rich.table import Table

from strop.report.text import DASH, Document, number

_LONGEST = 48


def explain_table(document: Document) -> Table:
    """Returns a row for each operation: what it is, kernel, tile, time, share of the limit, bytes."""
    table = Table(title=f"{document['model']['name']} on {document['engine']}, {document['isa']}", title_justify="left")
    for column in ("operation", "kernel", "tile"):
        table.add_column(column, overflow="fold")
    for column in ("us", "% of limit", "MFLOP", "KB"):
        table.add_column(column, justify="right")
    for row in document["operations"]:
        share = row["percent_of_limit"]
        table.add_row(
            _short(row["name"]),
            row["kernel"],
            row["tile"],
            number(row["ms"] * 1e3),
            DASH if share is None else f"{share:.0f}",
            number(row["flops"] / 1e6),
            number(row["bytes"] / 1e3),
        )
    return table


def explain_notes(document: Document) -> list[str]:
    """Returns what the table does not say: times of all, what is native, and why the rest is not."""
    share = document["native_share"]
    lines = [
        f"{number(document['ms'])} ms on {document['threads']} thread(s); native: {share['nodes']:.0%} of "
        f"{document['model']['nodes']} nodes, {share['time']:.0%} of the time"
    ]
    for segment in document["segments"]:
        if segment["engine"] == "native":
            continue
        names = ", ".join(map(_short, segment["nodes"][:4])) + (" ..." if len(segment["nodes"]) > 4 else "")
        lines.append(
            f"not native: {len(segment['nodes'])} node(s), {number(segment['ms'])} ms on {segment['engine']} "
            f"({segment['reason']}): {names}"
        )
    return lines


def _short(name: str) -> str:
    """Returns a name of some exporters' length by its end, which tells most."""
    return name if len(name) <= _LONGEST else "..." + name[3 - _LONGEST :]
