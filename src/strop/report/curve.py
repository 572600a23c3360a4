"""The latency-throughput curve for a terminal: a row a point, the sweet spot marked, and what it comes to."""

from __future__ import annotations

from rich.table import Table

from strop.report.tables import add_row, new_table
from strop.report.text import Document, interval, number

SPOT = "<- sweet spot"


def curve_table(document: Document) -> Table:
    """Returns the table of `strop benchmark --curve`."""
    title = f"{document['model']['name']} on {document['engine']}, {document['threads']} threads"
    return points_table(document["curve"], title)


def points_table(curve: Document, title: str) -> Table:
    """Returns the points of a curve; a percentile that so few requests do not earn is a dash."""
    columns = ("streams", "batch", "in flight", "inputs a second", "p50 ms", "p90 ms", "p99 ms", "")
    table = new_table(title, columns, left=(7,), unbroken=(3, 7))
    for index, point in enumerate(curve["points"]):
        marks = ["automatic"] if point["automatic"] else []
        marks += [SPOT] if index == curve["sweet_spot"] else []
        latency = point["latency_ms"]
        add_row(
            table,
            str(point["streams"]),
            str(point["batch"]),
            str(point["requests"]),
            interval(point["throughput_per_second"]),
            *(number(latency[name]) for name in ("p50", "p90", "p99")),
            " ".join(marks),
        )
    return table


def curve_notes(curve: Document) -> list[str]:
    """Returns what the curve comes to, a sentence a line."""
    return list(curve["sentences"])
